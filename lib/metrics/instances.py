"""Scores of instance masks (IAM, table 1, figures 7 and 8).

They are mAP^r at an IoU, the average best overlap, and the best IoU by class and by size.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Literal

import numpy as np

from lib.base.problem import Problem
from lib.data.dataset import VOID
from lib.metrics.fmeasure import THRESHOLDS
from lib.metrics.iou import iou_of_areas
from lib.metrics.miou import mean_of_known, size_in_words

Unit = Literal["prediction", "truth"]   # of what the best IoU is taken
NUMBERS = 256    # values of an instance mask: 0 background, 1 .. 254 instances, 255 void


@dataclass(frozen=True)
class Compared:
    """One image's contribution: P predictions and T truth instances.

    classes, scores   of the predictions, `(P,)`
    iou               of each prediction with each truth, `(P, T)` in 0..1
    truth_classes     `(T,)`
    truth_shares      of the image's area, `(T,)`
    """
    classes: np.ndarray
    scores: np.ndarray
    iou: np.ndarray
    truth_classes: np.ndarray
    truth_shares: np.ndarray


def compared(masks: np.ndarray, classes: Sequence[int], scores: Sequence[float], instance_mask: np.ndarray,
             instance_classes: Mapping[int, int], n_classes: int) -> Compared:
    """Compare boolean masks `(P, H, W)` of classes and scores `(P,)` with an instance mask `(H, W)` uint8.

    Classes are 0 .. n_classes - 1. The instance mask holds numbers of instances (gaps allowed, instances may
    touch), 0 for background, 255 for void; `instance_classes` gives the class of each number. Void pixels
    count neither in intersection nor in union: a mask with nothing else overlaps nothing.
    """
    if masks.dtype != bool and len(masks):
        raise Problem(f"The predicted masks hold {masks.dtype} values where true and false belong; "
                      "compare them with a threshold first.")
    _check_shapes(masks, classes, scores, instance_mask)
    truth = _truth_of(instance_mask, instance_classes, n_classes)
    pixels = [_within(mask, instance_mask) for mask in masks]
    return _compared(pixels, _class_numbers("prediction", classes, n_classes), scores, truth)


def compared_at_best(maps: np.ndarray, classes: Sequence[int], scores: Sequence[float],
                     instance_mask: np.ndarray, instance_classes: Mapping[int, int],
                     n_classes: int) -> Compared:
    """Compare maps `(P, H, W)` in 0..1 with an instance mask, each where it and the instance agree best.

    Each IoU is that of the best threshold; the rest is as in `compared`. Section 4.2's max over theta of M >=
    theta, which figures 7 and 8 show. It looks at the truth: a measure of maps, not a result.
    """
    if len(maps) and not ((maps >= 0) & (maps <= 1)).all():   # NaN too
        raise Problem("The maps must lie in 0..1, and some do not; divide each by its largest value.")
    _check_shapes(maps, classes, scores, instance_mask)
    truth = _truth_of(instance_mask, instance_classes, n_classes)
    pixels = [_reaching(heat, instance_mask) for heat in maps]
    return _compared(pixels, _class_numbers("prediction", classes, n_classes), scores, truth)


def map_r(images: Sequence[Compared], weights: np.ndarray, least: float) -> np.ndarray:
    """mAP^r `(S,)` in percent at IoU `least`, under image weights `(S, N)`.

    The mean over classes with a truth in the images that weigh; NaN without any truth. Per class, predictions
    of all images by falling score; one is right when its IoU with the truth of its class that it overlaps
    most reaches `least` and no better scored one has taken that truth (VOC's rule: it does not move on to the
    next best truth). Area under the precision-recall curve at all its points, precision made monotone. Equal
    scores share one rank, the last of them, so that no order of predictions or images matters.
    """
    _check_weights(images, weights)
    image, classes = _joined([one.classes for one in images])
    truth_image, truth_classes = _joined([one.truth_classes for one in images])
    _, scores = _joined([one.scores for one in images])
    _, right = _joined([_right(one, least) for one in images])
    right = right.astype(bool)
    by_image = np.ascontiguousarray(weights.T)
    present = np.unique(truth_classes)
    precision = np.empty((len(weights), len(present)))
    for column, k in enumerate(present):
        mine = classes == k
        positives = by_image[truth_image[truth_classes == k]].sum(0)
        precision[:, column] = _average_precision(scores[mine], right[mine], by_image[image[mine]], positives)
    return 100 * mean_of_known(precision)


def abo(images: Sequence[Compared], weights: np.ndarray) -> np.ndarray:
    """Average best overlap `(S,)` in percent under image weights `(S, N)`.

    Per class the mean over its truth instances of the best IoU of any prediction, 0 where there is none; then
    the mean over classes with a truth. NaN without any truth.
    """
    # The paper does not say whether the prediction must be of the instance's class. It takes ABO from
    # Pont-Tuset and Van Gool ([30]), whose candidates have no class, to show "the ability of the IAMs to
    # cover full object extents" (section 4.1): any prediction counts.
    highest = max((int(one.truth_classes.max(initial=-1)) for one in images), default=-1)
    return mean_of_known(per_class_iou(images, weights, 1 + highest, "truth"))


def per_class_iou(images: Sequence[Compared], weights: np.ndarray, n_classes: int,
                  unit: Unit = "prediction") -> np.ndarray:
    """Mean best IoU in percent per class `(S, K)` under image weights `(S, N)` (figure 8).

    NaN for a class without any `unit`.
    """
    # Section 4.2 takes the maximum over the truths of the image for each map: the unit is a prediction, with
    # the class of its peak. An instance without a peak is then nowhere in the mean; unit "truth" has it, as a
    # zero.
    _check_weights(images, weights)
    bests = best(images, unit)
    shape = (len(images), n_classes)
    cells = np.prod(shape)
    cell = bests.image * n_classes + _class_numbers(unit, bests.classes, n_classes)
    total = weights @ np.bincount(cell, bests.iou, cells).reshape(shape)
    number = weights @ np.bincount(cell, minlength=cells).reshape(shape)
    return np.divide(100 * total, number, out=np.full(number.shape, np.nan), where=number > 0)


@dataclass(frozen=True)
class Best:
    """M predictions or truths, and how well the best counterpart of each fits.

    iou       the best IoU in 0..1
    share     of the image, covered by the truth of that IoU; NaN for a prediction that overlaps no truth
    classes   of the predictions or truths
    image     their image's number

    All are `(M,)`.
    """
    iou: np.ndarray
    share: np.ndarray
    classes: np.ndarray
    image: np.ndarray


def best(images: Sequence[Compared], unit: Unit) -> Best:
    """The best IoU of each prediction with any truth, or of each truth with any prediction (figure 7)."""
    choose = _best_of_truths if unit == "truth" else _best_of_predictions
    rows = [choose(image) for image in images]
    image, iou = _joined([row[0] for row in rows])
    _, share = _joined([row[1] for row in rows])
    _, classes = _joined([row[2] for row in rows])
    return Best(iou, share, classes, image)


def _best_of_truths(image: Compared) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return image.iou.max(0, initial=0), image.truth_shares, image.truth_classes


def _best_of_predictions(image: Compared) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # before all truths stands none: what overlaps no truth belongs there
    iou = np.pad(image.iou, ((0, 0), (1, 0)))
    shares = np.append(np.nan, image.truth_shares)
    return iou.max(1), shares[iou.argmax(1)], image.classes


def _right(image: Compared, least: float) -> np.ndarray:
    """Whether each prediction is right, boolean `(P,)`; VOC's rule, see `map_r`.

    It concerns one image: no resample changes it.
    """
    right = np.zeros(image.classes.shape, dtype=bool)
    if image.iou.size:
        same_class = image.classes[:, None] == image.truth_classes
        iou = np.where(same_class, image.iou, -1)
        order = np.argsort(-image.scores, kind="stable")
        order = order[iou.max(1)[order] >= least]
        _, first = np.unique(iou.argmax(1)[order], return_index=True)   # of those that want one truth
        right[order[first]] = True
    return right


def _average_precision(scores: np.ndarray, right: np.ndarray, weights: np.ndarray,
                       positives: np.ndarray) -> np.ndarray:
    """Average precision of one class, in 0..1: `(S,)`; NaN without a truth that weighs.

    From P predictions under weights `(P, S)` and the weight of all truths of the class `(S,)`.
    """
    order = np.argsort(-scores, kind="stable")
    # the last of each group of equal scores, of which one is right: between those precision only falls
    last = np.flatnonzero(np.diff(scores[order], append=np.inf))
    last = last[np.diff(np.cumsum(right[order])[last], prepend=0) > 0]
    ranked = weights[order]
    hits = np.cumsum(ranked * right[order, None], axis=0)[last]
    ranks = np.cumsum(ranked, axis=0)[last]
    precision = np.divide(hits, ranks, out=np.zeros_like(hits), where=ranks > 0)
    monotone = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    area = (np.diff(hits, axis=0, prepend=0) * monotone).sum(0)
    return np.divide(area, positives, out=np.full(len(area), np.nan), where=positives > 0)


@dataclass(frozen=True)
class _Truth:
    """The T instances of an image.

    Their numbers, their classes `(T,)` and shares of its area `(T,)`; pixels by number `(NUMBERS,)`.
    """
    numbers: list[int]
    classes: np.ndarray
    shares: np.ndarray
    areas: np.ndarray


def _truth_of(instance_mask: np.ndarray, instance_classes: Mapping[int, int], n_classes: int) -> _Truth:
    areas = np.bincount(instance_mask.ravel(), minlength=NUMBERS)
    numbers = [number for number in range(1, VOID) if areas[number]]
    for number in numbers:
        if number not in instance_classes:
            raise Problem(f"The instance mask holds the number {number}, which has no class; "
                          "give the class of every instance.")
    classes = _class_numbers("truth", [instance_classes[number] for number in numbers], n_classes)
    return _Truth(numbers, classes, areas[numbers] / max(instance_mask.size, 1), areas)


def _compared(pixels: Sequence[np.ndarray], classes: np.ndarray, scores: Sequence[float],
              truth: _Truth) -> Compared:
    """Compare predictions, each given as the pixels by number of one or more masks `(L, NUMBERS)`."""
    iou = np.array([_best_iou(one, truth) for one in pixels]).reshape(len(pixels), len(truth.numbers))
    return Compared(classes, np.array(scores, dtype=np.float64), iou, truth.classes, truth.shares)


def _within(mask: np.ndarray, instance_mask: np.ndarray) -> np.ndarray:
    """Pixels of a boolean mask by the instance mask's number: `(1, NUMBERS)`."""
    return np.bincount(instance_mask[mask], minlength=NUMBERS)[None]


