"""The search for the constants that rCAM leaves open, on validation images only."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import torch
from PIL import Image
from torch import Tensor

from lib.data.dataset import Sample
from lib.maps.cam import cam, normalise
from lib.metrics.scoring import HeatMaps, Scored, score
from lib.nets.network import Network
from lib.papers.rcam.method import Scale, crf, forward_pass, full_size, refine
from lib.papers.rcam.settings import RcamConstants, RcamSettings
from lib.refine.settings import CrfSettings


def goal(row: Mapping[str, Mapping[str, float]]) -> float:
    """The value that is maximised: the mean of OIS and ODS, the two scores of the paper's claims."""
    return (row["ois"]["mean"] + row["ods"]["mean"]) / 2


def ranked(rows: Mapping[str, Mapping]) -> list[str]:
    """The rows from the highest goal to the lowest, equals in their order."""
    return sorted(rows, key=lambda name: -goal(rows[name]))


def best(rows: Mapping[str, Mapping]) -> str:
    """The row with the highest goal, the first of equals."""
    return ranked(rows)[0]


def filter_grid(grid: RcamConstants, base: RcamSettings) -> dict[str, RcamSettings]:
    """Every combination of window, lags and eps, by a name that says which."""
    choices = {}
    for window, lag, components, eps in product(grid.windows, grid.max_lags, grid.lag_components, grid.eps):
        name = f"{window}, lag {lag:g}, {components} comp., eps {eps:g}"
        choices[name] = replace(base, window=window, max_lag=lag, lag_components=components, eps=eps)
    return choices


def crf_grid(grid: RcamConstants, base: CrfSettings) -> dict[str, CrfSettings]:
    """Every combination of kernel widths and weights, by a name that says which."""
    choices = {}
    for alpha, beta, (bilateral, spatial) in product(grid.theta_alphas, grid.theta_betas, grid.weights):
        name = f"alpha {alpha:g}, beta {beta:g}, weights {bilateral:g}/{spatial:g}"
        choices[name] = replace(base, theta_alpha=alpha, theta_beta=beta,
                                bilateral=bilateral, spatial=spatial)
    return choices


def search_filter(network: Network, samples: Sequence[Sample], grid: dict[str, RcamSettings],
                  batch: int) -> Scored:
    """rCAM3 under every setting of the guided filter, and CAM1, from one forward pass an input size."""
    return score(samples, batch, partial(_filters_of, network, grid), f"constants for {network.name}")


def search_crf(network: Network, samples: Sequence[Sample], settings: RcamSettings,
               grid: dict[str, CrfSettings], batch: int) -> Scored:
    """rCAM under every setting of the CRF, and the rCAM3 that they all start from."""
    return score(samples, batch, partial(_crfs_of, network, settings, grid), f"constants for {network.name}")


def _filters_of(network: Network, grid: Mapping[str, RcamSettings]) -> HeatMaps:
    weight = network.classifier[0]
    shared = next(iter(grid.values()))   # the grid's settings have the input sizes and the guide in common

    @torch.inference_mode()
    def of_batch(part: Sequence[Sample]) -> dict[str, Tensor]:
        scales = _scales(network, [sample.photo() for sample in part], shared)
        maps = {name: refine(scales, weight, settings).fusion for name, settings in grid.items()}
        maps["cam1"] = full_size(cam(scales[0].features, weight, scales[0].probability.argmax(1)))
        return {name: normalise(values).cpu() for name, values in maps.items()}
    return of_batch


def _crfs_of(network: Network, settings: RcamSettings, grid: Mapping[str, CrfSettings]) -> HeatMaps:
    @torch.inference_mode()
    def of_batch(part: Sequence[Sample]) -> dict[str, Tensor]:
        photos = [sample.photo() for sample in part]
        scales = _scales(network, photos, settings)
        fusion = normalise(refine(scales, network.classifier[0], settings).fusion).cpu()
        maps = {name: crf(photos, fusion, chosen) for name, chosen in grid.items()}
        return maps | {"rcam3": fusion}
    return of_batch


def _scales(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> list[Scale]:
    """One forward pass at every input size."""
    return [forward_pass(network, photos, side, settings) for side in settings.sizes]
