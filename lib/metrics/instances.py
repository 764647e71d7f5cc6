"""Scores of instance masks: mAP^r at an IoU, average best overlap, best IoU by class and by size (IAM, table 1, figures 7 and 8)."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Literal

import numpy as np

from lib.base.problem import Problem
from lib.data.dataset import VOID
from lib.metrics.miou import mean_of_known

Unit = Literal["prediction", "truth"]          # of what the best IoU is taken
Counted = Literal["any class", "same class"]   # which pairs of prediction and truth may overlap
LEVELS = 255     # thresholds 1/255 .. 1 of a map, as in lib.metrics.fmeasure
NUMBERS = 256    # values of an instance mask: 0 background, 1 .. 254 instances, 255 void


@dataclass(frozen=True)
class Compared:
    """What one image with P predictions and T truth instances contributes.

    `classes` and `scores` are `(P,)`, `iou` `(P, T)` in 0..1; `truth_classes` and `truth_shares`, of the image's area, are `(T,)`.
    """
    classes: np.ndarray
    scores: np.ndarray
    iou: np.ndarray
    truth_classes: np.ndarray
    truth_shares: np.ndarray


def compared(masks: np.ndarray, classes: Sequence[int], scores: Sequence[float], instance_mask: np.ndarray,
             instance_classes: Mapping[int, int], n_classes: int) -> Compared:
    """Compare boolean masks `(P, H, W)` of classes and scores `(P,)` with an instance mask `(H, W)` uint8; classes are 0 .. n_classes - 1.

    The instance mask holds numbers of instances (gaps allowed, instances may touch), 0 for background, 255 for void; `instance_classes`
    gives the class of each number. Void pixels count neither in intersection nor in union: a mask with nothing else overlaps nothing.
    """
    if masks.dtype != bool and len(masks):
        raise Problem(f"The predicted masks hold {masks.dtype} values where true and false belong; compare them with a threshold first.")
    return _compared(masks, _within, classes, scores, instance_mask, instance_classes, n_classes)


def compared_at_best(maps: np.ndarray, classes: Sequence[int], scores: Sequence[float], instance_mask: np.ndarray,
                     instance_classes: Mapping[int, int], n_classes: int) -> Compared:
    """As `compared`, for maps `(P, H, W)` in 0..1: each IoU is that of the threshold at which the map and the instance agree best.

    Section 4.2's max over theta of M >= theta, which figures 7 and 8 show. It looks at the truth: a measure of maps, not a result.
    """
    if len(maps) and not ((maps >= 0) & (maps <= 1)).all():   # NaN too
        raise Problem("The maps must lie in 0..1, and some do not; divide each by its largest value.")
    return _compared(maps, _reaching, classes, scores, instance_mask, instance_classes, n_classes)


def map_r(images: Sequence[Compared], weights: np.ndarray, least: float) -> np.ndarray:
    """mAP^r `(S,)` in percent at IoU `least`, under image weights `(S, N)`: the mean over classes with a truth in the images that weigh.

    Per class, predictions of all images by falling score; one is right when its IoU with the truth of its class that it overlaps most
    reaches `least` and no better scored one has taken that truth (VOC's rule: it does not move on to the next best truth). Area under the
    precision-recall curve at all its points, precision made monotone. Equal scores share one rank, the last of them, so that no order of
    predictions or images matters. NaN without any truth.
    """
    _check_weights(images, weights)
    image, classes = _joined([i.classes for i in images])
    truth_image, truth_classes = _joined([i.truth_classes for i in images])
    scores, right = _joined([i.scores for i in images])[1], _joined([_right(i, least) for i in images])[1].astype(bool)
    present, of_image = np.unique(truth_classes), np.ascontiguousarray(weights.T)
    precision = np.empty((len(weights), len(present)))
    for column, k in enumerate(present):
        mine, positives = classes == k, of_image[truth_image[truth_classes == k]].sum(0)
        precision[:, column] = _average_precision(scores[mine], right[mine], of_image[image[mine]], positives)
    return 100 * mean_of_known(precision)


def abo(images: Sequence[Compared], weights: np.ndarray, counted: Counted = "any class") -> np.ndarray:
    """Average best overlap `(S,)` in percent under image weights `(S, N)`: per class the mean over its truth instances of the best IoU of
    a prediction that is `counted`, 0 where there is none; then the mean over classes with a truth. NaN without any truth.
    """
    # The paper does not say whether the prediction must be of the instance's class. It takes ABO from Pont-Tuset and Van Gool ([30]), whose
    # candidates have no class, to show "the ability of the IAMs to cover full object extents" (section 4.1): any prediction counts.
    n_classes = 1 + max((int(i.truth_classes.max(initial=-1)) for i in images), default=-1)
    return mean_of_known(per_class_iou(images, weights, n_classes, "truth", counted))


def per_class_iou(images: Sequence[Compared], weights: np.ndarray, n_classes: int, unit: Unit = "prediction",
                  counted: Counted = "any class") -> np.ndarray:
    """Mean best IoU in percent per class `(S, K)` under image weights `(S, N)` (figure 8); NaN for a class without any `unit`."""
    # Section 4.2 takes the maximum over the truths of the image for each map: the unit is a prediction, with the class of its peak.
    # An instance without a peak is then nowhere in the mean; unit "truth" has it, as a zero.
    _check_weights(images, weights)
    found = best(images, unit, counted)
    cell, cells = found.image * n_classes + _class_numbers(unit, found.classes, n_classes), (len(images), n_classes)
    total = weights @ np.bincount(cell, found.iou, np.prod(cells)).reshape(cells)
    number = weights @ np.bincount(cell, minlength=np.prod(cells)).reshape(cells)
    return np.divide(100 * total, number, out=np.full(number.shape, np.nan), where=number > 0)


@dataclass(frozen=True)
class Best:
    """Of M predictions or truths: the best IoU in 0..1, the share of the image that the truth of that IoU covers, class and image number.

    All `(M,)`. The share is NaN for a prediction that overlaps no truth.
    """
    iou: np.ndarray
    share: np.ndarray
    classes: np.ndarray
    image: np.ndarray


def best(images: Sequence[Compared], unit: Unit, counted: Counted = "any class") -> Best:
    """The best IoU of each prediction with any truth or of each truth with any prediction, and the object's size (figure 7)."""
    rows = [(_best_of_truths if unit == "truth" else _best_of_predictions)(image, counted) for image in images]
    (image, iou), (_, share), (_, classes) = (_joined([row[i] for row in rows]) for i in range(3))
    return Best(iou, share, classes, image)


def _best_of_truths(image: Compared, counted: Counted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _counted_iou(image, counted).max(0, initial=0), image.truth_shares, image.truth_classes


def _best_of_predictions(image: Compared, counted: Counted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    iou = np.pad(_counted_iou(image, counted), ((0, 0), (1, 0)))   # before all truths, none: what overlaps no truth belongs there
    return iou.max(1), np.append(np.nan, image.truth_shares)[iou.argmax(1)], image.classes


def _counted_iou(image: Compared, counted: Counted) -> np.ndarray:
    return image.iou if counted == "any class" else np.where(image.classes[:, None] == image.truth_classes, image.iou, 0)


def _right(image: Compared, least: float) -> np.ndarray:
    """Which predictions are right, boolean `(P,)`; VOC's rule, see `map_r`. It concerns one image: no resample changes it."""
    right = np.zeros(image.classes.shape, dtype=bool)
    if image.iou.size:
        iou = np.where(image.classes[:, None] == image.truth_classes, image.iou, -1)
        order = np.argsort(-image.scores, kind="stable")
        order = order[iou.max(1)[order] >= least]
        _, first = np.unique(iou.argmax(1)[order], return_index=True)   # of those that want one truth
        right[order[first]] = True
    return right


def _average_precision(scores: np.ndarray, right: np.ndarray, weights: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Of one class, in 0..1: `(S,)` from P predictions under weights `(P, S)` and the weight of all its truths `(S,)`; NaN without."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=np.inf))               # of each group of equal scores,
    last = last[np.diff(np.cumsum(right[order])[last], prepend=0) > 0]         # of which one is right: between those precision only falls
    ranked = weights[order]
    hits = np.cumsum(ranked * right[order, None], axis=0)[last]
    found = np.cumsum(ranked, axis=0)[last]
    precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
    monotone = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    area = (np.diff(hits, axis=0, prepend=0) * monotone).sum(0)
    return np.divide(area, positives, out=np.full(len(area), np.nan), where=positives > 0)


def _compared(masks: np.ndarray, count: Callable[[np.ndarray, np.ndarray], np.ndarray], classes: Sequence[int], scores: Sequence[float],
              instance_mask: np.ndarray, instance_classes: Mapping[int, int], n_classes: int) -> Compared:
    _check_shapes(masks, classes, scores, instance_mask)
    areas = np.bincount(instance_mask.ravel(), minlength=NUMBERS)
    numbers = [n for n in range(1, VOID) if areas[n]]
    if missing := [n for n in numbers if n not in instance_classes]:
        raise Problem(f"The instance mask holds the number {missing[0]}, which has no class; give the class of every instance.")
    iou = np.array([_best_iou(count(mask, instance_mask), areas, numbers) for mask in masks]).reshape(len(masks), len(numbers))
    truth = _class_numbers("truth", [instance_classes[n] for n in numbers], n_classes)
    shares = areas[numbers] / max(instance_mask.size, 1)
    return Compared(_class_numbers("prediction", classes, n_classes), np.array(scores, dtype=np.float64), iou, truth, shares)


def _within(mask: np.ndarray, instance_mask: np.ndarray) -> np.ndarray:
    """Pixels of a boolean mask by the instance mask's number: `(1, NUMBERS)`."""
    return np.bincount(instance_mask[mask], minlength=NUMBERS)[None]


def _reaching(heat: np.ndarray, instance_mask: np.ndarray) -> np.ndarray:
    """Pixels of a map in 0..1 that reach each threshold, highest first, by the instance mask's number: `(LEVELS, NUMBERS)`."""
    level = (heat * LEVELS).astype(np.int64)
    pairs = np.bincount((level * NUMBERS + instance_mask).ravel(), minlength=(LEVELS + 1) * NUMBERS)
    return pairs.reshape(LEVELS + 1, NUMBERS)[:0:-1].cumsum(0)


def _best_iou(pixels: np.ndarray, areas: np.ndarray, numbers: list[int]) -> np.ndarray:
    """The best IoU of L masks, given as pixels by number `(L, NUMBERS)`, with each of the numbered instances: `(T,)`."""
    shared = pixels[:, numbers]
    union = pixels[:, :VOID].sum(1)[:, None] + areas[numbers] - shared
    return (shared / union).max(0)   # no union is empty: every instance has pixels


def _joined(arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The images' numbers and values, one after another; there may be no image."""
    lengths = np.array([len(a) for a in arrays], dtype=int)
    return np.repeat(np.arange(len(arrays)), lengths), np.concatenate([np.zeros(0, dtype=int), *arrays])


def _check_shapes(masks: np.ndarray, classes: Sequence[int], scores: Sequence[float], instance_mask: np.ndarray) -> None:
    if instance_mask.dtype != np.uint8 or instance_mask.ndim != 2:
        raise Problem(f"The instance mask holds {instance_mask.dtype} values in {instance_mask.ndim} dimensions; it must be uint8 (H, W).")
    if len(masks) and masks.shape[1:] != instance_mask.shape:
        raise Problem(f"The predictions are {_size(masks[0])} pixels and the instance mask {_size(instance_mask)}; "
                      "scale them to the truth's size.")
    if not len(masks) == len(classes) == len(scores):
        raise Problem(f"There are {len(masks)} predictions, {len(classes)} classes and {len(scores)} scores; every prediction needs both.")
    if not np.isfinite(np.array(scores, dtype=np.float64)).all():
        raise Problem("A prediction has a score that is no finite number, so it has no rank; leave it out or give it a score.")


def _class_numbers(name: str, classes: Sequence[int], n_classes: int) -> np.ndarray:
    numbers = np.array([index(k) for k in classes], dtype=int)
    for k in numbers:
        if not 0 <= k < n_classes:
            raise Problem(f"A {name} has the class {k}, but {n_classes} classes are numbered 0 to {n_classes - 1}; "
                          "number classes so, or give the right number of them.")
    return numbers


def _check_weights(images: Sequence[Compared], weights: np.ndarray) -> None:
    if weights.ndim != 2 or weights.shape[1] != len(images):
        raise Problem(f"There are weights of shape {weights.shape} for {len(images)} images; each draw needs one weight an image.")


def _size(labels: np.ndarray) -> str:
    return " x ".join(map(str, labels.shape[::-1]))
