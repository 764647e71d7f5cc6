"""Empirical variograms against all pairs of positions, and fits of the model to them.

Fits are held against scipy, and to fields of known range and of none.
"""
import math

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit
from torch import Tensor

from lib.refine import variogram
from lib.refine.variogram import Variogram, empirical_variogram, fit_gaussian


def literal(field: np.ndarray, max_lag: int) -> tuple[list[float], list[int]]:
    """eq. 1 by a double loop over pairs, each pair once, in the bin of its rounded distance."""
    _, height, width = field.shape
    positions = [(y, x) for y in range(height) for x in range(width)]
    total = np.zeros(max_lag + 1)
    count = np.zeros(max_lag + 1, dtype=int)
    for i, (y, x) in enumerate(positions):
        for v, u in positions[i + 1:]:
            h = round(math.hypot(y - v, x - u))
            if h <= max_lag:
                total[h] += float(((field[:, y, x] - field[:, v, u]) ** 2).sum())
                count[h] += 1
    gamma = total[1:] / (2 * np.maximum(count[1:], 1))
    return gamma.tolist(), count[1:].tolist()


def gaussian_field(images: int, side: int, sigma: float, seed: int) -> Tensor:
    """Covariance exp(-h² / 2 sigma²).

    White noise through a Gaussian of sigma / sqrt(2), on a torus twice as wide, cut out.
    """
    f = np.fft.fftfreq(2 * side)
    transfer = np.exp(-np.pi ** 2 * sigma ** 2 * (f[:, None] ** 2 + f[None] ** 2))
    noise = np.random.default_rng(seed).standard_normal((images, 1, 2 * side, 2 * side))
    return torch.from_numpy(np.fft.ifft2(np.fft.fft2(noise) * transfer).real[..., :side, :side].copy())


def model(h: np.ndarray, c1: float, c2: float, sigma: float) -> np.ndarray:
    return c1 * np.exp(-h ** 2 / (2 * sigma ** 2)) + c2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height, width, max_lag", [(6, 6, 3), (5, 9, 4), (7, 4, 6)])
def test_every_pair_of_positions(channels: int, height: int, width: int, max_lag: int) -> None:
    field = np.random.default_rng(height).standard_normal((2, channels, height, width)) * 3 + 50
    found = empirical_variogram(torch.from_numpy(field), max_lag)
    for i in range(2):
        gamma, pairs = literal(field[i], max_lag)
        np.testing.assert_allclose(found.gamma[i].numpy(), gamma, rtol=1e-9)
        assert found.pairs.tolist() == pairs


def test_a_large_offset_keeps_the_precision() -> None:
    field = 0.01 * np.random.default_rng(1).standard_normal((1, 1, 6, 7)) + 1e6
    found = empirical_variogram(torch.from_numpy(field), 4)
    np.testing.assert_allclose(found.gamma[0].numpy(), literal(field[0], 4)[0], rtol=1e-6)


def test_by_hand() -> None:
    found = empirical_variogram(torch.tensor([[[[0.0, 1.0, 4.0]]]]), 2)
    assert found.pairs.tolist() == [2, 1]
    np.testing.assert_allclose(found.gamma[0].numpy(), [(1 + 9) / 4, 16 / 2], rtol=1e-9)


def test_a_lag_beyond_the_field_has_no_pairs() -> None:
    found = empirical_variogram(torch.rand(1, 1, 3, 3), 6)
    assert found.pairs.tolist() == [20, 14, 2, 0, 0, 0]
    assert found.gamma[0, 3:].abs().max() < 1e-12


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0, 4.0, 6.0])
def test_the_range_of_a_gaussian_random_field(sigma: float) -> None:
    """One field is one draw: the median of twelve lies within 8 %, each of them within 30 %."""
    fit = fit_gaussian(empirical_variogram(gaussian_field(12, 128, sigma, seed=1), 32))
    ratio = fit.sigma / sigma
    assert not fit.failed.any()
    assert abs(float(ratio.median()) - 1) < 0.08
    assert float(ratio.min()) > 0.7 and float(ratio.max()) < 1.3


@pytest.mark.parametrize("sigma", [2.0, 3.0, 5.0])
def test_the_range_within_fifteen_percent_of_the_mean_variogram(sigma: float) -> None:
    """Averaged over fields the variogram nears its model, nugget 0 and sill the field's variance."""
    found = empirical_variogram(gaussian_field(30, 96, sigma, seed=2), 24)
    fit = fit_gaussian(Variogram(found.gamma.mean(0, keepdim=True), found.pairs))
    assert abs(float(fit.sigma / sigma) - 1) < 0.1
    assert abs(float(-fit.c1 / fit.c2) - 1) < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_the_fit_is_scipys(seed: int) -> None:
    """Same weights; sigma within half a step of the grid (4 %), the squared error nearly as small."""
    rng = np.random.default_rng(seed)
    lags, sigma = np.arange(1, 25.0), rng.uniform(2, 8)
    pairs = rng.integers(100, 2000, 24).astype(float)
    gamma = np.stack([model(lags, -c, c + 0.2, sigma) + rng.normal(0, 0.02, 24) for c in (0.8, 1.5)])
    fit = fit_gaussian(Variogram(torch.from_numpy(gamma), torch.from_numpy(pairs)))
    assert not fit.failed.any()
    for i in range(2):
        best, _ = curve_fit(model, lags, gamma[i], p0=(-1, 1, 4), sigma=1 / np.sqrt(pairs))
        assert abs(np.log(float(fit.sigma[i]) / abs(best[2]))) < 0.025
        assert float(fit.c1[i]) == pytest.approx(best[0], rel=0.03)
        assert float(fit.c2[i]) == pytest.approx(best[1], rel=0.03)
        found = [float(values[i]) for values in (fit.c1, fit.c2, fit.sigma)]
        ours, theirs = ((pairs * (gamma[i] - model(lags, *p)) ** 2).sum() for p in (found, best))
        assert theirs <= ours * (1 + 1e-6) < theirs * 1.2


