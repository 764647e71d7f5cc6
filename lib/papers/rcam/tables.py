"""The tables of the rCAM notebooks: rows by name, scored on any samples with any network."""
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib.base.batch import Sparing
from lib.base.parallel import device
from lib.data.dataset import Sample
from lib.maps.cam import normalise
from lib.metrics.scoring import HeatMaps, Scored, each_batch, score
from lib.nets import load_network, with_weights
from lib.nets.network import Network
from lib.papers.rcam.box import rcam_box
from lib.papers.rcam.method import Rcam, Scale, crf, forward_pass, joined, rcam, refine
from lib.papers.rcam.settings import RcamScales, RcamSettings
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))

# differences that the claims rest on
PAIRS = [
    ("rcam1", "cam1"), ("rcam2", "cam2"), ("rcam3", "rcam1"), ("rcam3", "rcam2"), ("rcam", "rcam3"),
    ("rcam", "cam1"), ("cam2", "cam1"), ("cam1", "g_weak"), ("rcam1", "rcam2"), ("rcam_box", "rcam"),
    ("rcam", "rcam_cited"), ("rcam_cited", "rcam3"),
]


def open_network(name: str, settings: RcamSettings, weights: Path | None = None) -> Network:
    """A network at stride 16, as rCAM needs it, on this process's device and in the fastest memory layout.

    `weights` is a state dict of one's own, for the networks that take one.
    """
    options: dict[str, Any] = {"tail": settings.googlenet_tail} if name == "googlenet_bvlc" else {}
    if weights is not None:
        options["weights"] = weights
    network = with_weights(load_network(name, **options))
    return network.to(device(), memory_format=torch.channels_last)


def table1(network: Network, samples: Sequence[Sample], settings: RcamSettings,
           batch: int) -> tuple[Scored, int]:
    """Scores of all seven rows and of rCAM with the cited CRF; how often the variogram had no fit."""
    scored = Scored()
    failed = 0
    make = partial(_table1_of, network, settings)
    for part, failed_of_part in each_batch(make, samples, batch, f"table 1, {network.name}"):
        scored.extend(part)
        failed += failed_of_part
    return scored, failed


def _table1_of(network: Network,
               settings: RcamSettings) -> Callable[[Sequence[Sample]], tuple[Scored, int]]:
    def maps(photos: Sequence[Image.Image]) -> Rcam:
        ours = rcam(network, photos, settings)
        cited = crf(photos, ours.maps["rcam3"], settings.crf_cited)
        return ours._replace(maps=ours.maps | {"rcam_cited": cited})

    sparing = Sparing(maps, joined)

    def of_batch(part: Sequence[Sample]) -> tuple[Scored, int]:
        scored = Scored()
        photos = [sample.photo() for sample in part]
        start = perf_counter()
        ours = sparing(photos)
        scored.seconds = perf_counter() - start
        scored.add(ours.maps, part)
        return scored, int(ours.failed.sum())
    return of_batch


def table2(network: Network, samples: Sequence[Sample], settings: RcamSettings, batch: int) -> Scored:
    """Scores of rCAM on the whole image and in boxes."""
    return score(samples, batch, partial(_table2_of, network, settings), f"table 2, {network.name}")


def _table2_of(network: Network, settings: RcamSettings) -> HeatMaps:
    def maps(part: Sequence[Sample]) -> Mapping[str, Tensor]:
        photos = [sample.photo() for sample in part]
        whole = rcam(network, photos, settings).maps["rcam"]
        return {"rcam": whole, "rcam_box": rcam_box(network, photos, settings)}
    return maps


def ablations(network: Network, samples: Sequence[Sample], settings: RcamSettings, grid: RcamScales,
              batch: int) -> dict[str, Scored]:
    """Every table of notebook rcam_scales, {table: scored rows}, from shared forward passes."""
    tables = {name: Scored() for name in ("input_sizes", "guide_level", "window", "crf", "crf_iterations")}
    make = partial(_ablations_of, network, settings, grid)
    for part in each_batch(make, samples, batch, f"ablations, {network.name}"):
        for name, scored in part.items():
            tables[name].extend(scored)
    return tables


def _ablations_of(network: Network, settings: RcamSettings,
                  grid: RcamScales) -> Callable[[Sequence[Sample]], dict[str, Scored]]:
    def of_batch(part: Sequence[Sample]) -> dict[str, Scored]:
        tables = {}
        for name, maps in _ablate(network, part, settings, grid).items():
            tables[name] = Scored()
            tables[name].add(maps, part)
        return tables
    return of_batch


def usual_rows(settings: RcamSettings) -> dict[str, str]:
    """The row of each ablation that is the method itself, before the CRF where that is not the matter."""
    return {
        "input_sizes": _sizes_name(settings.sizes),
        "guide_level": str(settings.sizes[0] // settings.guide_stride),
        "window": "variogram",
        "crf": "chosen",
        "crf_iterations": str(settings.crf.iterations),
    }


@dataclass(frozen=True)
class _Passed:
    """A batch of photographs with the network's forward pass at every input size that any ablation needs."""
    network: Network
    photos: Sequence[Image.Image]
    settings: RcamSettings
    scales: Mapping[int, Scale]

    @classmethod
    def at(cls, sides: Iterable[int], network: Network, photos: Sequence[Image.Image],
           settings: RcamSettings) -> "_Passed":
        scales = {side: forward_pass(network, photos, side, settings) for side in sides}
        return cls(network, photos, settings, scales)

    def fusion(self, **changes: Any) -> Tensor:
        """rCAM3 in 0..1 with some settings changed; another guide takes forward passes of its own."""
        settings = replace(self.settings, **changes)
        passed = self
        if settings.guide_stride != self.settings.guide_stride:
            passed = _Passed.at(settings.sizes, self.network, self.photos, settings)
        scales = [passed.scales[side] for side in settings.sizes]
        return normalise(refine(scales, self.network.classifier[0], settings).fusion).cpu()


@torch.inference_mode()
def _ablate(network: Network, part: Sequence[Sample], usual: RcamSettings,
            grid: RcamScales) -> dict[str, dict[str, Tensor]]:
    """{table: {row: maps}} of one batch."""
    photos = [sample.photo() for sample in part]
    sides = set(usual.sizes).union(*grid.sizes)
    passed = _Passed.at(sorted(sides), network, photos, usual)
    fusion = passed.fusion()
    first = usual.sizes[0]
    of_sizes = {_sizes_name(sizes): passed.fusion(sizes=sizes) for sizes in grid.sizes}
    of_guides = {str(first // stride): passed.fusion(guide_stride=stride) for stride in grid.guide_strides}
    of_radii = {f"radius {radius}": passed.fusion(window=radius) for radius in grid.radii}
    of_steps = {str(n): crf(photos, fusion, replace(usual.crf, iterations=n)) for n in grid.crf_iterations}
    of_weights = {"chosen": crf(photos, fusion, usual.crf), "cited": crf(photos, fusion, usual.crf_cited)}
    return {
        "input_sizes": of_sizes,
        "guide_level": of_guides,
        "window": {"variogram": fusion, **of_radii},
        "crf": {"none": fusion, **of_weights},
        "crf_iterations": of_steps,
    }


def _sizes_name(sizes: Sequence[int]) -> str:
    return " + ".join(map(str, sizes))
