"""Convolutional CRF (Teichmann & Cipolla, arXiv 1805.04777): mean field in which a pixel hears only the pixels of a window around it."""
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from lib.base.problem import Problem
from lib.refine.crf import LEAST
from lib.refine.settings import ConvCrfSettings


@torch.no_grad()
def conv_crf(image: Tensor, probability: Tensor, settings: ConvCrfSettings) -> Tensor:
    """Mean-field marginals `(B, K, H, W)` of K classes, from RGB images `(B, 3, H, W)` (in 0..1, or uint8) and probabilities `(B, K, H, W)`."""
    log_unary = probability.clamp(LEAST, 1).log()
    messages = _messages(image, probability, settings)
    marginal = log_unary.softmax(1)
    for _ in range(settings.iterations):
        marginal = (log_unary + messages(marginal)).softmax(1)   # Potts: likeness is rewarded, which is unlikeness punished
    return marginal


@torch.no_grad()
def refine_instances(image: Tensor, foreground: Tensor, settings: ConvCrfSettings) -> Tensor:
    """Foreground marginals `(P, H, W)` of P separate two-class problems on one image `(3, H, W)`, given P probabilities `(P, H, W)`.

    The kernels are made once for all P. Messages are linear: those of the background are what is missing from the messages of
    a map of ones, so that only the foreground's are passed.
    """
    if len(foreground) == 0:
        return foreground
    logit = foreground.clamp(LEAST, 1).log() - (1 - foreground).clamp(LEAST, 1).log()
    messages = _messages(image[None], foreground[None], settings)
    everything = messages(torch.ones_like(foreground[None, :1]))[0]
    marginal = logit.sigmoid()
    for _ in range(settings.iterations):
        marginal = (logit + 2 * messages(marginal[None])[0] - everything).sigmoid()
    return marginal


def _messages(image: Tensor, probability: Tensor, settings: ConvCrfSettings) -> Callable[[Tensor], Tensor]:
    """What turns marginals `(B, K, H, W)` into the weighted sum of both kernels' messages; only the kernels depend on the image."""
    height, width = image.shape[2:]
    if image.shape[1] != 3 or probability.shape[2:] != image.shape[2:] or len(probability) != len(image):
        raise Problem(f"Images {tuple(image.shape)} and probabilities {tuple(probability.shape)} do not fit: (B, 3, H, W) and (B, K, H, W).")
    shape = (-(-height // settings.blur), -(-width // settings.blur))
    offsets = _offsets(settings.filter_size, *shape)
    kernel = _kernel(image, probability.dtype, offsets, settings)

    def messages(marginal: Tensor) -> Tensor:
        heard = _pass(_pool(marginal, settings.blur).flatten(2), kernel, offsets, shape[1]).unflatten(2, shape)
        if settings.blur == 1:
            return heard
        return interpolate(heard, scale_factor=settings.blur, mode="bilinear", align_corners=False)[..., :height, :width]

    return messages


def _offsets(filter_size: int, height: int, width: int) -> list[tuple[int, int]]:
    """(dy, dx) to one half of the window: the kernels are symmetric, the other half has the same values seen from the other side.

    The pixel itself comes first. It is in the window as it is in the original code and in the dense CRF's lattice. What no
    pixel of the image has as a neighbour is left out.
    """
    reach = filter_size // 2
    return [(dy, dx) for dy in range(min(reach, height - 1) + 1) for dx in range(-min(reach, width - 1), min(reach, width - 1) + 1)
            if (dy, dx) >= (0, 0)]


def _kernel(image: Tensor, dtype: torch.dtype, offsets: list[tuple[int, int]], settings: ConvCrfSettings) -> Tensor:
    """Both normalised kernels times their weights, `(B, offsets, 1, h * w)`: from every pixel to the one at each offset."""
    colour = _pool(image.to(dtype) * (1 if image.dtype == torch.uint8 else 255), settings.blur)
    position = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=dtype, device=image.device) for n in image.shape[2:]), indexing="ij"))
    position = _pool(position[None], settings.blur)
    seen = torch.cat([position.expand(len(image), -1, -1, -1) / settings.theta_alpha, colour / settings.theta_beta], dim=1)
    total = torch.zeros((), dtype=dtype, device=image.device)
    for weight, features in ((settings.bilateral, seen), (settings.spatial, position / settings.theta_gamma)):
        if weight > 0:
            total = total + weight * _normalised(_gaussian(features, offsets), offsets, colour.shape[3])
    return total.expand(len(image), len(offsets), 1, colour.shape[2] * colour.shape[3])


def _gaussian(features: Tensor, offsets: list[tuple[int, int]]) -> Tensor:
    """exp(-½ |f_i - f_j|²) of features `(B, F, h, w)`: `(B, offsets, 1, h * w)`; 0 where j is outside the image."""
    batch, _, height, width = features.shape
    kernel = features.new_zeros(batch, len(offsets), height, width)
    for n, (dy, dx) in enumerate(offsets):
        rows, columns = slice(0, height - dy), slice(max(-dx, 0), width - max(dx, 0))
        there = features[:, :, dy:, max(dx, 0):width + min(dx, 0)]
        kernel[:, n, rows, columns] = (features[:, :, rows, columns] - there).square().sum(1).mul(-0.5).exp()
    return kernel.flatten(2)[:, :, None]


def _normalised(kernel: Tensor, offsets: list[tuple[int, int]], width: int) -> Tensor:
    """k_ij / sqrt(Σ_j k_ij Σ_i k_ij); every sum is at least the pixel's own 1."""
    scale = _pass(torch.ones_like(kernel[:, 0]), kernel, offsets, width).rsqrt()
    for n, (dy, dx) in enumerate(offsets):
        shift = dy * width + dx
        kernel[:, n] *= scale
        kernel[:, n, :, :kernel.shape[3] - shift] *= scale[..., shift:]
    return kernel


def _pass(values: Tensor, kernel: Tensor, offsets: list[tuple[int, int]], width: int) -> Tensor:
    """Σ_j k_ij q_j of values `(B, K, h * w)`.

    Rows lie behind each other: a neighbour is a fixed shift away, and where it would be one of the next row the kernel is 0.
    """
    heard = kernel[:, 0] * values
    for n, (dy, dx) in list(enumerate(offsets))[1:]:
        here, there = slice(0, values.shape[2] - dy * width - dx), slice(dy * width + dx, None)
        heard[..., here].addcmul_(kernel[:, n, :, here], values[..., there])
        heard[..., there].addcmul_(kernel[:, n, :, here], values[..., here])
    return heard


def _pool(x: Tensor, blur: int) -> Tensor:
    """Means over blur x blur pixels `(B, K, ⌈H / blur⌉, ⌈W / blur⌉)`; at the right and bottom border over those there are."""
    return x if blur == 1 else avg_pool2d(x, blur, ceil_mode=True)
