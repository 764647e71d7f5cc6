"""Masks from boxes, the baselines of IAM's table 1: the box itself, the ellipse in it, the proposal that has it.

A box is xmin, ymin, xmax, ymax in pixels, half-open; of pixels their centres count. What lies outside the image is cut off.
"""
from collections.abc import Sequence

import numpy as np

from lib.base.problem import Problem
from lib.metrics.localisation import overlaps


def rectangle(box: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """`(H, W)` bool, for `shape` (H, W)."""
    x, y = _within(box, shape)
    return (np.abs(y) < 1)[:, None] & (np.abs(x) < 1)


def ellipse(box: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """The ellipse that touches the box's sides, `(H, W)` bool, for `shape` (H, W)."""
    x, y = _within(box, shape)
    return y[:, None] ** 2 + x ** 2 <= 1


def best_proposal(box: Sequence[float], proposals: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
    """Of proposals `(J, H, W)` bool the one whose own box overlaps the box most, the first of equals: `(H, W)` bool.

    Empty where no proposal's box overlaps it at all. boxes: those of `boxes_around`, where they are known already.
    """
    _within(box, proposals.shape[1:])
    overlap = overlaps(boxes_around(proposals) if boxes is None else boxes, np.asarray(box)[None])[:, 0]
    if not overlap.max(initial=0) > 0:
        return np.zeros(proposals.shape[1:], dtype=bool)
    return proposals[overlap.argmax()]


def boxes_around(masks: np.ndarray) -> np.ndarray:
    """The boxes `(J, 4)` int around masks `(J, H, W)` bool; 0, 0, 0, 0 around none."""
    columns, rows = masks.any(1), masks.any(2)
    first = [held.argmax(1) for held in (columns, rows)]
    behind = [held.shape[1] - held[:, ::-1].argmax(1) for held in (columns, rows)]
    return np.stack(first + behind, axis=1) * columns.any(1)[:, None]


def _within(box: Sequence[float], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where the centres of columns `(W,)` and rows `(H,)` lie between the box's sides, -1 .. 1."""
    xmin, ymin, xmax, ymax = (float(side) for side in box)
    if not (xmin < xmax and ymin < ymax):
        raise Problem(f"The box ({', '.join(map(str, box))}) has no area; xmin must be less than xmax, and ymin less than ymax.")
    return tuple((np.arange(n) + 0.5 - (low + high) / 2) / ((high - low) / 2) for n, low, high in ((shape[1], xmin, xmax), (shape[0], ymin, ymax)))
