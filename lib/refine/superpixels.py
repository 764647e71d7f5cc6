"""Superpixels (SLIC): finding them, averaging feature maps over each, painting a value per superpixel back."""
import numpy as np
import torch
from PIL import Image
from torch import Tensor

COMPACTNESS = 20.0   # SLIC's balance of nearness against likeness of colour (Lab); at 10 a third are lost as too small


def slic(photo: Image.Image, count: int) -> np.ndarray:
    """About `count` connected superpixels of a photograph: labels `(H, W)` from 0 without gaps."""
    from skimage.segmentation import slic as simple_linear_iterative_clustering

    found = simple_linear_iterative_clustering(np.asarray(photo.convert("RGB")), n_segments=count, compactness=COMPACTNESS, start_label=0)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape)


def pool(maps: Tensor, labels: np.ndarray) -> Tensor:
    """Mean of maps `(D, h, w)`, enlarged bilinearly to the labels' size `(H, W)`, over each of R superpixels: `(R, D)`.

    Both steps are linear in the maps: their product, a sparse matrix `(R, h * w)`, is formed once for all channels, and no
    map is ever enlarged."""
    regions = torch.from_numpy(labels.ravel()).to(maps.device)
    count = int(regions.max()) + 1
    area = torch.bincount(regions, minlength=count)
    cell, weight = _corners(labels.shape, maps.shape[1:])
    cell, weight = cell.to(maps.device), weight.to(maps.device, maps.dtype) / area[regions]
    size = (count, maps.shape[1] * maps.shape[2])
    mean = torch.sparse_coo_tensor(torch.stack([regions.expand_as(cell), cell]).flatten(1), weight.flatten(), size, check_invariants=False)
    return torch.sparse.mm(mean.coalesce(), maps.flatten(1).T)


def paint(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Every pixel gets the values `(R, C)` of its superpixel: `(C, H, W)`."""
    return np.ascontiguousarray(values.T)[:, labels]


def _corners(large: tuple[int, int], small: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Bilinear interpolation: for every pixel of the large grid its four cells of the small one and their weights, `(4, H * W)`."""
    (y0, y1, fy), (x0, x1, fx) = (_neighbours(n, m) for n, m in zip(large, small))
    pairs = [(y, v, x, u) for y, v in ((y0, 1 - fy), (y1, fy)) for x, u in ((x0, 1 - fx), (x1, fx))]
    cells = [y[:, None] * small[1] + x[None] for y, _, x, _ in pairs]
    weights = [v[:, None] * u[None] for _, v, _, u in pairs]
    return torch.stack(cells).flatten(1), torch.stack(weights).flatten(1)


def _neighbours(large: int, small: int) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis: the lower and the upper cell of each pixel, and the upper one's weight (pixels are areas, edges repeat)."""
    position = ((torch.arange(large, dtype=torch.float64) + 0.5) * small / large - 0.5).clamp(0, small - 1)
    lower = position.floor().long()
    return lower, (lower + 1).clamp(max=small - 1), position - lower
