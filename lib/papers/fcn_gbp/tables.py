"""The poster's rows beside DCSM's on the same images."""
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.base.progress import progress
from lib.base.work import each
from lib.data.dataset import VOID, Sample
from lib.metrics import bootstrap
from lib.metrics.bootstrap import Chance
from lib.metrics.miou import Confusions, confusion
from lib.metrics.multilabel import labels
from lib.nets.fcn import Fcn
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.labels import label_maps
from lib.papers.dcsm.maps import load_raw, load_scores
from lib.papers.dcsm.method import enlarged, saliency, to_input
from lib.papers.dcsm.rows import Row
from lib.papers.dcsm.settings import DcsmSettings
from lib.papers.dcsm.tables import Items, RawImage, Split
from lib.papers.fcn_gbp.method import Detected, Superpixels, fcn_gbp, fcn_mcg, zof_gbp
from lib.papers.fcn_gbp.mi_svm import Bags, MiSvm, train_mi_svm
from lib.papers.fcn_gbp.settings import FcnGbpGrid, FcnGbpSettings, ZofSettings
from lib.proposals.segments import objectness, proposals, quality
from lib.refine.settings import CrfSettings
from lib.refine.superpixels import pool, slic
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))

METHODS: tuple[str, ...] = ("fcn_gbp", "zof_gbp", "fcn_mcg")
FOUND = 0.5   # overlap from which a proposal has found an object

# differences that the claims rest on
PAIRS = [
    ("fcn_gbp", "fcn_mcg"), ("fcn_gbp", "zof_gbp"),
    ("dcsm", "fcn_gbp"), ("dcsm", "zof_gbp"), ("dcsm", "fcn_mcg"),
]


@dataclass(frozen=True)
class Choice:
    """A row of the poster: one of `METHODS` with its settings."""
    method: str
    settings: FcnGbpSettings


@dataclass(frozen=True)
class ZoomOut:
    """One forward pass of an image.

    regions    its superpixels `(H, W)`
    features   zoom-out features of each `(R, D)`
    scores     score maps of the classes `(K, h, w)`, on the network's device
    """
    regions: np.ndarray
    features: np.ndarray
    scores: Tensor


@dataclass(frozen=True)
class Poster:
    """A trained network with the mi-SVM on its features.

    side   longest side in pixels of the network's input
    """
    fcn: Fcn
    zof: MiSvm
    zoom: ZofSettings
    side: int


@torch.inference_mode()
def zoom_out(fcn: Fcn, sample: Sample, settings: ZofSettings, side: int) -> ZoomOut:
    """Superpixels and their zoom-out features, with the score maps of the forward pass that gave them.

    A feature is the average, over a superpixel, of the last layer of every block above the first two and of
    the trunk's last map.
    """
    photo = sample.photo()
    upper_blocks = list(blocks(fcn.trunk).values())[2:]
    layers = [*(block[-1] for block in upper_blocks), fcn.trunk.features]
    device = next(fcn.parameters()).device
    scores, maps = fcn.scores_and_layers(to_input(photo, side).to(device), list(dict.fromkeys(layers)))
    regions = slic(photo, settings.superpixels)
    pooled = [pool(values[0].contiguous(), regions) for values in maps.values()]
    return ZoomOut(regions, torch.cat(pooled, 1).cpu().numpy(), scores[0])


def train_zof(fcn: Fcn, samples: Sequence[Sample], settings: ZofSettings, side: int, seed: int) -> MiSvm:
    """mi-SVM on the superpixels of training images, from image labels alone; every class needs an image."""
    features, images = [], []
    for number, sample in enumerate(progress(list(samples), "zoom-out features")):
        of_sample = zoom_out(fcn, sample, settings, side).features
        features.append(of_sample)
        images.append(np.full(len(of_sample), number))
    bags = Bags(np.concatenate(features), np.concatenate(images), labels(samples, fcn.classes), fcn.classes)
    return train_mi_svm(bags, settings, seed)


def covering(samples: Sequence[Sample], classes: Sequence[str], images: int) -> list[Sample]:
    """About `images` training images in which every class has its share.

    The classes take turns: each takes its next image that is not there yet.
    """
    queues = [_showing(name, samples) for name in classes]
    wanted = min(images, len(samples))
    chosen: dict[str, Sample] = {}
    while len(chosen) < wanted and any(queues):
        for queue in queues:
            while queue and queue[0].id in chosen:
                queue.popleft()
            if queue and len(chosen) < images:
                sample = queue.popleft()
                chosen[sample.id] = sample
    return list(chosen.values())


def _showing(name: str, samples: Sequence[Sample]) -> deque[Sample]:
    return deque(sample for sample in samples if name in sample.labels)


