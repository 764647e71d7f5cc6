"""The search for the constants that rCAM leaves open, on validation images only."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import torch

from lib.data.dataset import Sample
from lib.maps.cam import cam, normalise
from lib.metrics.scoring import Scored, batches
from lib.nets.network import Network
from lib.papers.rcam.method import Scale, crf, full_size, look, refine
from lib.papers.rcam.settings import RcamConstants, RcamSettings
from lib.refine.settings import CrfSettings


def goal(row: Mapping[str, Mapping[str, float]]) -> float:
    """What is maximised: the mean of OIS and ODS, the two scores of the paper's claims."""
    return (row["ois"]["mean"] + row["ods"]["mean"]) / 2


def best(rows: Mapping[str, Mapping]) -> str:
    """The row with the highest goal."""
    return max(rows, key=lambda name: goal(rows[name]))


def filter_grid(grid: RcamConstants, base: RcamSettings) -> dict[str, RcamSettings]:
    """Every combination of window, lags and eps, by a name that says which."""
    return {f"{w}, lag {lag:g}, {n} comp., eps {eps:g}": replace(base, window=w, max_lag=lag, lag_components=n, eps=eps)
            for w, lag, n, eps in product(grid.windows, grid.max_lags, grid.lag_components, grid.eps)}


def crf_grid(grid: RcamConstants, base: CrfSettings) -> dict[str, CrfSettings]:
    """Every combination of kernel widths and weights."""
    return {f"alpha {a:g}, beta {b:g}, weights {w:g}/{s:g}": replace(base, theta_alpha=a, theta_beta=b, bilateral=w, spatial=s)
            for a, b, (w, s) in product(grid.theta_alphas, grid.theta_betas, grid.weights)}


@torch.inference_mode()
def search_filter(network: Network, samples: Sequence[Sample], grid: dict[str, RcamSettings], batch: int) -> Scored:
    """rCAM3 under every setting of the guided filter; cam1 beside them. The network looks once."""
    scored = Scored()
    for part, scales in _looks(network, samples, next(iter(grid.values())), batch):
        weight = network.classifier[0]
        maps = {name: refine(scales, weight, settings).fusion for name, settings in grid.items()}
        maps["cam1"] = full_size(cam(scales[0].features, weight, scales[0].probability.argmax(1)))
        scored.add({name: normalise(m).cpu() for name, m in maps.items()}, part)
    return scored


@torch.inference_mode()
def search_crf(network: Network, samples: Sequence[Sample], settings: RcamSettings, grid: dict[str, CrfSettings], batch: int) -> Scored:
    """rCAM under every setting of the CRF, on one rCAM3; that beside them."""
    scored = Scored()
    for part, scales in _looks(network, samples, settings, batch):
        fusion = normalise(refine(scales, network.classifier[0], settings).fusion).cpu()
        photos = [s.photo() for s in part]
        scored.add({name: crf(photos, fusion, chosen) for name, chosen in grid.items()} | {"rcam3": fusion}, part)
    return scored


def _looks(network: Network, samples: Sequence[Sample], settings: RcamSettings, batch: int) -> Iterator[tuple[Sequence[Sample], list[Scale]]]:
    for part in batches(samples, batch, f"constants for {network.name}"):
        photos = [s.photo() for s in part]
        yield part, [look(network, photos, side, settings) for side in settings.sizes]
