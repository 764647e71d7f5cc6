"""DCSM on one's own photographs and data sets: `segment` and `evaluate` of the command line."""
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from lib.base.paths import BUILD
from lib.base.problem import Problem
from lib.papers.found import Evaluated, Found, Request, Segmenter

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample
    from lib.nets.fcn import Fcn
    from lib.papers.dcsm.settings import DcsmSettings

SEGMENTS = EVALUATES = ("dcsm",)


def segmenter(request: Request, params: Any) -> Segmenter:
    """Photographs -> classes and foreground, by the tier's network or the one in `weights`."""
    fcn = open_fcn(request, params)
    side = params.tier[request.tier].dcsm_maps.side
    return lambda photos: [_segmented(fcn, photo, params.dcsm, side) for photo in photos]


def weights(request: Request, params: Any) -> list[Path]:
    """The file of the network: the one that the tier's training stage left, or the one that is given."""
    name = request.network or next(iter(params.tier[request.tier].dcsm_train.networks))
    return [request.weights or BUILD / request.tier / "dcsm_train" / name / "weights.safetensors"]


def evaluate(request: Request, params: Any, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """The rows of table 6, by way of raw maps in a temporary folder, as the notebooks go."""
    from lib.papers.dcsm import maps, rows, tables

    fcn = open_fcn(request, params)
    if list(fcn.classes) != dataset.classes:
        raise Problem(f"{dataset.folder}: its classes are not those that the network was trained on; "
                      "give --weights that were trained on them.")
    for sample in samples:
        sample.mask("class_masks")   # one that is missing is named before the expensive part
    side = params.tier[request.tier].dcsm_maps.side
    ours = {name: row for name, row in rows.main_rows(params.dcsm).items() if row.kind == maps.GUIDED}
    with tempfile.TemporaryDirectory() as folder:
        split = tables.write_split(fcn, samples, params.dcsm_maps, side, Path(folder))
        confusions = tables.score_rows(split.items, ours, split, "segmenting")
    scored, _ = tables.table(confusions, split.items, dataset.classes, [], params.chance)
    return Evaluated(fcn.name, len(samples), scored)


def open_fcn(request: Request, params: Any) -> "Fcn":
    """The network that the tier's training stage left, or the one in `weights`."""
    from lib.papers.dcsm.method import load_folded

    file, = weights(request, params)
    return load_folded(file, request.network)


def _segmented(fcn: "Fcn", photo: Image.Image, settings: "DcsmSettings", side: int) -> Found:
    import torch

    from lib.papers.dcsm.method import label_map
    from lib.papers.dcsm.saliency import marginals

    probability, targets = marginals(fcn, photo, settings, side)
    heat = torch.from_numpy(1 - probability[:1])
    names = [fcn.classes[target] for target in targets]
    return Found(heat, label_map(probability, targets), fcn.classes, names)
