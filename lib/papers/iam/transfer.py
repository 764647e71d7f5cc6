"""IAM on what its filling module never learnt: finer classes (table 3), saliency (4), classes held out."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.problem import Problem
from lib.data.dataset import Box, Sample
from lib.metrics.bootstrap import Chance, Scores
from lib.metrics.instances import Compared
from lib.metrics.localisation import (
    Localised,
    best_overlap,
    centred,
    errors,
    overlaps,
    truth_boxes,
    whole_image,
)
from lib.metrics.scoring import Scored, each_batch
from lib.nets.fcn import Fcn
from lib.papers.csoa.runs import POSITION, Job, Located, load_located
from lib.papers.iam.filling import ExtentFilling
from lib.papers.iam.method import ClassifierOutput, activate, no_peaks, run_classifier, strongest, unsquared
from lib.papers.iam.rows import BATCH
from lib.papers.iam.settings import MAIN, FillingJob
from lib.papers.iam.tables import ChosenRows
from lib.papers.iam.trained import Trained

FILLED = ("iam", "iam_unseen")   # rows of activation maps; the latter's module never saw the held-out classes
# What is compared image by image: on held-out classes, boxes (table 3) and saliency (table 4).
UNSEEN_PAIRS = [("iam_unseen", "iam"), ("iam_unseen", "prm"), ("iam_unseen", "cam_rect"),
                ("iam_unseen", "cam_ellipse"), ("iam_unseen", "cam_mcg"), ("iam", "prm")]
BOX_PAIRS = [(row, other) for row in FILLED for other in ("prm", "cam", "whole_image", "centred_box")]
SALIENCY_PAIRS = [(row, other) for row in FILLED for other in ("prm", "cam")]


def maps_of(trained: Trained, output: ClassifierOutput) -> dict[str, Tensor]:
    """One map an image `(B, m, m)` by row: CAM, PRM, IAM, and IAM that never saw the held-out classes.

    Of the peaks of its best class the maximum.
    """
    images = torch.arange(len(output.class_maps))
    side = trained.network.filling.map_side
    best_class = output.class_maps[images, output.scores.argmax(1)][:, None]
    large = interpolate(best_class, (side, side), mode="bilinear", align_corners=False)
    maps = {"cam": large[:, 0].clamp(min=0), "prm": _united(output.prms, output)}
    for row, filling in fillings(trained).items():
        maps[row] = _united(activate(filling, output), output)
    return maps


def _united(maps: Tensor, output: ClassifierOutput) -> Tensor:
    """The maximum over the peaks of each image."""
    images = range(len(output.class_maps))
    return torch.stack([maps[output.peaks.image == image].amax(0) for image in images])


def fillings(trained: Trained) -> dict[str, ExtentFilling]:
    """The main module of the first seed, and the one with classes held out, where there is one."""
    modules = {"iam": trained.main}
    held_out = FillingJob(MAIN, trained.network.seeds[0], unseen=True)
    if held_out in trained.fillings:
        modules["iam_unseen"] = trained.fillings[held_out]
    return modules


def located(trained: Trained, samples: Sequence[Sample],
            boxes: Mapping[str, Sequence[Box]]) -> dict[str, np.ndarray]:
    """Table 3, row -> overlaps `(N,)` of a box with a truth box of the image's class.

    The box is that around the largest piece of what exceeds a map's mean; two rows look at nothing.
    """
    overlaps_of: dict[str, list[float]] = {}
    for of_part in each_batch(partial(_locator, trained, boxes), samples, BATCH, "boxes"):
        for row, values in of_part.items():
            overlaps_of.setdefault(row, []).extend(values)
    return {row: np.array(values) for row, values in overlaps_of.items()}


def _locator(trained: Trained,
             boxes: Mapping[str, Sequence[Box]]) -> Callable[[Sequence[Sample]], dict[str, list[float]]]:
    training = trained.network.filling

    def of_part(part: Sequence[Sample]) -> dict[str, list[float]]:
        overlaps_of: dict[str, list[float]] = {}
        photos = [sample.photo() for sample in part]
        maps = maps_of(trained, run_classifier(trained.fcn, photos, training.side, training.map_side,
                                               strongest(trained.settings.peaks)))
        for place, (sample, photo) in enumerate(zip(part, photos, strict=True)):
            truth = truth_boxes(boxes[sample.id], sample.labels[0], photo.size, sample.id)
            for row, several in maps.items():
                heat = unsquared(several[place:place + 1], photo.height, photo.width)[0]
                above_mean = (heat > heat.mean()).cpu().numpy()
                overlap = best_overlap(above_mean, truth, "largest")
                overlaps_of.setdefault(row, []).append(overlap)
            for row, box in (("whole_image", whole_image(photo.size)), ("centred_box", centred(photo.size))):
                overlaps_of.setdefault(row, []).append(float(overlaps(box, truth).max()))
        return overlaps_of
    return of_part


def box_errors(overlaps_of: Mapping[str, np.ndarray], rank: np.ndarray | None,
               chance: Chance) -> dict[str, Scores]:
    """Errors of every row of `located` by metric, in percent.

    rank   the places of the true classes `(N,)` by another network, 0 is best; without them, GT-known alone
    """
    metrics = ("gt_known",) if rank is None else ("loc1", "gt_known", "cls1")
    scores: dict[str, Scores] = {}
    for row, overlap in overlaps_of.items():
        weights = chance.draws(len(overlap))
        places = np.zeros(len(overlap)) if rank is None else rank
        every = errors(with_classes(overlap, places), weights, 0)
        scores[row] = {metric: every[metric] for metric in metrics}
    return scores


def base_ranks(folder: Path, seed: int, ids: Sequence[str]) -> np.ndarray:
    """The places of the true classes `(N,)` by CSoA's base network, of which `folder` holds the runs."""
    run = Job("base", POSITION, seed)
    return ranks_of(load_located(folder / run.name / "test.npz"), ids)


