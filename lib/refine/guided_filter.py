"""Guided filter (He et al., PAMI 2013) with a guide of several channels and a window of its own for every image."""
import torch
from torch import Tensor


def box_mean(x: Tensor, radius: Tensor) -> Tensor:
    """Mean over windows of (2 r + 1)², cut off at the border: x `(B, C, H, W)`, one radius an image `(B,)` long."""
    return _window_sum(_window_sum(x, radius, 2), radius, 3) / _window_sum(_window_sum(torch.ones_like(x[:, :1]), radius, 2), radius, 3)


def guided_filter(source: Tensor, guide: Tensor, radius: Tensor | int, eps: float) -> Tensor:
    """In every window the output is the linear function of the guide that fits the source best (ridge eps).

    source `(B, 1, H, W)`, guide `(B, C, H, W)`, radius `(B,)` or one number; returns `(B, 1, H, W)` in the source's type.
    """
    p, g = source.double(), guide.double()
    radius = torch.as_tensor(radius, device=source.device).expand(len(p))
    batch, channels, height, width = g.shape
    pairs = torch.triu_indices(channels, channels, device=g.device)
    moments = box_mean(torch.cat([p, g, g * p, g[:, pairs[0]] * g[:, pairs[1]]], dim=1), radius)
    mean_p, mean_g, mean_gp, mean_gg = moments.split([1, channels, channels, pairs.shape[1]], dim=1)
    covariance = torch.empty(batch, channels, channels, height, width, dtype=g.dtype, device=g.device)
    covariance[:, pairs[0], pairs[1]] = covariance[:, pairs[1], pairs[0]] = mean_gg - mean_g[:, pairs[0]] * mean_g[:, pairs[1]]
    ridge = covariance.permute(0, 3, 4, 1, 2) + eps * torch.eye(channels, dtype=g.dtype, device=g.device)
    slope = torch.linalg.solve(ridge, (mean_gp - mean_g * mean_p).permute(0, 2, 3, 1).unsqueeze(-1)).squeeze(-1).permute(0, 3, 1, 2)
    offset = mean_p - (slope * mean_g).sum(1, keepdim=True)
    smooth = box_mean(torch.cat([slope, offset], dim=1), radius)
    return ((smooth[:, :-1] * g).sum(1, keepdim=True) + smooth[:, -1:]).to(source.dtype)


def _window_sum(x: Tensor, radius: Tensor, dim: int) -> Tensor:
    """Running sum over 2 r + 1 entries along `dim`, by differences of the cumulative sum."""
    size = x.shape[dim]
    cumulative = torch.cat([torch.zeros_like(x.narrow(dim, 0, 1)), x.cumsum(dim)], dim)
    position = torch.arange(size, device=x.device)
    high = (position + radius[:, None] + 1).clamp(max=size)
    low = (position - radius[:, None]).clamp(min=0)
    shape = [len(x), 1, 1, 1]
    shape[dim] = size
    pick = [index.view(shape).expand(*x.shape[:dim], size, *x.shape[dim + 1:]) for index in (high, low)]
    return cumulative.gather(dim, pick[0]) - cumulative.gather(dim, pick[1])
