"""Guided filter (He et al., PAMI 2013) with a guide of several channels.

Every image has a window of its own.
"""
import torch
from torch import Tensor


def box_mean(x: Tensor, radius: Tensor) -> Tensor:
    """Mean over windows of (2 r + 1)², cut off at the border.

    x `(B, C, H, W)`, one radius an image `(B,)`.
    """
    return _box_sum(x, radius) / _box_sum(torch.ones_like(x[:, :1]), radius)


def guided_filter(source: Tensor, guide: Tensor, radius: Tensor | int, eps: float) -> Tensor:
    """In every window the output is the linear function of the guide that fits the source best (ridge eps).

    source `(B, 1, H, W)`, guide `(B, C, H, W)`, radius `(B,)` or one number; returns `(B, 1, H, W)` in the
    source's type.
    """
    p = source.double()
    g = guide.double()
    if not isinstance(radius, Tensor):
        radius = torch.full((len(p),), radius, device=source.device)
    batch, channels, height, width = g.shape
    first, second = torch.triu_indices(channels, channels, device=g.device)   # pairs of channels
    products = torch.cat([p, g, g * p, g[:, first] * g[:, second]], dim=1)
    parts = [1, channels, channels, len(first)]
    mean_p, mean_g, mean_gp, mean_gg = box_mean(products, radius).split(parts, dim=1)
    covariance = torch.empty(batch, channels, channels, height, width, dtype=g.dtype, device=g.device)
    of_pairs = mean_gg - mean_g[:, first] * mean_g[:, second]
    covariance[:, first, second] = of_pairs
    covariance[:, second, first] = of_pairs
    slope = _ridge_regression(covariance, mean_gp - mean_g * mean_p, eps)
    offset = mean_p - (slope * mean_g).sum(1, keepdim=True)
    smooth = box_mean(torch.cat([slope, offset], dim=1), radius)
    return ((smooth[:, :-1] * g).sum(1, keepdim=True) + smooth[:, -1:]).to(source.dtype)


def _ridge_regression(covariance: Tensor, with_source: Tensor, eps: float) -> Tensor:
    """Slopes `(B, C, H, W)` at every position.

    From the guide's covariances `(B, C, C, H, W)` and its covariances with the source `(B, C, H, W)`.
    """
    identity = torch.eye(covariance.shape[1], dtype=covariance.dtype, device=covariance.device)
    ridge = covariance.permute(0, 3, 4, 1, 2) + eps * identity
    right = with_source.permute(0, 2, 3, 1).unsqueeze(-1)
    slope, _ = torch.linalg.solve_ex(ridge, right)   # which waits for no GPU to say that no ridge is singular
    return slope.squeeze(-1).permute(0, 3, 1, 2)


def _box_sum(x: Tensor, radius: Tensor) -> Tensor:
    return _window_sum(_window_sum(x, radius, 2), radius, 3)


def _window_sum(x: Tensor, radius: Tensor, dim: int) -> Tensor:
    """Running sum over 2 r + 1 entries along `dim`, by differences of the cumulative sum."""
    size = x.shape[dim]
    cumulative = torch.cat([torch.zeros_like(x.narrow(dim, 0, 1)), x.cumsum(dim)], dim)
    position = torch.arange(size, device=x.device)
    high = (position + radius[:, None] + 1).clamp(max=size)
    low = (position - radius[:, None]).clamp(min=0)
    along = [len(x), 1, 1, 1]
    along[dim] = size

    def up_to(index: Tensor) -> Tensor:
        everywhere = index.view(along).expand(*x.shape[:dim], size, *x.shape[dim + 1:])
        return cumulative.gather(dim, everywhere)

    return up_to(high) - up_to(low)
