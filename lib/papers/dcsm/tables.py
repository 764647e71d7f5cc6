"""The tables of DCSM's notebooks: rows scored on the same images, from raw maps that were computed before."""
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.base.work import each
from lib.data.dataset import Dataset, Sample
from lib.metrics import bootstrap
from lib.metrics.bootstrap import Chance, Table, interval
from lib.metrics.miou import Confusions, confusion
from lib.metrics.multilabel import labels, multilabel_scores
from lib.nets.fcn import IMAGE, Fcn
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.labels import label_maps
from lib.papers.dcsm.maps import ABLATIONS, BLOCKS, RawFile, load_scores, samples_with_maps, writer
from lib.papers.dcsm.rows import Row
from lib.papers.dcsm.settings import MapsSettings
from lib.report.paper import Paper
from lib.report.record import Record
from lib.report.results import read_json

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))
FEW = 40   # training images of a class that has few

Items = Sequence[tuple[Sample, Path]]   # images with the files of their raw maps


# Images with raw maps

@dataclass(frozen=True)
class Split:
    """Images of a network with their raw maps, and which layers the blocks of the network mean."""
    items: Items
    ablations: Items
    val: Items
    blocks: Mapping[str, Sequence[str]]
    classes: Sequence[str]


def open_splits(dataset: Dataset, folder: Path, networks: Sequence[str]) -> dict[str, Split]:
    """The raw maps of several networks, `folder/<network>` of each; `folder` is build/<tier>/dcsm_maps."""
    return {network: open_split(dataset, folder / network) for network in networks}


def open_split(dataset: Dataset, folder: Path) -> Split:
    """The raw maps of one network, below build/<tier>/dcsm_maps/<network>."""
    test = dataset.split("test")
    items = samples_with_maps(test, folder / "test")
    further = folder / ("test" + ABLATIONS)
    ablations = samples_with_maps(test, further) if any(further.glob("*.npz")) else []
    val = samples_with_maps(dataset.split("val"), folder / "val")
    names = read_json((folder / BLOCKS).read_text(encoding="utf-8"), str(folder / BLOCKS))
    return Split(items, ablations, val, names | {IMAGE: [IMAGE]}, dataset.classes)


def write_split(fcn: Fcn, samples: Sequence[Sample], settings: MapsSettings, side: int,
                folder: Path) -> Split:
    """Compute the main raw maps of images of one's own into a folder."""
    files = [RawFile(sample, folder / f"{sample.id}.npz", ablations=False) for sample in samples]
    for _ in each(partial(writer, fcn, settings, side), files, f"raw maps, {fcn.name}"):
        pass
    items = [(file.sample, file.path) for file in files]
    return Split(items, [], [], blocks(fcn.trunk) | {IMAGE: (IMAGE,)}, fcn.classes)


def trained_weights(folder: Path, networks: Sequence[str]) -> dict[str, str]:
    """Network -> hash of its weights; `folder` is build/<tier>/dcsm_train."""
    return {network: sha256(folder / network / "weights.safetensors") for network in networks}


# Scoring rows

@dataclass(frozen=True)
class Scoring:
    """Scores rows on the images of every network, and adds them to a notebook's record.

    part   which images of each network: all of `items`, those of the `ablations`, or `val`
    """
    record: Record
    dataset: str
    splits: Mapping[str, Split]
    part: Literal["items", "ablations", "val"]
    chance: Chance

    def add(self, name: str, rows: Mapping[str, Row], pairs: Sequence[tuple[str, str]] = ()) -> None:
        """Add a table with these rows and the comparisons of `pairs`, and how many images it is about."""
        for network, split in self.splits.items():
            items = getattr(split, self.part)
            confusions = score_rows(items, rows, split, f"{network}, {name}")
            scored, comparisons = table(confusions, items, split.classes, pairs, self.chance)
            self.record.add(name, self.dataset, network, scored, comparisons)
            self.record.counts.setdefault(self.dataset, {})[f"images_{network}"] = len(items)


def score_rows(items: Items, rows: Mapping[str, Row], split: Split, label: str) -> dict[str, Confusions]:
    """Confusion matrices of every row, image by image."""
    if not items:
        raise Problem(f"{label}: no raw maps were computed for it; "
                      "raise the number of images under dcsm_maps in params.yaml.")
    matrices: dict[str, list[np.ndarray]] = {name: [] for name in rows}
    about = replace(split, items=[], ablations=[], val=[])   # what is sent to processes is to be small
    for of_image in each(partial(_confuser, rows, about), [RawImage(*item) for item in items], label):
        for name, matrix in of_image.items():
            matrices[name].append(matrix)
    return {name: Confusions.of(of_images) for name, of_images in matrices.items()}


@dataclass(frozen=True)
class RawImage:
    """An image and the file of its raw maps."""
    sample: Sample
    path: Path


