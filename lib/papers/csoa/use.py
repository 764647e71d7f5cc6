"""CSoA on one's own photographs and data sets: `segment` and `evaluate` of the command line."""
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lib.base.paths import BUILD
from lib.base.problem import Problem, nearest
from lib.papers.found import Evaluated, Found, Request, Segmenter

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample
    from lib.papers.csoa.locate import Segmented

SEGMENTS = EVALUATES = ("csoa",)


def threshold(params: Any) -> float:
    """theta of eq. 13, from which value of the map on a pixel belongs to the object."""
    return params.csoa_thresholds.chosen


def segmenter(request: Request, params: Any) -> Segmenter:
    """Photographs -> class, box and map, by the first seed's CSoA of the tier or by the network in `weights`."""
    from lib.base.parallel import device
    from lib.papers.csoa.locate import segment
    from lib.papers.csoa.runs import POSITION, Job
    from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

    dataset, network, seeds = _trained(request, params)
    first = Job("csoa", POSITION, seeds[0]).name
    weights = request.weights or _folder(request, dataset, network) / first / "weights.safetensors"
    side = read_two_classifiers(weights)["side"]
    net = load_two_classifiers(weights).to(device())
    theta = request.threshold or threshold(params)

    def find(photos: Sequence[Image.Image]) -> list[Found]:
        located = segment(net, photos, side, theta)
        return [_found(one, photo, theta, net.classes) for one, photo in zip(located, photos, strict=True)]
    return find


def evaluate(request: Request, params: Any, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """Table 1 of the tier's networks on images of a single object.

    theta is chosen on the data set's validation images, if it has any.
    """
    from lib.papers.csoa.tables import blind_overlaps, module_table
    from lib.papers.csoa.two_classifiers import read_two_classifiers

    network, files = _files(request, params)
    classes = read_two_classifiers(next(iter(files.values()))[0])["classes"]
    has_val = any(sample.split == "val" for sample in dataset.samples)
    test = _single(samples, classes)
    val = _single(dataset.split("val"), classes) if has_val else []
    if not test:
        raise Problem(f"{dataset.folder}: no image of a single object of the network's classes ({', '.join(classes)}); "
                      "take another folder or other --weights.")
    tried = params.csoa_thresholds.tried if val else [params.csoa_thresholds.chosen]
    on_val, on_test = {}, {}
    for row, paths in files.items():
        located = [_locate(path, val, test, dataset, tried, row) for path in paths]
        on_val[row] = [first for first, _ in located]
        on_test[row] = [second for _, second in located]
    chance = params.chance
    rows, _ = module_table(on_val, on_test, blind_overlaps(test, dataset.boxes), tried,
                           (chance.samples, chance.level, chance.seed))
    return Evaluated(network, len(test), rows)


def _files(request: Request, params: Any) -> tuple[str, dict[str, list[Path]]]:
    """The network's name, and the weights of every row: those that are given, or the tier's by variant and seed."""
    from lib.papers.csoa.runs import POSITION, Job

    name, network, seeds = _trained(request, params)
    if request.weights:
        return network, {"given": [request.weights]}
    folder = _folder(request, name, network)
    files = {}
    for row in params.tier[request.tier].csoa_train.runs[name][network].variants:
        files[row] = [folder / Job(row, POSITION, seed).name / "weights.safetensors" for seed in seeds]
    return network, files


def _found(one: "Segmented", photo: Image.Image, theta: float, classes: Sequence[str]) -> Found:
    """The map, and the class where the map reaches theta."""
    small = Image.fromarray(one.heat[0].numpy())
    heat = np.asarray(small.resize(photo.size, Image.Resampling.BILINEAR))
    labels = np.where(heat >= theta, classes.index(one.name) + 1, 0).astype(np.uint8)
    return Found(one.heat, labels, classes, [f"{one.name}, box {one.box}"])


def _locate(path: Path, val: Sequence["Sample"], test: Sequence["Sample"], dataset: "Dataset", tried: Sequence[float], row: str) -> tuple:
    """What one network finds in validation and test images; without validation images there is one threshold, and test images serve for both."""
    from lib.base.parallel import device
    from lib.papers.csoa.batches import Squares
    from lib.papers.csoa.locate import locate
    from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

    net, squares = load_two_classifiers(path).to(device()), Squares(read_two_classifiers(path)["side"])
    found = [locate(net, samples, dataset.boxes, squares, tried, 24, f"{row}, {path.parent.name}") for samples in (val, test) if samples]
    return found[0], found[-1]


def _single(samples: Sequence["Sample"], classes: Sequence[str]) -> list["Sample"]:
    return [s for s in samples if len(s.labels) == 1 and s.labels[0] in classes and s.extra.get("single_object", "1") == "1"]


def _trained(request: Request, params: Any) -> tuple[str, str, list[int]]:
    """(data set, network, seeds) of the tier's table 1."""
    tier = params.tier[request.tier]
    runs = tier.csoa_train.runs[tier.csoa.dataset]
    network = request.network or tier.csoa.networks[0]
    if network not in runs:
        raise Problem(f'--network: CSoA is not trained with "{network}" in tier {request.tier}{nearest(network, runs)}')
    return tier.csoa.dataset, network, runs[network].seeds


def _folder(request: Request, dataset: str, network: str) -> Path:
    return BUILD / request.tier / "csoa_train" / dataset / network
