"""The tables of the rCAM notebooks: rows by name, scored on any samples with any network."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lib.data.dataset import Sample
from lib.maps.cam import normalise
from lib.metrics.scoring import Scored, batches, score
from lib.nets import load_network
from lib.nets.network import Network
from lib.papers.rcam.box import rcam_box
from lib.papers.rcam.method import crf, look, rcam, refine
from lib.papers.rcam.settings import RcamScales, RcamSettings
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))

# differences that the claims rest on
PAIRS = [("rcam1", "cam1"), ("rcam2", "cam2"), ("rcam3", "rcam1"), ("rcam3", "rcam2"), ("rcam", "rcam3"), ("rcam", "cam1"),
         ("cam2", "cam1"), ("cam1", "g_weak"), ("rcam1", "rcam2"), ("rcam_box", "rcam"), ("rcam", "rcam_cited"), ("rcam_cited", "rcam3")]


def open_network(name: str, settings: RcamSettings, device: torch.device | str = "cpu") -> Network:
    """A network at stride 16, as rCAM needs it, in the fastest memory layout."""
    options = {"tail": settings.googlenet_tail} if name == "googlenet_bvlc" else {}
    return load_network(name, **options).to(device, memory_format=torch.channels_last)


def table1(network: Network, samples: Sequence[Sample], settings: RcamSettings, batch: int) -> tuple[Scored, int]:
    """All seven rows, the last one also with the cited CRF's weights; and on how many images the variogram could not be fitted."""
    failed: list[bool] = []

    def maps(part: Sequence[Sample]) -> Mapping[str, Tensor]:
        photos = [s.photo() for s in part]
        found = rcam(network, photos, settings)
        failed.extend(found.failed.tolist())
        return found.maps | {"rcam_cited": crf(photos, found.maps["rcam3"], settings.crf_cited)}

    scored = score(samples, batch, maps, f"table 1, {network.name}")
    return scored, sum(failed)


def table2(network: Network, samples: Sequence[Sample], settings: RcamSettings, batch: int) -> Scored:
    """rCAM on the whole image and in boxes."""
    def maps(part: Sequence[Sample]) -> Mapping[str, Tensor]:
        photos = [s.photo() for s in part]
        return {"rcam": rcam(network, photos, settings).maps["rcam"], "rcam_box": rcam_box(network, photos, settings)}

    return score(samples, batch, maps, f"table 2, {network.name}")


def scales(network: Network, samples: Sequence[Sample], settings: RcamSettings, grid: RcamScales, batch: int) -> dict[str, Scored]:
    """Every ablation of rcam_scales, {table: scored rows}; the network looks once at every size."""
    tables = {name: Scored() for name in ("input_sizes", "guide_level", "window", "crf", "crf_iterations")}
    for part in batches(samples, batch, f"ablations, {network.name}"):
        for name, maps in _ablate(network, part, settings, grid).items():
            tables[name].add(maps, part)
    return tables


@torch.inference_mode()
def _ablate(network: Network, part: Sequence[Sample], base: RcamSettings, grid: RcamScales) -> dict[str, dict[str, Tensor]]:
    photos, weight = [s.photo() for s in part], network.classifier[0]
    seen = {side: look(network, photos, side, base) for side in sorted({*base.sizes, *(s for sizes in grid.sizes for s in sizes)})}

    def fusion(settings: RcamSettings) -> Tensor:
        found = seen if settings.guide_stride == base.guide_stride else {s: look(network, photos, s, settings) for s in settings.sizes}
        return normalise(refine([found[side] for side in settings.sizes], weight, settings).fusion).cpu()

    usual = fusion(base)
    radii = {f"radius {r}": fusion(replace(base, window=r)) for r in grid.radii}
    steps = {str(n): crf(photos, usual, replace(base.crf, iterations=n)) for n in grid.crf_iterations}
    return {"input_sizes": {" + ".join(map(str, sizes)): fusion(replace(base, sizes=sizes)) for sizes in grid.sizes},
            "guide_level": {str(base.sizes[0] // stride): fusion(replace(base, guide_stride=stride)) for stride in grid.guide_strides},
            "window": {"variogram": usual} | radii,
            "crf": {"none": usual, "chosen": crf(photos, usual, base.crf), "cited": crf(photos, usual, base.crf_cited)},
            "crf_iterations": steps}


def usual_rows(settings: RcamSettings) -> dict[str, str]:
    """The row of each ablation table that is the method as in table 1 (before the CRF where the table is not about it)."""
    return {"input_sizes": " + ".join(map(str, settings.sizes)), "guide_level": str(settings.sizes[0] // settings.guide_stride),
            "window": "variogram", "crf": "chosen", "crf_iterations": str(settings.crf.iterations)}
