"""Intersection over union of masks whose pixels were counted, pair by pair."""
from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:   # numbers of either kind; torch comes with those who have tensors
    from torch import Tensor

Numbers = TypeVar("Numbers", np.ndarray, "Tensor")


def iou_of_areas(shared: Numbers, areas: Numbers, others: Numbers) -> Numbers:
    """Intersection over union `(N, M)` of N masks or boxes with M others; 0 where both are empty.

    shared    how many pixels each pair has in common, `(N, M)`
    areas     how many pixels each of the N has, `(N,)`
    others    how many pixels each of the M others has, `(M,)`
    """
    union = areas[:, None] + others - shared
    return shared / (union + (union == 0))