def score_poster(poster: Poster, items: Items, rows: Mapping[str, Choice], ours: Mapping[str, Row],
                 split: Split) -> tuple[dict[str, Confusions], np.ndarray]:
    """Confusion matrices of the poster's rows and of DCSM's, `ours`; the counts for `proposal_table`."""
    matrices: dict[str, list[np.ndarray]] = {}
    counts = []
    make = partial(_image_scorer, poster, rows, ours, replace(split, items=[], ablations=[], val=[]))
    images = [RawImage(*item) for item in items]
    for of_image, counts_of_image in each(make, images, f"poster, {poster.fcn.name}"):
        counts.append(counts_of_image)
        for row, matrix in of_image.items():
            matrices.setdefault(row, []).append(matrix)
    confusions = {row: Confusions.of(of_images) for row, of_images in matrices.items()}
    return confusions, np.array(counts)


ImageScores = tuple[dict[str, np.ndarray], tuple[int, float, int]]   # confusion matrices, proposals' counts


def _image_scorer(poster: Poster, rows: Mapping[str, Choice], ours: Mapping[str, Row],
                  split: Split) -> Callable[[RawImage], ImageScores]:
    settings = next(iter(ours.values())).settings

    def of_image(raw: RawImage) -> ImageScores:
        sample = raw.sample
        masks = proposals(sample.photo())
        overlaps = quality(masks, *_objects(sample))
        counts = len(overlaps), overlaps.sum(), (overlaps >= FOUND).sum()
        image = _Image(sample, raw.path, masks)
        results = _label(poster, image, rows, settings, split) | label_maps(sample, raw.path, ours, split)
        truth = sample.mask("class_masks")
        n_labels = len(split.classes) + 1
        return {row: confusion(truth, result, n_labels) for row, result in results.items()}, counts
    return of_image


def choices(grid: FcnGbpGrid, crf: CrfSettings) -> dict[str, Choice]:
    """Every row that the poster leaves open, to be chosen among on validation images."""
    rows = {}
    for method, how, maximum, alpha in product(METHODS, grid.enhance, grid.maximum, grid.alpha):
        settings = FcnGbpSettings(grid.least_probability, how, maximum, grid.least_map, alpha, crf)
        rows[f"{method} {how} {maximum} {alpha:g}"] = Choice(method, settings)
    return rows


def best(options: Mapping[str, Choice], scores: Mapping[str, Mapping[str, dict]]) -> dict[str, str]:
    """{method: its row with the highest mIoU} in the table of the options."""
    chosen = {}
    for method in METHODS:
        own = [row for row, choice in options.items() if choice.method == method]
        chosen[method] = max(own, key=lambda row: scores[row]["miou"]["mean"])
    return chosen


def proposal_table(counts: np.ndarray, chance: Chance) -> dict[str, dict]:
    """The proposals' own quality, from objects, sum of overlaps and objects found of each image `(N, 3)`."""
    objects, overlap, hits = (chance.draws(len(counts)) @ counts).T
    scores = {"recall": 100 * hits / objects, "abo": 100 * overlap / objects}
    return bootstrap.table({"proposals": scores}, [], chance)[0]


@dataclass(frozen=True)
class _Image:
    """An image with the file of its raw maps and its segment proposals `(P, H, W)`."""
    sample: Sample
    path: Path
    masks: np.ndarray


def _label(poster: Poster, image: _Image, rows: Mapping[str, Choice], settings: DcsmSettings,
           split: Split) -> dict[str, np.ndarray]:
    """The segmentation of one image `(H, W)` by every row of the poster; `settings` are DCSM's."""
    zoomed = zoom_out(poster.fcn, image.sample, poster.zoom, poster.side)
    raw = load_raw(image.path)
    probability = torch.from_numpy(load_scores(image.path).max(0))
    without_subtraction = replace(settings, candidates=0)   # which the poster does not have
    maps = saliency(enlarged(raw, settings.map_stride), without_subtraction, split.blocks)
    detected = Detected(probability, raw.candidates.order[:raw.candidates.kept], maps)
    superpixels = Superpixels(zoomed.regions, poster.zof.probability(zoomed.features))
    photo = image.sample.photo()
    objects = objectness(photo, image.masks)
    results = {}
    for row, choice in rows.items():
        if choice.method == "fcn_gbp":
            results[row] = fcn_gbp(photo, zoomed.scores, detected, choice.settings)
        elif choice.method == "zof_gbp":
            results[row] = zof_gbp(photo, superpixels, detected, choice.settings)
        else:
            results[row] = fcn_mcg(photo, zoomed.scores, probability, objects, choice.settings)
    return results


def _objects(sample: Sample) -> tuple[list[np.ndarray], np.ndarray]:
    """True objects (without instance masks, the classes of the class mask) and where truth is not void."""
    has_instances = (sample.folder / "instance_masks" / f"{sample.id}.png").exists()
    truth = sample.mask("instance_masks" if has_instances else "class_masks")
    objects = [truth == number for number in np.unique(truth) if number not in (0, VOID)]
    return objects, truth != VOID