def ranks_of(named: Located, ids: Sequence[str]) -> np.ndarray:
    """The places of the true classes `(N,)` by a network that must have looked at all of these images."""
    place = {id: i for i, id in enumerate(named.ids)}
    missing = [id for id in ids if id not in place]
    if missing:
        raise Problem(f'Notebook csoa did not look at the image "{missing[0]}", so its class is not known; '
                      "run the stage csoa_train for all of them.")
    return named.rank[[place[id] for id in ids]]


def with_classes(overlap: np.ndarray, rank: np.ndarray) -> Localised:
    """Boxes that know no class, with the places of the true classes by another network (0 is best)."""
    return Localised(rank, overlap[:, None])


def salient(trained: Trained, imagenet: Fcn, samples: Sequence[Sample]) -> Scored:
    """Table 4: peaks are those of an ImageNet network's best class.

    What is filled from there, and how far, the classifier and the filling modules say, which know nothing of
    those classes.
    """
    scored = Scored()
    for part in each_batch(partial(_saliency_scorer, trained, imagenet), samples, BATCH, "saliency"):
        scored.extend(part)
    return scored


def _saliency_scorer(trained: Trained, imagenet: Fcn) -> Callable[[Sequence[Sample]], Scored]:
    training = trained.network.filling

    def of_part(part: Sequence[Sample]) -> Scored:
        scored = Scored()
        photos = [sample.photo() for sample in part]
        cues = run_classifier(imagenet, photos, training.side, training.map_side,
                              strongest(trained.settings.peaks))
        own = run_classifier(trained.fcn, photos, training.side, training.map_side, no_peaks)
        maps = maps_of(trained, replace(cues, levels=own.levels))
        for place, (sample, photo) in enumerate(zip(part, photos, strict=True)):
            heats = {}
            for row, several in maps.items():
                heat = unsquared(saliency(row, several[place:place + 1]), photo.height, photo.width)
                heats[row] = heat[None].cpu()
            scored.add(heats, [sample])
        return scored
    return of_part


def saliency(row: str, maps: Tensor) -> Tensor:
    """A map `(1, m, m)` in 0..1.

    Of an activation map what is above one half, as ReLU leaves of its logit (section 4.3).
    """
    if row in FILLED:
        maps = torch.logit(maps, 1e-6).clamp(min=0)
    return maps / maps.amax().clamp(min=1e-12)


def on_classes(chosen: ChosenRows, classes: Sequence[int]) -> ChosenRows:
    """The rows with the predictions and truths of some classes alone; no constants are shown."""
    rows = {}
    for row, seeds in chosen.rows.items():
        rows[row] = [restricted(images, classes) for images in seeds]
    return ChosenRows(rows)


def restricted(images: Sequence[Compared], classes: Sequence[int]) -> list[Compared]:
    """Images with the predictions and truths of some classes alone."""
    return [_only(image, np.array(sorted(classes))) for image in images]


def _only(image: Compared, classes: np.ndarray) -> Compared:
    is_predicted = np.isin(image.classes, classes)
    is_true = np.isin(image.truth_classes, classes)
    return Compared(image.classes[is_predicted], image.scores[is_predicted],
                    image.iou[is_predicted][:, is_true], image.truth_classes[is_true],
                    image.truth_shares[is_true])
