"""Superpixels (SLIC): finding them, averaging feature maps over each, painting a value of each back."""
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# SLIC's balance of nearness against likeness of colour (Lab); at 10 a third are lost as too small
COMPACTNESS = 20.0


def slic(photo: Image.Image, count: int) -> np.ndarray:
    """About `count` connected superpixels of a photograph: labels `(H, W)` from 0 without gaps."""
    from skimage.segmentation import slic as simple_linear_iterative_clustering

    pixels = np.asarray(photo.convert("RGB"))
    labels = simple_linear_iterative_clustering(
        pixels, n_segments=count, compactness=COMPACTNESS, start_label=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def pool(maps: Tensor, labels: np.ndarray) -> Tensor:
    """Mean of maps `(D, h, w)`, enlarged to the labels' size `(H, W)`, over each of R superpixels: `(R, D)`.

    They are enlarged bilinearly. Both steps are linear in the maps: their product, a sparse matrix `(R, h *
    w)`, is formed once for all channels, and no map is ever enlarged.
    """
    mean = means_over(labels, maps.shape[1:], maps.dtype).to(maps.device)
    return mean @ maps.flatten(1).T


def means_over(labels: np.ndarray, small: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """The matrix `(R, h * w)` of `pool` for maps of size `small`: sparse, on the CPU, as the labels are."""
    regions = torch.from_numpy(labels.ravel())
    count = int(regions.max()) + 1
    area = torch.bincount(regions, minlength=count)
    cell, weight = _corners(labels.shape, small)
    weight = weight.to(dtype) / area[regions]
    place = torch.stack([regions.expand_as(cell), cell]).flatten(1)
    size = (count, small[0] * small[1])
    return torch.sparse_coo_tensor(place, weight.flatten(), size, check_invariants=False).coalesce()


def paint(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Every pixel gets the values `(R, C)` of its superpixel: `(C, H, W)`."""
    return np.ascontiguousarray(values.T)[:, labels]


@dataclass(frozen=True)
class Neighbours:
    """Along one axis: the lower and the upper cell of each pixel, and how much the upper one weighs."""
    lower: Tensor
    upper: Tensor
    share: Tensor

    def weighted(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The lower cells with their weights, the upper cells with theirs."""
        return (self.lower, 1 - self.share), (self.upper, self.share)


def _corners(large: tuple[int, int], small: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Bilinear interpolation: four cells of the small grid for every pixel of the large one, with weights.

    Both are `(4, H * W)`.
    """
    rows = _neighbours(large[0], small[0])
    columns = _neighbours(large[1], small[1])
    cells = []
    weights = []
    for y, y_weight in rows.weighted():
        for x, x_weight in columns.weighted():
            cells.append(y[:, None] * small[1] + x[None])
            weights.append(y_weight[:, None] * x_weight[None])
    return torch.stack(cells).flatten(1), torch.stack(weights).flatten(1)


def _neighbours(large: int, small: int) -> Neighbours:
    """The cells of the small axis on both sides of each pixel of the large one.

    Pixels are areas, edges repeat.
    """
    centres = (torch.arange(large, dtype=torch.float64) + 0.5) * small / large - 0.5
    position = centres.clamp(0, small - 1)
    lower = position.floor().long()
    return Neighbours(lower, (lower + 1).clamp(max=small - 1), position - lower)