def test_pairs_weigh() -> None:
    """Two curves, each over half of the lags: the fit follows the half with the pairs."""
    lags = torch.arange(1, 25, dtype=torch.float64)
    near = lags < 13
    gamma = torch.where(near, 1 - torch.exp(-lags ** 2 / 18), torch.tensor(0.3, dtype=torch.float64))
    pairs = torch.where(near, 1000.0, 1e-3).double()
    heavy = fit_gaussian(Variogram(gamma[None], pairs))
    assert float(heavy.sigma) == pytest.approx(3, rel=0.03) and float(heavy.c2) == pytest.approx(1, abs=0.01)


def test_an_exact_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a grid that is fine enough to hold it."""
    monkeypatch.setattr(variogram, "STEPS", 2001)
    lags = torch.arange(1, 21, dtype=torch.float64)
    gamma = -2 * torch.exp(-lags ** 2 / (2 * 4.0 ** 2)) + 2.5
    fit = fit_gaussian(Variogram(gamma[None], torch.ones(20, dtype=torch.float64)))
    assert [float(v) for v in fit[:3]] == pytest.approx([4.0, -2.0, 2.5], rel=2e-3)


@pytest.mark.parametrize("gamma", [
    torch.zeros(16),
    torch.full((16,), 0.7),
    torch.linspace(2, 1, 16),
    torch.arange(1, 17) ** 2 / 50.0,
], ids=["zero", "flat", "falling", "still rising"])
def test_the_fall_back(gamma: Tensor) -> None:
    fit = fit_gaussian(Variogram(gamma.double()[None], torch.ones(16, dtype=torch.float64)))
    assert fit.failed.tolist() == [True] and fit.sigma.tolist() == [4.0]


def test_only_rising_curves_are_fitted() -> None:
    """A dip after the first lag fits best with c1 > 0, which is no variogram.

    The best rising curve is taken.
    """
    gamma = torch.tensor([3.0, 1, 1, 1, 1, 1.2, 1.4, 1.5, 1.6, 1.6, 1.6, 1.6])
    pairs = torch.tensor([0.2] + [1.0] * 11).double()
    lags = np.arange(1, 13.0)
    width = 1 / pairs.sqrt().numpy()
    bounds = ((-9, 0, 0.5), (30, 9, 12))
    falling, _ = curve_fit(model, lags, gamma.numpy(), p0=(2, 1, 1), sigma=width, bounds=bounds)
    rising, _ = curve_fit(model, lags, gamma.numpy(), p0=(-1, 2, 8), sigma=width, bounds=bounds)
    residuals = [gamma.numpy() - model(lags, *parameters) for parameters in (falling, rising)]
    errors = [float((pairs.numpy() * residual ** 2).sum()) for residual in residuals]
    fit = fit_gaussian(Variogram(gamma.double()[None], pairs))
    assert falling[0] > 0 > rising[0] and errors[0] < errors[1] and not fit.failed.any()
    assert float(fit.c1) == pytest.approx(rising[0], rel=0.05)
    assert float(fit.sigma) == pytest.approx(abs(rising[2]), rel=0.03)


def test_fields_without_a_range() -> None:
    """A constant image and a ramp, beside one that can be fitted: each row is judged for itself."""
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    batch = torch.cat([torch.full((1, 1, 64, 64), 1234.5), ramp, gaussian_field(1, 64, 3.0, seed=3).float()])
    fit = fit_gaussian(empirical_variogram(batch, 16))
    assert fit.failed.tolist() == [True, True, False]
    assert fit.sigma[:2].tolist() == [4.0, 4.0] and float(fit.sigma[2]) == pytest.approx(3, rel=0.3)


def test_pure_noise_stays_bounded() -> None:
    """Noise has no range: its chance bumps are next to nothing of the sill and count as no fit."""
    noise = torch.randn(60, 1, 56, 56, generator=torch.Generator().manual_seed(0))
    fit = fit_gaussian(empirical_variogram(noise, 14))
    assert fit.failed.all() and (fit.sigma == 3.5).all()
    small = fit_gaussian(empirical_variogram(gaussian_field(60, 56, 3.0, seed=4), 14))
    assert not small.failed.any()
    assert (-small.c1 / small.c2).min() > 0.5   # as a field with a range looks


def test_a_batch_is_its_images() -> None:
    fields = torch.cat([gaussian_field(1, 48, s, seed=5) for s in (2.0, 3.0, 5.0)])
    together = fit_gaussian(empirical_variogram(fields, 12))
    for i in range(3):
        alone = fit_gaussian(empirical_variogram(fields[i:i + 1], 12))
        assert torch.equal(alone.sigma[0], together.sigma[i])
        assert torch.allclose(alone.c1[0], together.c1[i])
