"""Peaks of class maps, and class scores that stimulate them in training.

Both are PRM's, as IAM's section 3.1 revisits it.
"""
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

WINDOW = 3   # side of the neighbourhood in which a peak is the highest


@dataclass(frozen=True)
class Peaks:
    """P peaks of a batch of class maps.

    The image, the class and the place of each are `(P,)` int64; how high it is, `(P,)`, is its value.
    """
    image: Tensor
    label: Tensor
    row: Tensor
    column: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.value)


def is_peak(maps: Tensor) -> Tensor:
    """Where class maps `(B, K, h, w)` have a peak, bool: the highest of its window, and not below the median.

    The median is that of the map. Where a plateau fits into one window, its first pixel in scan order is the
    peak; beyond the border is nothing.
    """
    height, width = maps.shape[-2:]
    edge = WINDOW // 2
    framed = pad(maps, [edge] * 4, value=-torch.inf)
    _, highest = max_pool2d(framed, WINDOW, 1, return_indices=True)
    rows = torch.arange(height, device=maps.device) + edge
    columns = torch.arange(width, device=maps.device) + edge
    own = rows[:, None] * (width + 2 * edge) + columns
    median = maps.flatten(2).median(2).values[..., None, None]
    return (highest == own) & (maps >= median)


def peak_stimulation(maps: Tensor) -> Tensor:
    """Class scores `(B, K)` of class maps `(B, K, h, w)`: the mean over each map's peaks.

    They alone receive a gradient.
    """
    kept = is_peak(maps.detach())
    return (maps * kept).sum((2, 3)) / kept.sum((2, 3)).clamp(min=1)


def find_peaks(maps: Tensor, threshold: float) -> Peaks:
    """The peaks above `threshold` of classes whose score is positive.

    They come image by image, class by class, in scan order.
    """
    present = peak_stimulation(maps) > 0
    kept = is_peak(maps) & (maps > threshold) & present[..., None, None]
    image, label, row, column = kept.nonzero().unbind(1)
    return Peaks(image, label, row, column, maps[image, label, row, column])
