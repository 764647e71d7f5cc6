"""Empirical semi-variograms and the Gaussian model that turns one into a window size (rCAM, section 3.3)."""
from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST = 0.5     # of the sigmas that are tried, up to the largest lag
STEPS = 96         # how many of them
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
    """eq. 1 for a field `(B, C, H, W)`, its channels' squared differences added up.

    Pairs are binned by rounded distance. All pairs of positions at once: the sum of squared differences at a
    displacement is a difference of correlations.
    """
    x = field.double() - field.double().mean((2, 3), keepdim=True)
    height, width = x.shape[2:]
    size = (height + max_lag, width + max_lag)
    ones = torch.ones(1, 1, height, width, dtype=x.dtype, device=x.device)
    f = torch.fft.rfft2(x, s=size)
    f_square = torch.fft.rfft2(x * x, s=size)
    f_one = torch.fft.rfft2(ones, s=size)
    correlation = torch.fft.irfft2((f * f.conj()).sum(1), s=size)
    energy = torch.fft.irfft2((f_square * f_one.conj() + f_one * f_square.conj()).sum(1), s=size)
    count = torch.fft.irfft2((f_one * f_one.conj())[:, 0], s=size).round()
    bins = _distance_bins(size, max_lag, x.device).flatten()
    total = torch.zeros(len(x), max_lag + 2, dtype=x.dtype, device=x.device)
    total.index_add_(1, bins, (energy - 2 * correlation).flatten(1))
    pairs = torch.zeros(max_lag + 2, dtype=x.dtype, device=x.device)
    pairs.index_add_(0, bins, count[0].flatten())
    gamma = total[:, 1:-1].clamp(min=0) / (2 * pairs[1:-1].clamp(min=1))
    return Variogram(gamma, pairs[1:-1] / 2)   # every pair was met in both directions


def fit_gaussian(variogram: Variogram) -> GaussianFit:
    """Least squares, weighted by the number of pairs (Cressie).

    sigma is on a fine geometric grid, c1 and c2 in closed form. Where no rising curve fits (c1 >= 0, a
    constant field, sigma at the end of the grid, or a rise that is next to nothing of the sill, as noise has
    by chance), sigma falls back on a quarter of the largest lag and `failed` says so.
    """
    gamma = variogram.gamma
    weights = variogram.pairs / variogram.pairs.sum()
    lags = torch.arange(1, gamma.shape[1] + 1, dtype=gamma.dtype, device=gamma.device)
    exponents = torch.linspace(0, 1, STEPS, dtype=gamma.dtype, device=gamma.device)
    sigmas = SMALLEST * (len(lags) / SMALLEST) ** exponents
    basis = torch.exp(-lags ** 2 / (2 * sigmas[:, None] ** 2))   # (S, L)
    centred = basis - (basis * weights).sum(1, keepdim=True)
    mean = (gamma * weights).sum(1, keepdim=True)
    from_mean = (gamma - mean)[:, None]
    spread = (centred ** 2 * weights).sum(1).clamp(min=1e-12)
    c1 = (from_mean * centred * weights).sum(2) / spread   # (B, S)
    residual = ((from_mean - c1[..., None] * centred) ** 2 * weights).sum(2)
    best = residual.masked_fill(c1 >= 0, float("inf")).argmin(1)
    chosen = c1.gather(1, best[:, None])[:, 0]
    c2 = mean[:, 0] - chosen * (basis * weights).sum(1)[best]
    at_an_end = (best == 0) | (best == STEPS - 1)
    constant = mean[:, 0] < 1e-12
    failed = (chosen >= 0) | at_an_end | constant | (-chosen < LEAST_RISE * c2)
    return GaussianFit(torch.where(failed, len(lags) / 4, sigmas[best]), chosen, c2, failed)


def _distance_bins(size: tuple[int, int], max_lag: int, device: torch.device) -> Tensor:
    """Bin of every (wrapped) displacement: its rounded length; 0 for none, max_lag + 1 for too far."""
    dy, dx = (torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=device) for n in size)
    distance = torch.sqrt(dy[:, None] ** 2 + dx[None] ** 2).round().long()
    return distance.clamp(max=max_lag + 1)
