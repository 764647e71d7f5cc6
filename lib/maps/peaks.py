"""Peaks of class maps, and class scores that stimulate them in training (PRM, as IAM's section 3.1 revisits it)."""
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

WINDOW = 3   # side of the neighbourhood in which a peak is the highest


@dataclass(frozen=True)
class Peaks:
    """P peaks of a batch of class maps: the image, the class and the place of each `(P,)` int64, and how high it is `(P,)`."""
    image: Tensor
    label: Tensor
    row: Tensor
    column: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.value)


def is_peak(maps: Tensor) -> Tensor:
    """Where class maps `(B, K, h, w)` have a peak, bool: the highest of its window, and at least the median of its map.

    Of a plateau that fits into one window, the first pixel in scan order; beyond the border is nothing.
    """
    edge = WINDOW // 2
    around, place = max_pool2d(pad(maps, [edge] * 4, value=-torch.inf), WINDOW, 1, return_indices=True)
    rows, columns = (torch.arange(n, device=maps.device) + edge for n in maps.shape[-2:])
    own = rows[:, None] * (maps.shape[-1] + 2 * edge) + columns
    return (place == own) & (maps >= maps.flatten(2).median(2).values[..., None, None])


def peak_stimulation(maps: Tensor) -> Tensor:
    """Class scores `(B, K)` of class maps `(B, K, h, w)`: the mean over each map's peaks, which alone receive a gradient."""
    kept = is_peak(maps.detach())
    return (maps * kept).sum((2, 3)) / kept.sum((2, 3)).clamp(min=1)


def find_peaks(maps: Tensor, threshold: float) -> Peaks:
    """The peaks above `threshold` of classes whose score is positive, image by image, class by class, in scan order."""
    present = peak_stimulation(maps) > 0
    kept = is_peak(maps) & (maps > threshold) & present[..., None, None]
    image, label, row, column = kept.nonzero().unbind(1)
    return Peaks(image, label, row, column, maps[image, label, row, column])
