"""Masks from boxes, the baselines of IAM's table 1: the box itself, its ellipse, the proposal that has it.

A box is xmin, ymin, xmax, ymax in pixels, half-open; of pixels their centres count. What lies outside the
image is cut off.
"""
from collections.abc import Sequence

import numpy as np

from lib.base.problem import Problem
from lib.metrics.localisation import overlaps


def rectangle(box: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """Mask `(H, W)` bool of the box itself; `shape` is (H, W)."""
    x, y = _within(box, shape)
    return (np.abs(y) < 1)[:, None] & (np.abs(x) < 1)


def ellipse(box: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """Mask `(H, W)` bool of the ellipse that touches the box's sides; `shape` is (H, W)."""
    x, y = _within(box, shape)
    return y[:, None] ** 2 + x ** 2 <= 1


def best_proposal(box: Sequence[float], proposals: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
    """Choose, among proposals `(J, H, W)` bool, the mask `(H, W)` whose own box overlaps the box most.

    Among equals it is the first. The mask is empty where no proposal's box overlaps the box at all. `boxes`
    are those of `boxes_around`, where they are known already.
    """
    _check_area(box)
    if boxes is None:
        boxes = boxes_around(proposals)
    overlap = overlaps(boxes, np.asarray(box)[None])[:, 0]
    if not overlap.max(initial=0) > 0:
        return np.zeros(proposals.shape[1:], dtype=bool)
    return proposals[overlap.argmax()]


def boxes_around(masks: np.ndarray) -> np.ndarray:
    """Boxes `(J, 4)` int around masks `(J, H, W)` bool; 0, 0, 0, 0 around an empty one."""
    columns, rows = masks.any(1), masks.any(2)
    first = [columns.argmax(1), rows.argmax(1)]
    behind = [held.shape[1] - held[:, ::-1].argmax(1) for held in (columns, rows)]
    return np.stack(first + behind, axis=1) * columns.any(1)[:, None]


def _within(box: Sequence[float], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where the centres of columns `(W,)` and rows `(H,)` lie between the box's sides, -1 .. 1."""
    _check_area(box)
    xmin, ymin, xmax, ymax = (float(side) for side in box)
    height, width = shape
    return _relative(width, xmin, xmax), _relative(height, ymin, ymax)


def _relative(number: int, low: float, high: float) -> np.ndarray:
    """Where the centres of so many pixels lie between `low` (-1) and `high` (1)."""
    return (np.arange(number) + 0.5 - (low + high) / 2) / ((high - low) / 2)


def _check_area(box: Sequence[float]) -> None:
    xmin, ymin, xmax, ymax = (float(side) for side in box)
    if not (xmin < xmax and ymin < ymax):
        raise Problem(f"The box ({', '.join(map(str, box))}) has no area; "
                      "xmin must be less than xmax, and ymin less than ymax.")
