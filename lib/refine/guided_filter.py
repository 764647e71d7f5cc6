"""Guided filter (He et al., PAMI 2013) with a guide of several channels.

Every image has a window of its own.
"""
from collections.abc import Sequence

import torch
from torch import Tensor


def box_mean(x: Tensor, radius: Tensor) -> Tensor:
    """Mean over windows of (2 r + 1)², cut off at the border.

    x `(B, C, H, W)`, one radius an image `(B,)`. Two products with matrices of means along one axis: at the
    sides of feature maps they are quicker than running sums, and they lose no digits.
    """
    down = _means_along(x.shape[2], radius, x.dtype)
    across = _means_along(x.shape[3], radius, x.dtype)
    rows = x.transpose(1, 2)   # (B, H, C, W): both products are then one for all channels
    wide = rows.flatten(1, 2) @ across.mT
    tall = down @ wide.view(rows.shape).flatten(2)
    return tall.view(rows.shape).transpose(1, 2)


def guided_filter(source: Tensor, guide: Tensor, radius: Tensor | int, eps: float) -> Tensor:
    """In every window the output is the linear function of the guide that fits the source best (ridge eps).

    source `(B, 1, H, W)`, guide `(B, C, H, W)`, radius `(B,)` or one number; returns `(B, 1, H, W)` in the
    source's type. Both are moved to a mean of 0 first, which changes nothing but the digits that are kept.
    """
    kind = torch.promote_types(torch.promote_types(source.dtype, guide.dtype), torch.float32)
    level = source.to(kind).mean((2, 3), keepdim=True)
    p = source.to(kind) - level
    g = guide.to(kind) - guide.to(kind).mean((2, 3), keepdim=True)
    if not isinstance(radius, Tensor):
        radius = torch.full((len(p),), radius, device=source.device)
    channels = g.shape[1]
    pairs = [g[:, first:] * g[:, first:first + 1] for first in range(channels)]   # every pair once
    means = box_mean(torch.cat([p, g, g * p, *pairs], dim=1), radius)
    mean_p, mean_g, mean_gp, *mean_gg = means.split([1, channels, channels, *range(channels, 0, -1)], dim=1)
    covariance = []
    for first, products in enumerate(mean_gg):
        row = torch.addcmul(products, mean_g[:, first:], mean_g[:, first:first + 1], value=-1)
        covariance.append(row.unbind(1))
    with_source = torch.addcmul(mean_gp, mean_g, mean_p, value=-1).unbind(1)
    slope = _ridge_regression(covariance, with_source, eps)
    offset = mean_p - (slope * mean_g).sum(1, keepdim=True)
    smooth = box_mean(torch.cat([slope, offset], dim=1), radius)
    filtered = (smooth[:, :-1] * g).sum(1, keepdim=True) + smooth[:, -1:]
    return (filtered + level).to(source.dtype)


def _means_along(size: int, radius: Tensor, kind: torch.dtype) -> Tensor:
    """Matrices `(B, size, size)` that take the mean over 2 r + 1 entries, fewer at both ends."""
    place = torch.arange(size, device=radius.device)
    is_near = (place[:, None] - place).abs() <= radius[:, None, None]
    return is_near.to(kind) / is_near.sum(-1, keepdim=True)


def _ridge_regression(covariance: Sequence[Sequence[Tensor]], with_source: Sequence[Tensor],
                      eps: float) -> Tensor:
    """Slopes `(B, C, H, W)` at every position, by elimination of one channel after the other.

    From the guide's covariances, whose row i holds columns i to C, and its covariances with the source, all
    `(B, H, W)`. A covariance with a ridge is positive definite: no pivot has to be looked for.
    """
    rows = [[row[0] + eps, *row[1:]] for row in covariance]
    right = list(with_source)
    channels = range(len(right))
    for k in channels:
        inverse = rows[k][0].reciprocal()
        for i in channels[k + 1:]:
            factor = rows[k][i - k] * inverse
            for j in channels[i:]:
                rows[i][j - i] = torch.addcmul(rows[i][j - i], factor, rows[k][j - k], value=-1)
            right[i] = torch.addcmul(right[i], factor, right[k], value=-1)
    slopes: list[Tensor] = []   # last channel first
    for k in reversed(channels):
        value = right[k]
        for above, slope in zip(reversed(rows[k][1:]), slopes, strict=True):
            value = torch.addcmul(value, above, slope, value=-1)
        slopes.append(value / rows[k][0])
    return torch.stack(slopes[::-1], dim=1)