def _reaching(heat: np.ndarray, instance_mask: np.ndarray) -> np.ndarray:
    """Pixels of a map in 0..1 that reach each threshold, highest first: `(THRESHOLDS, NUMBERS)` by number."""
    level = (heat * THRESHOLDS).astype(np.int64)
    cell = (level * NUMBERS + instance_mask).ravel()
    pixels = np.bincount(cell, minlength=(THRESHOLDS + 1) * NUMBERS)
    return pixels.reshape(THRESHOLDS + 1, NUMBERS)[:0:-1].cumsum(0)


def _best_iou(pixels: np.ndarray, truth: _Truth) -> np.ndarray:
    """The best IoU with each instance, `(T,)`, of L masks, given as pixels by number `(L, NUMBERS)`."""
    shared = pixels[:, truth.numbers]
    not_void = pixels[:, :VOID].sum(1)
    return iou_of_areas(shared, not_void, truth.areas[truth.numbers]).max(0)


def _joined(arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The images' numbers and values, one after another; there may be no image."""
    lengths = np.array([len(values) for values in arrays], dtype=int)
    return np.repeat(np.arange(len(arrays)), lengths), np.concatenate([np.zeros(0, dtype=int), *arrays])


def _check_shapes(masks: np.ndarray, classes: Sequence[int], scores: Sequence[float],
                  instance_mask: np.ndarray) -> None:
    if instance_mask.dtype != np.uint8 or instance_mask.ndim != 2:
        raise Problem(f"The instance mask holds {instance_mask.dtype} values in {instance_mask.ndim} "
                      "dimensions; it must be uint8 (H, W).")
    if len(masks) and masks.shape[1:] != instance_mask.shape:
        raise Problem(f"The predictions are {size_in_words(masks[0])} pixels and the instance mask "
                      f"{size_in_words(instance_mask)}; scale them to the truth's size.")
    if not len(masks) == len(classes) == len(scores):
        raise Problem(f"There are {len(masks)} predictions, {len(classes)} classes and {len(scores)} scores; "
                      "every prediction needs both.")
    if not np.isfinite(np.array(scores, dtype=np.float64)).all():
        raise Problem("A prediction has a score that is no finite number, so it has no rank; "
                      "leave it out or give it a score.")


def _class_numbers(name: str, classes: Sequence[int], n_classes: int) -> np.ndarray:
    numbers = np.array([index(k) for k in classes], dtype=int)
    for k in numbers:
        if not 0 <= k < n_classes:
            raise Problem(f"A {name} has the class {k}, but {n_classes} classes are numbered "
                          f"0 to {n_classes - 1}; number classes so, or give the right number of them.")
    return numbers


def _check_weights(images: Sequence[Compared], weights: np.ndarray) -> None:
    if weights.ndim != 2 or weights.shape[1] != len(images):
        raise Problem(f"There are weights of shape {weights.shape} for {len(images)} images; "
                      "each draw needs one weight an image.")
