"""The poster's rows beside DCSM's on the same images."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.base.progress import progress
from lib.data.dataset import Sample
from lib.metrics.bootstrap import draws, summarise
from lib.metrics.miou import Confusions, confusion
from lib.metrics.multilabel import labels
from lib.nets.fcn import Fcn
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.maps import load_raw, load_scores
from lib.papers.dcsm.method import enlarged, saliency, to_input
from lib.papers.dcsm.tables import Items, Row, Split, label_maps
from lib.papers.fcn_gbp.method import fcn_gbp, fcn_mcg, zof_gbp
from lib.papers.fcn_gbp.mi_svm import MiSvm, train_mi_svm
from lib.papers.fcn_gbp.settings import FcnGbpGrid, FcnGbpSettings, ZofSettings
from lib.proposals.segments import objectness, proposals, quality
from lib.refine.settings import CrfSettings
from lib.refine.superpixels import pool, slic
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))

METHODS = ("fcn_gbp", "zof_gbp", "fcn_mcg")
Options = Mapping[str, tuple[str, FcnGbpSettings]]   # row -> which method, and its settings


@torch.inference_mode()
def zoom_out(fcn: Fcn, sample: Sample, settings: ZofSettings, side: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Superpixels `(H, W)`, their zoom-out features `(R, D)`: the last layer of every block above the first two and the trunk's last map,
    averaged over each; and the score maps `(K, h, w)` of the same forward pass."""
    photo = sample.photo()
    names = [*dict.fromkeys([*(layers[-1] for layers in list(blocks(fcn.trunk).values())[2:]), fcn.trunk.features])]
    device = next(fcn.parameters()).device
    scores, found = fcn.scores_and_layers(to_input(photo, side).to(device), names)
    regions = slic(photo, settings.superpixels)
    return regions, torch.cat([pool(maps[0].cpu().contiguous(), regions) for maps in found.values()], 1).numpy(), scores[0].cpu()


def train_zof(fcn: Fcn, samples: Sequence[Sample], settings: ZofSettings, side: int, seed: int) -> MiSvm:
    """mi-SVM on the superpixels of training images, from image labels alone; every class needs an image."""
    features, bags = [], []
    for number, sample in enumerate(progress(list(samples), "zoom-out features")):
        found = zoom_out(fcn, sample, settings, side)[1]
        features.append(found)
        bags.append(np.full(len(found), number))
    return train_mi_svm(np.concatenate(features), np.concatenate(bags), labels(samples, fcn.classes), fcn.classes, settings.rounds, settings.negatives, settings.c,
                        settings.balanced, seed)


def covering(samples: Sequence[Sample], classes: Sequence[str], images: int) -> list[Sample]:
    """About `images` training images in which every class has its share: in turn the next image of each class that is not there yet."""
    queues = {name: [s for s in samples if name in s.labels] for name in classes}
    chosen: dict[str, Sample] = {}
    while len(chosen) < min(images, len(samples)) and any(queues.values()):
        for name in classes:
            while queues[name] and queues[name][0].id in chosen:
                queues[name].pop(0)
            if queues[name] and len(chosen) < images:
                sample = queues[name].pop(0)
                chosen[sample.id] = sample
    return list(chosen.values())


def score_poster(fcn: Fcn, items: Items, zof: MiSvm, zoom: ZofSettings, rows: Options, ours: Mapping[str, Row], split: Split,
                 side: int) -> tuple[dict[str, Confusions], np.ndarray]:
    """Confusion matrices of the poster's rows and of DCSM's, `ours`; and the best overlap of the proposals with every true object."""
    method = next(iter(ours.values())).settings
    found: dict[str, list[np.ndarray]] = {}
    overlaps: list[np.ndarray] = []
    for sample, path in progress(list(items), f"poster, {fcn.name}"):
        regions, features, scores = zoom_out(fcn, sample, zoom, side)
        raw = load_raw(path)
        kept, probability = raw.candidates.order[:raw.candidates.kept], torch.from_numpy(load_scores(path).max(0))
        maps = saliency(enlarged(raw, method.map_stride), replace(method, candidates=0), split.blocks)   # the poster does not subtract
        photo = sample.photo()
        masks = proposals(photo)
        overlaps.append(quality(masks, *_objects(sample)))
        objects, superpixels = objectness(photo, masks), zof.probability(features)
        methods = {"fcn_gbp": partial(fcn_gbp, photo, scores, probability, maps, kept),
                   "zof_gbp": partial(zof_gbp, photo, regions, superpixels, probability, maps, kept),
                   "fcn_mcg": partial(fcn_mcg, photo, scores, probability, objects)}
        results = {row: methods[name](settings) for row, (name, settings) in rows.items()} | label_maps(sample, path, ours, split)
        for name, result in results.items():
            found.setdefault(name, []).append(confusion(sample.mask("class_masks"), result, len(split.classes) + 1))
    return {name: Confusions.of(matrices) for name, matrices in found.items()}, np.array([(len(o), o.sum(), (o >= 0.5).sum()) for o in overlaps])


def choices(grid: FcnGbpGrid, crf: CrfSettings) -> Options:
    """What the poster leaves open, to be chosen on validation images."""
    return {f"{name} {how} {maximum} {alpha:g}": (name, FcnGbpSettings(grid.least_probability, how, maximum, grid.least_map, alpha, crf))
            for name, how, maximum, alpha in product(METHODS, grid.enhance, grid.maximum, grid.alpha)}


def best(options: Options, scores: Mapping[str, Mapping[str, dict]]) -> dict[str, str]:
    """{method: its row with the highest mIoU} in the table of the options."""
    return {name: max((row for row in options if options[row][0] == name), key=lambda row: scores[row]["miou"]["mean"]) for name in METHODS}


def proposal_table(counts: np.ndarray, samples: int, level: float, seed: int) -> dict[str, dict]:
    """The proposals' own quality from (objects, sum of overlaps, found at 0.5) of each image."""
    objects, overlap, hits = (draws(len(counts), samples, seed) @ counts).T
    return summarise({"proposals": {"recall": 100 * hits / objects, "abo": 100 * overlap / objects}}, level)


def _objects(sample: Sample) -> tuple[list[np.ndarray], np.ndarray]:
    """True objects and the pixels that are not void; where there are no instance masks, the classes of the class mask."""
    kind = "instance_masks" if (sample.folder / "instance_masks" / f"{sample.id}.png").exists() else "class_masks"
    truth = sample.mask(kind)
    return [truth == number for number in np.unique(truth) if number not in (0, 255)], truth != 255
