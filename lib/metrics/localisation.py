"""Weakly supervised localisation: boxes around thresholded maps, and their scores.

The scores are top-k errors (ILSVRC), MaxBoxAcc and MaxBoxAccV2 (Choe et al., CVPR 2020). Boxes are rows xmin,
ymin, xmax, ymax in pixels, half-open.
"""
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import find_objects, label

from lib.base.problem import Problem
from lib.data.dataset import Box
from lib.metrics.iou import iou_of_areas

Rule = Literal["largest", "all"]
RIGHT = 0.5                    # the overlap from which a box is right
V2_OVERLAPS: tuple[float, ...] = (0.3, 0.5, 0.7)  # the same in MaxBoxAccV2, which takes their mean
CENTRED_SHARE = 0.5            # of the image's area that the centred box has
NEIGHBOURS = np.ones((3, 3), dtype=bool)   # diagonal ones too


def boxes_of(mask: np.ndarray, rule: Rule) -> np.ndarray:
    """Boxes `(N, 4)` int around connected components of a boolean mask `(H, W)`.

    Around the largest (CAM's rule) or around all, in scan order. Pixels that touch at a corner are connected.
    Of components of one size the first is the largest. An empty mask has no box: `(0, 4)`.
    """
    labels, _ = label(mask, structure=NEIGHBOURS)
    components = find_objects(labels)
    if rule == "largest" and components:
        sizes = np.bincount(labels.ravel())[1:]
        components = [components[sizes.argmax()]]
    corners = [(x.start, y.start, x.stop, y.stop) for y, x in components]
    return np.array(corners, dtype=int).reshape(-1, 4)


def overlaps(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union `(N, M)` of boxes `(N, 4)` with truth boxes `(M, 4)`.

    It is 0 where both are empty.
    """
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    return iou_of_areas(shared, _areas(boxes), _areas(truth))


def best_overlap(mask: np.ndarray, truth: np.ndarray, rule: Rule) -> float:
    """The best overlap of any box of the mask `(H, W)` with any of the truth boxes `(M, 4)`.

    It is 0 for an empty mask.
    """
    return float(overlaps(boxes_of(mask, rule), truth).max(initial=0.0))


def truth_boxes(boxes: Sequence[Box], name: str, size: tuple[int, int], id: str) -> np.ndarray:
    """The boxes `(M, 4)` of class `name` among those of the image `id` of `size` (width, height).

    There is at least one.
    """
    chosen = [box for box in boxes if box.name == name]
    if not chosen:
        raise Problem(f'The image "{id}" has no box of class "{name}"; localisation needs one, '
                      "so add it or leave the image out.")
    for box in chosen:
        _check_box(box, size, id)
    return np.array([astuple(box)[1:] for box in chosen], dtype=int)


def whole_image(size: tuple[int, int]) -> np.ndarray:
    """The box `(1, 4)` of an image of `size` (width, height): a baseline that sees nothing."""
    return np.array([[0, 0, *size]])


def centred(size: tuple[int, int]) -> np.ndarray:
    """A box `(1, 4)` in the middle of an image of `size` (width, height), in whole pixels.

    It has the image's aspect and half of its area.
    """
    outer = np.array(size)
    inner = np.maximum(1, np.rint(outer * CENTRED_SHARE ** 0.5)).astype(int)
    low = (outer - inner) // 2
    return np.concatenate([low, low + inner])[None]


@dataclass(frozen=True)
class Localised:
    """How well a method found the objects of N images, at T thresholds.

    rank      the place of the true class among the classifier's, 0 = best, `(N,)` int
    overlap   of the true class's box with the truth, `(N, T)`
    """
    # Top-k localisation wants the right class among the k best and the box of that class right: no other
    # class's box can matter.
    rank: np.ndarray
    overlap: np.ndarray


def errors(localised: Localised, weights: np.ndarray, threshold: int) -> dict[str, np.ndarray]:
    """loc1, loc5, gt_known, cls1 and cls5, each `(S,)` in percent of error.

    They are taken under image weights `(S, N)` at one of the T thresholds. gt_known takes the class for
    granted, cls1 and cls5 the box.
    """
    box = localised.overlap[:, threshold] >= RIGHT
    first = localised.rank < 1
    among = localised.rank < 5
    right = {"loc1": first & box, "loc5": among & box, "gt_known": box, "cls1": first, "cls5": among}
    return {metric: 100 * (weights @ ~hits) for metric, hits in right.items()}


def max_box_acc(overlap: np.ndarray, weights: np.ndarray, least: float = RIGHT) -> np.ndarray:
    """Accuracy `(S,)` in percent at each weighting's own best threshold.

    A box is right when its overlap is at least `least`; overlaps are `(N, T)`, image weights `(S, N)`.
    """
    return 100 * (weights @ (overlap >= least)).max(1)


def max_box_acc_v2(overlap: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Accuracy `(S,)` in percent: the mean over overlaps of at least 0.3, 0.5 and 0.7.

    Each is taken at its own best threshold, as in `max_box_acc`. The overlaps `(N, T)` are those of rule
    "all".
    """
    return np.mean([max_box_acc(overlap, weights, least) for least in V2_OVERLAPS], axis=0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)


def _check_box(box: Box, size: tuple[int, int], id: str) -> None:
    what = f'The image "{id}" has a box of class "{box.name}" {astuple(box)[1:]}'
    if box.xmin >= box.xmax or box.ymin >= box.ymax:
        raise Problem(f"{what} without area; xmin must be less than xmax, and ymin less than ymax.")
    if min(box.xmin, box.ymin) < 0 or box.xmax > size[0] or box.ymax > size[1]:
        raise Problem(f"{what} that reaches outside its {size[0]}x{size[1]} pixels; "
                      "cut the box at the image's border.")
