"""Empirical semi-variograms and the Gaussian model that turns one into a window size (rCAM, section 3.3)."""
from typing import NamedTuple

import torch
from torch import Tensor

LEAST_RISE = 0.1   # of -c1 / c2; fields with a range have more than 0.5, chance bumps of noise less than 0.1

class Variogram(NamedTuple):
    """gamma `(B, L)` at lags 1..L and the number of pairs behind each `(L,)`."""
    gamma: Tensor
    pairs: Tensor


class GaussianFit(NamedTuple):
    """gamma(h) = c1 exp(-h² / 2 sigma²) + c2, one fit an image `(B,)`; `failed` marks the fall-back."""
    sigma: Tensor
    c1: Tensor
    c2: Tensor
    failed: Tensor


def empirical_variogram(field: Tensor, max_lag: int) -> Variogram:
    """eq. 1 for a field `(B, C, H, W)`, its channels' squared differences added up; pairs are binned by rounded distance.

    All pairs of positions at once: the sum of squared differences at a displacement is a difference of correlations.
    """
    x = field.double() - field.double().mean((2, 3), keepdim=True)
    height, width = x.shape[2:]
    size = (height + max_lag, width + max_lag)
    ones = torch.ones(1, 1, height, width, dtype=x.dtype, device=x.device)
    f, f_square, f_one = (torch.fft.rfft2(t, s=size) for t in (x, x * x, ones))
    correlation = torch.fft.irfft2((f * f.conj()).sum(1), s=size)
    energy = torch.fft.irfft2((f_square * f_one.conj() + f_one * f_square.conj()).sum(1), s=size)
    count = torch.fft.irfft2((f_one * f_one.conj())[:, 0], s=size).round()
    bins = _distance_bins(size, max_lag).to(x.device)
    total = torch.zeros(len(x), max_lag + 2, dtype=x.dtype, device=x.device)
    total.index_add_(1, bins.flatten(), (energy - 2 * correlation).flatten(1))
    pairs = torch.zeros(max_lag + 2, dtype=x.dtype, device=x.device).index_add_(0, bins.flatten(), count[0].flatten())
    gamma = total[:, 1:-1].clamp(min=0) / (2 * pairs[1:-1].clamp(min=1))
    return Variogram(gamma, pairs[1:-1] / 2)   # every pair was met in both directions


def fit_gaussian(variogram: Variogram, smallest: float = 0.5, steps: int = 96) -> GaussianFit:
    """Least squares, weighted by the number of pairs (Cressie): sigma on a fine geometric grid, c1 and c2 in closed form.

    Where no rising curve fits (c1 >= 0, a constant field, sigma at the end of the grid, or a rise that is next to nothing of the
    sill, as noise has by chance), sigma falls back on a quarter of the largest lag and `failed` says so.
    """
    gamma, weights = variogram.gamma, variogram.pairs / variogram.pairs.sum()
    lags = torch.arange(1, gamma.shape[1] + 1, dtype=gamma.dtype, device=gamma.device)
    sigmas = smallest * (len(lags) / smallest) ** torch.linspace(0, 1, steps, dtype=gamma.dtype, device=gamma.device)
    basis = torch.exp(-lags ** 2 / (2 * sigmas[:, None] ** 2))                            # (S, L)
    centred = basis - (basis * weights).sum(1, keepdim=True)
    mean = (gamma * weights).sum(1, keepdim=True)
    c1 = ((gamma - mean)[:, None] * centred * weights).sum(2) / (centred ** 2 * weights).sum(1).clamp(min=1e-12)   # (B, S)
    residual = (((gamma - mean)[:, None] - c1[..., None] * centred) ** 2 * weights).sum(2)
    best = residual.masked_fill(c1 >= 0, float("inf")).argmin(1)
    chosen = c1.gather(1, best[:, None])[:, 0]
    c2 = mean[:, 0] - chosen * (basis * weights).sum(1)[best]
    failed = (chosen >= 0) | (best == 0) | (best == steps - 1) | (mean[:, 0] < 1e-12) | (-chosen < LEAST_RISE * c2)
    return GaussianFit(torch.where(failed, len(lags) / 4, sigmas[best]), chosen, c2, failed)


def _distance_bins(size: tuple[int, int], max_lag: int) -> Tensor:
    """Bin of every (wrapped) displacement: its rounded length; 0 for none, max_lag + 1 for too far."""
    dy, dx = (torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in size)
    distance = torch.sqrt(dy[:, None] ** 2 + dx[None] ** 2).round().long()
    return distance.clamp(max=max_lag + 1)
