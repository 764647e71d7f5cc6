"""CSoA on one's own photographs and data sets: `segment` and `evaluate` of the command line."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lib.base.batch import AUTO, MOST, Batch, largest_batch
from lib.base.paths import BUILD
from lib.base.problem import Problem, nearest
from lib.papers.csoa.settings import CsoaRun
from lib.papers.found import Evaluated, Found, Request, Segmenter

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample
    from lib.papers.csoa.locate import Segmented
    from lib.papers.csoa.runs import Job, Located

SEGMENTS = EVALUATES = ("csoa",)
BATCH = 24   # images of one forward pass


def threshold(params: Any) -> float:
    """theta of eq. 13, from which value of the map on a pixel belongs to the object."""
    return params.csoa_thresholds.chosen


def segmenter(request: Request, params: Any) -> Segmenter:
    """Photographs -> class, box and map, by the tier's CSoA of the first seed or by the one in `weights`."""
    from lib.base.parallel import device
    from lib.papers.csoa.locate import segment
    from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

    file, = weights(request, params)
    side = read_two_classifiers(file)["side"]
    net = load_two_classifiers(file).to(device())
    theta = request.threshold or threshold(params)

    def find(photos: Sequence[Image.Image]) -> list[Found]:
        segmented = segment(net, photos, side, theta)
        return [_found(one, photo, theta, net.classes) for one, photo in zip(segmented, photos, strict=True)]

    return find


def weights(request: Request, params: Any) -> list[Path]:
    """The file of the network: the tier's CSoA of the first seed, or the one that is given."""
    from lib.papers.csoa.runs import POSITION, Job

    trained = _trained(request, params)
    return [request.weights or trained.weights(Job("csoa", POSITION, trained.run.seeds[0]))]


def evaluate(request: Request, params: Any, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """Table 1 of the tier's networks on images of a single object.

    theta is chosen on the data set's validation images, if it has any.
    """
    from lib.papers.csoa.tables import blind_overlaps, module_table
    from lib.papers.csoa.two_classifiers import read_two_classifiers

    trained = _trained(request, params)
    files = {"given": [request.weights]} if request.weights else trained.rows()
    first = next(iter(files.values()))[0]
    classes = read_two_classifiers(first)["classes"]
    test = _single(samples, classes)
    val = _single([sample for sample in dataset.samples if sample.split == "val"], classes)
    if not test:
        raise Problem(f"{dataset.folder}: no image of a single object of the network's classes "
                      f"({', '.join(classes)}); take another folder or other --weights.")
    tried = params.csoa_thresholds.tried if val else [threshold(params)]
    batch = _batch_size(request.batch, first, test)
    on_val, on_test = {}, {}
    for row, paths in files.items():
        on_val[row], on_test[row] = [], []
        for path in paths:
            locate_in = _locator(path, dataset, tried, batch, f"{row}, {path.parent.name}")
            located = locate_in(test)
            on_test[row].append(located)
            # without validation images there is one threshold, so that nothing is chosen on the test images
            on_val[row].append(locate_in(val) if val else located)
    rows, _ = module_table(on_val, on_test, blind_overlaps(test, dataset.boxes), tried, params.chance)
    return Evaluated(trained.network, len(test), rows)


@dataclass(frozen=True)
class _Trained:
    """The tier's networks of table 1: what they are, and the folder in which they lie."""
    network: str
    run: CsoaRun
    folder: Path

    def weights(self, job: "Job") -> Path:
        return self.folder / job.name / "weights.safetensors"

    def rows(self) -> dict[str, list[Path]]:
        """The weights of every variant, seed by seed."""
        from lib.papers.csoa.runs import POSITION, Job

        rows = {}
        for variant in self.run.variants:
            rows[variant] = [self.weights(Job(variant, POSITION, seed)) for seed in self.run.seeds]
        return rows


def _trained(request: Request, params: Any) -> _Trained:
    tier = params.tier[request.tier]
    name = tier.csoa.dataset
    runs = tier.csoa_train.runs[name]
    network = request.network or tier.csoa.networks[0]
    if network not in runs:
        raise Problem(f'--network: CSoA is not trained with "{network}" in tier {request.tier}'
                      f"{nearest(network, runs)}")
    return _Trained(network, runs[network], BUILD / request.tier / "csoa_train" / name / network)


def _single(samples: "Sequence[Sample]", classes: Sequence[str]) -> "list[Sample]":
    from lib.papers.csoa.batches import shows_single_object

    return [sample for sample in samples if shows_single_object(sample) and sample.labels[0] in classes]


def _batch_size(asked: Batch, weights: Path, samples: "Sequence[Sample]") -> int:
    """Images of one forward pass; `auto`: as many as are worth it with the network in `weights`."""
    if asked != AUTO:
        return asked or BATCH
    import torch

    from lib.base.parallel import device
    from lib.papers.csoa.batches import Squares
    from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

    net = load_two_classifiers(weights).to(device())
    squares = Squares(read_two_classifiers(weights)["side"]).batch(samples[:MOST])
    with torch.inference_mode():
        return largest_batch(lambda size: net(squares[:size].to(device())), len(squares))


def _locator(weights: Path, dataset: "Dataset", tried: Sequence[float], batch: int,
             label: str) -> "Callable[[Sequence[Sample]], Located]":
    """A function that looks for objects in samples of the data set with one network."""
    from lib.base.parallel import device
    from lib.papers.csoa.batches import Squares
    from lib.papers.csoa.locate import Search, locate
    from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

    net = load_two_classifiers(weights).to(device())
    search = Search(Squares(read_two_classifiers(weights)["side"]), dataset.boxes, tried, batch)
    return lambda samples: locate(net, samples, search, label)


def _found(one: "Segmented", photo: Image.Image, theta: float, classes: Sequence[str]) -> Found:
    """The map, and the class where the map reaches theta."""
    small = Image.fromarray(one.heat[0].numpy())
    heat = np.asarray(small.resize(photo.size, Image.Resampling.BILINEAR))
    labels = np.where(heat >= theta, classes.index(one.name) + 1, 0).astype(np.uint8)
    return Found(one.heat, labels, classes, [f"{one.name}, box {one.box}"])
