"""What pixels of a dense CRF hear from each other: normalised sums by a spatial and a bilateral kernel."""
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from lib.refine.gaussian import Features

MIDDLE_GREY = 128   # colours count from here, so that squares of whole numbers stay whole in float32
Normalisation = Literal["none", "before", "after", "symmetric"]
Message = Callable[[Tensor], Tensor]   # values (B, K, H, W) -> what every pixel hears, of the same shape


class Gaussian(Protocol):
    """The weights between all pixels of one image."""

    def sums(self, values: Tensor) -> Tensor:
        """Σ_j k_ij v_j of values `(K, N)`, for every pixel i."""


def spatial_sums(height: int, width: int, theta: float, like: Tensor) -> Message:
    """Sums weighed by distance alone: along columns, then along rows."""
    down = _line(height, theta, like)
    across = _line(width, theta, like)
    return lambda values: down @ values @ across


def bilateral_sums(kernels: Sequence[Gaussian]) -> Message:
    """Sums weighed by distance and colour, from the weights of each image."""
    return lambda values: _Sums.apply(values, kernels)


def bilateral_features(image: Tensor, theta_alpha: float, theta_beta: float) -> list[Features]:
    """Colours and positions of an image `(3, H, W)`, with the kernel's widths along both."""
    rows, columns = (torch.arange(n, dtype=image.dtype, device=image.device) for n in image.shape[1:])
    positions = torch.stack(torch.meshgrid(rows - len(rows) // 2, columns - len(columns) // 2, indexing="ij"))
    colours = image - MIDDLE_GREY
    return [Features(colours.flatten(1), theta_beta), Features(positions.flatten(1), theta_alpha)]


def normalised(sums: Message, ones: Tensor, how: Normalisation) -> Message:
    """Messages by a kernel's sums, divided by the pixels' own sums of weights n.

    how    by n of the pixel that hears (after), of the one that is heard (before), by the root of both
           (symmetric), or not at all (none)
    ones   `(B, 1, H, W)`
    """
    if how == "none":
        return sums
    total = sums(ones)
    if how == "after":
        return lambda values: sums(values) / total
    if how == "before":
        return lambda values: sums(values / total)
    root = total.rsqrt()
    return lambda values: root * sums(root * values)


def _line(length: int, theta: float, like: Tensor) -> Tensor:
    """exp(-½ (i - j)² / θ²) between the places of a line, `(length, length)`."""
    places = torch.arange(length, dtype=like.dtype, device=like.device)
    return ((places[:, None] - places) / theta).square().mul(-0.5).exp()


class _Sums(torch.autograd.Function):
    """Linear and symmetric in the values, so that derivatives are sums again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, kernels: Sequence[Gaussian]) -> Tensor:
        ctx.kernels = kernels
        return _sums(values, kernels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _sums(gradient, ctx.kernels), None


def _sums(values: Tensor, kernels: Sequence[Gaussian]) -> Tensor:
    heard = torch.empty_like(values)
    for place, kernel in enumerate(kernels):
        heard[place] = kernel.sums(values[place].flatten(1)).view_as(heard[place])
    return heard
