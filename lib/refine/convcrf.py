"""Convolutional CRF (Teichmann & Cipolla, arXiv 1805.04777).

Mean field in which a pixel hears only the pixels of a window around it.
"""
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from lib.base.problem import Problem
from lib.base.spent import spends
from lib.refine.crf import LEAST
from lib.refine.settings import ConvCrfSettings

Offsets = list[tuple[int, int]]   # (dy, dx) to neighbours


@torch.no_grad()
@spends("crf")
def refine_instances(image: Tensor, foreground: Tensor, settings: ConvCrfSettings) -> Tensor:
    """Foreground marginals `(P, H, W)` of P separate two-class problems on one image.

    The image is RGB `(3, H, W)` (in 0..1, or uint8); the P probabilities of foreground are `(P, H, W)`. The
    kernels are made once for all P. Messages are linear: those of the background are what is missing from the
    messages of a map of ones, so that only the foreground's are passed.
    """
    if len(foreground) == 0:
        return foreground
    logit = foreground.clamp(LEAST, 1).log() - (1 - foreground).clamp(LEAST, 1).log()
    messages = _messages(image[None], foreground[None], settings)
    everything = messages(torch.ones_like(foreground[None, :1]))[0]
    marginal = logit.sigmoid()
    for _ in range(settings.iterations):
        # Potts: likeness is rewarded, which is unlikeness punished
        marginal = (logit + 2 * messages(marginal[None])[0] - everything).sigmoid()
    return marginal


def _messages(image: Tensor, probability: Tensor, settings: ConvCrfSettings) -> Callable[[Tensor], Tensor]:
    """A function from marginals `(B, K, H, W)` to the weighted sum of both kernels' messages.

    Only the kernels depend on the image.
    """
    height, width = image.shape[2:]
    if image.shape[1] != 3 or probability.shape[2:] != image.shape[2:] or len(probability) != len(image):
        raise Problem(f"Images {tuple(image.shape)} and probabilities {tuple(probability.shape)} do not fit: "
                      "(B, 3, H, W) and (B, K, H, W).")
    shape = (-(-height // settings.blur), -(-width // settings.blur))
    offsets = _offsets(settings.filter_size, *shape)
    kernel = _kernel(image, probability.dtype, offsets, settings)

    def messages(marginal: Tensor) -> Tensor:
        told = _pool(marginal, settings.blur).flatten(2)
        heard = _pass(told, kernel, offsets, shape[1]).unflatten(2, shape)
        if settings.blur == 1:
            return heard
        large = interpolate(heard, scale_factor=settings.blur, mode="bilinear", align_corners=False)
        return large[..., :height, :width]

    return messages


def _offsets(filter_size: int, height: int, width: int) -> Offsets:
    """(dy, dx) to one half of the window.

    The kernels are symmetric: the other half has the same values seen from the other side. The pixel itself
    comes first. It is in the window as it is in the original code and in the dense CRF's lattice. Left out is
    what no pixel of the image has as a neighbour.
    """
    reach = filter_size // 2
    down = min(reach, height - 1)
    across = min(reach, width - 1)
    own_row = [(0, dx) for dx in range(across + 1)]
    below = [(dy, dx) for dy in range(1, down + 1) for dx in range(-across, across + 1)]
    return own_row + below


def _kernel(image: Tensor, dtype: torch.dtype, offsets: Offsets, settings: ConvCrfSettings) -> Tensor:
    """The sum of the normalised kernels times their weights, `(B, offsets, 1, h * w)`.

    From every pixel to the one at each offset.
    """
    grey_levels = 1 if image.dtype == torch.uint8 else 255
    colour = _pool(image.to(dtype) * grey_levels, settings.blur)
    rows, columns = (torch.arange(n, dtype=dtype, device=image.device) for n in image.shape[2:])
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    position = _pool(grid[None], settings.blur)
    places = position.expand(len(image), -1, -1, -1) / settings.theta_alpha
    bilateral = torch.cat([places, colour / settings.theta_beta], dim=1)
    spatial = position / settings.theta_gamma
    width = colour.shape[3]
    total = torch.zeros((), dtype=dtype, device=image.device)
    if settings.bilateral > 0:
        total = total + settings.bilateral * _normalised(_gaussian(bilateral, offsets), offsets, width)
    if settings.spatial > 0:
        total = total + settings.spatial * _normalised(_gaussian(spatial, offsets), offsets, width)
    return total.expand(len(image), len(offsets), 1, colour.shape[2] * width)


def _gaussian(features: Tensor, offsets: Offsets) -> Tensor:
    """exp(-½ |f_i - f_j|²) of features `(B, F, h, w)`: `(B, offsets, 1, h * w)`.

    It is 0 where j is outside the image.
    """
    batch, _, height, width = features.shape
    kernel = features.new_zeros(batch, len(offsets), height, width)
    for n, (dy, dx) in enumerate(offsets):
        rows = slice(0, height - dy)
        columns = slice(max(-dx, 0), width - max(dx, 0))
        here = features[:, :, rows, columns]
        there = features[:, :, dy:, max(dx, 0):width + min(dx, 0)]
        kernel[:, n, rows, columns] = (here - there).square().sum(1).mul(-0.5).exp()
    return kernel.flatten(2)[:, :, None]


def _normalised(kernel: Tensor, offsets: Offsets, width: int) -> Tensor:
    """k_ij / sqrt(Σ_j k_ij Σ_i k_ij); every sum is at least the pixel's own 1."""
    scale = _pass(torch.ones_like(kernel[:, 0]), kernel, offsets, width).rsqrt()
    for n, (dy, dx) in enumerate(offsets):
        shift = dy * width + dx
        kernel[:, n] *= scale
        kernel[:, n, :, :kernel.shape[3] - shift] *= scale[..., shift:]
    return kernel


def _pass(values: Tensor, kernel: Tensor, offsets: Offsets, width: int) -> Tensor:
    """Σ_j k_ij q_j of values `(B, K, h * w)`.

    Rows lie behind each other: a neighbour is a fixed shift away, and where it would be one of the next row
    the kernel is 0.
    """
    heard = kernel[:, 0] * values
    for n, (dy, dx) in enumerate(offsets):
        if n == 0:
            continue   # the pixel itself, which was heard already
        shift = dy * width + dx
        here = slice(0, values.shape[2] - shift)
        there = slice(shift, None)
        heard[..., here].addcmul_(kernel[:, n, :, here], values[..., there])
        heard[..., there].addcmul_(kernel[:, n, :, here], values[..., here])
    return heard


def _pool(x: Tensor, blur: int) -> Tensor:
    """Means over blur x blur pixels, `(B, K, ⌈H / blur⌉, ⌈W / blur⌉)`.

    At the right and bottom border they are over those there are.
    """
    return x if blur == 1 else avg_pool2d(x, blur, ceil_mode=True)