def _confuser(rows: Mapping[str, Row], split: Split) -> Callable[[RawImage], dict[str, np.ndarray]]:
    """A function that holds every row's segmentation of an image against the truth."""
    def matrices(image: RawImage) -> dict[str, np.ndarray]:
        truth = image.sample.mask("class_masks")
        predicted = label_maps(image.sample, image.path, rows, split)
        return {name: confusion(truth, each, len(split.classes) + 1) for name, each in predicted.items()}
    return matrices


# Tables

def table(confusions: Mapping[str, Confusions], items: Items, classes: Sequence[str],
          pairs: Sequence[tuple[str, str]], chance: Chance) -> Table:
    """Rows with intervals, and paired comparisons, as the metrics file holds them.

    The mean is over the background and the classes that the images are labelled with, the same for every row
    and draw.
    """
    labelled = {name for sample, _ in items for name in sample.labels}
    shown = [0, *(number for number, name in enumerate(classes, start=1) if name in labelled)]
    weights = chance.draws(len(items))
    scores = {row: of_images.scores(weights, shown) for row, of_images in confusions.items()}
    return bootstrap.table(scores, pairs, chance)


def table1(confusions: Mapping[str, Confusions], split: Split, chance: Chance) -> Table:
    """Each method at its best alpha, with the CRF."""
    rows = _some(confusions, ("dcsm_crf", "simonyan_crf"))
    return table(rows, split.items, split.classes, [("dcsm_crf", "simonyan_crf")], chance)


def table6(confusions: Mapping[str, Confusions], split: Split, chance: Chance) -> Table:
    """The method without the CRF, with it, and with the paper's constants of it."""
    rows = _some(confusions, ("dcsm_no_crf", "dcsm_crf", "dcsm_paper_crf"))
    pairs = [("dcsm_crf", "dcsm_no_crf"), ("dcsm_paper_crf", "dcsm_no_crf"), ("dcsm_crf", "dcsm_paper_crf")]
    return table(rows, split.items, split.classes, pairs, chance)


def _some(confusions: Mapping[str, Confusions], rows: Sequence[str]) -> dict[str, Confusions]:
    return {row: confusions[row] for row in rows}


def class_table(confusions: Mapping[str, Confusions], names: Mapping[str, str], classes: Sequence[str],
                chance: Chance) -> dict[str, dict]:
    """{class: {metric: interval}} for the rows that `names` gives metrics to.

    Classes without truth or prediction are left out.
    """
    images = len(next(iter(confusions.values())).counts)
    weights = chance.draws(images)
    scored: dict[str, dict] = {}
    for row, metric in names.items():
        iou = confusions[row].iou(weights)
        for name, values in zip(("background", *classes), iou.T, strict=True):
            if not np.isnan(values[0]):
                known = values[~np.isnan(values)]   # a draw may lack a rare class
                scored.setdefault(name, {})[metric] = interval(known, chance.level)
    return scored


def classifier_table(items: Items, classes: Sequence[str], chance: Chance) -> dict[str, dict]:
    """Multi-label quality: the strongest score over the main scales, as the maps' candidates are chosen."""
    scores = np.stack([load_scores(path).max(0) for _, path in items])
    truth = labels([sample for sample, _ in items], classes)
    quality = multilabel_scores(scores, truth, chance.draws(len(items)))
    return bootstrap.summarise({"classifier": quality}, chance.level)


def on_common_images(confusions: Mapping[str, Mapping[str, Confusions]],
                     splits: Mapping[str, Split]) -> tuple[dict[str, dict[str, Confusions]], Items]:
    """{network: {row: ...}} on the images that every network was run on, and these images, in one order.

    Then networks can be compared.
    """
    places = {}
    for network in confusions:
        ids = [sample.id for sample, _ in splits[network].items]
        places[network] = {id: place for place, id in enumerate(ids)}
    everywhere = set.intersection(*(set(known) for known in places.values()))
    first = next(iter(splits.values()))
    shared = [(sample, path) for sample, path in first.items if sample.id in everywhere]
    common = {}
    for network, rows in confusions.items():
        chosen = [places[network][sample.id] for sample, _ in shared]
        common[network] = {row: Confusions(of_images.counts[chosen]) for row, of_images in rows.items()}
    return common, shared


def iou_by_frequency(rows: Mapping[str, Mapping[str, dict]],
                     training: Sequence[Sample]) -> dict[str, list[float]]:
    """IoU of the classes with few training images and of the others, from the rows of `class_table`."""
    images = Counter(name for sample in training for name in set(sample.labels))
    rare: list[float] = []
    common: list[float] = []
    for name, scores in rows.items():
        if name == "background":
            continue
        chosen = rare if images[name] < FEW else common
        chosen.append(scores["iou"]["mean"])
    return {f"fewer than {FEW}": rare, f"{FEW} or more": common}
