"""rCAM against section 3 of the paper written out for one image, and on awkward batches and photographs."""
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydensecrf.densecrf as densecrf
import pytest
import torch
from PIL import Image

from lib.data.images import read_rgb
from lib.papers.rcam import method as module
from lib.papers.rcam.method import (
    SIDE,
    Window,
    crf,
    fuse,
    look,
    rcam,
    refine,
    shape_guidance,
    to_batch,
    window,
)
from lib.papers.rcam.settings import RcamSettings
from lib.refine.variogram import GaussianFit

ROWS = ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam"]


def enlarge(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """U: bilinear, by another library."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)


def stretch(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


def literal_shape(maps: list[np.ndarray], components: int) -> np.ndarray:
    """Section 3.2: PCA of the vectors v_k over the positions, (H, W, components)."""
    height, width = maps[0].shape[1:]
    v = np.concatenate([m.reshape(len(m), -1) for m in maps]).T.astype(np.float64)      # (N, D)
    v = v - v.mean(0)
    axes = np.linalg.svd(v, full_matrices=False)[2][:components]
    axes = np.array([a if a.max() >= -a.min() else -a for a in axes])
    scores = v @ axes.T
    return (scores / scores[:, 0].std()).reshape(height, width, components)


def literal_window(guide: np.ndarray, s: RcamSettings) -> tuple[int, bool]:
    """Section 3.3: eq. 1 over all pairs, then c1 exp(-h²/2σ²) + c2 by weighted least squares for every σ of the grid."""
    side = min(guide.shape[:2])
    if isinstance(s.window, int):
        return s.window, False
    lags = min(max(4, round(s.max_lag * side)), side - 1)
    y, x = np.mgrid[:guide.shape[0], :guide.shape[1]].reshape(2, -1)
    values = guide[..., :s.lag_components].reshape(len(y), -1)
    i, j = np.triu_indices(len(y), 1)
    distance = np.round(np.hypot(y[i] - y[j], x[i] - x[j])).astype(int)
    squared = ((values[i] - values[j]) ** 2).sum(1)
    gamma = np.array([squared[distance == h].mean() / 2 for h in range(1, lags + 1)])
    root = np.sqrt([(distance == h).sum() for h in range(1, lags + 1)])
    best, sigma, grid = np.inf, None, [0.5 * (lags / 0.5) ** t for t in np.linspace(0, 1, 96)]
    for n, candidate in enumerate(grid):
        basis = np.stack([np.exp(-np.arange(1, lags + 1) ** 2 / (2 * candidate ** 2)), np.ones(lags)], 1)
        (c1, c2), *_ = np.linalg.lstsq(basis * root[:, None], gamma * root, rcond=None)
        error = ((root * (gamma - basis @ (c1, c2))) ** 2).sum()
        if c1 < 0 and error < best:
            best, sigma = error, candidate if 0 < n < 95 else None
    size = (lags / 4 if sigma is None else sigma) / (1 if s.window == "radius" else 2)
    return int(np.clip(round(size), 1, side // 2)), sigma is None


def literal_filter(source: np.ndarray, guide: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """G^f: a ridge regression in every window cut off at the border, then the mean of the models."""
    height, width, channels = guide.shape
    models = np.zeros((height, width, channels + 1))
    around = [[np.s_[max(y - radius, 0):y + radius + 1, max(x - radius, 0):x + radius + 1] for x in range(width)] for y in range(height)]
    for y in range(height):
        for x in range(width):
            g, p = guide[around[y][x]].reshape(-1, channels), source[around[y][x]].ravel()
            covariance = np.cov(g.T, bias=True).reshape(channels, channels)
            slope = np.linalg.solve(covariance + eps * np.eye(channels), ((g - g.mean(0)) * p[:, None]).mean(0))
            models[y, x] = *slope, p.mean() - slope @ g.mean(0)
    mean = np.array([[models[around[y][x]].mean((0, 1)) for x in range(width)] for y in range(height)])
    return (mean[..., :-1] * guide).sum(-1) + mean[..., -1]


def literal_crf(photo: Image.Image, heat: np.ndarray, s: RcamSettings) -> np.ndarray:
    """Section 3.4: rCAM3 and 1 - rCAM3 are the probabilities of foreground and background."""
    image = np.array(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    field = densecrf.DenseCRF2D(SIDE, SIDE, 2)
    field.setUnaryEnergy(-np.log(np.clip(np.stack([1 - heat, heat]), 1e-5, 1)).reshape(2, -1).astype(np.float32))
    field.addPairwiseGaussian(sxy=s.crf.theta_gamma, compat=s.crf.spatial)
    field.addPairwiseBilateral(sxy=s.crf.theta_alpha, srgb=s.crf.theta_beta, rgbim=image, compat=s.crf.bilateral)
    return np.array(field.inference(s.crf.iterations))[1].reshape(SIDE, SIDE)


def literal_rcam(network, photo: Image.Image, s: RcamSettings) -> tuple[dict[str, np.ndarray], int, bool]:
    """(maps, class, whether the last variogram failed) of one photograph."""
    weight, bias = (t.detach().numpy().astype(np.float64) for t in network.classifier)
    maps, probabilities, guides, windows = [], [], [], []
    for side in s.sizes:
        rgb = np.array(photo.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 255
        with torch.no_grad():
            seen = {k: v[0].numpy() for k, v in network.maps(torch.from_numpy(rgb).float()[None]).items()}
        maps.append(seen["last"].astype(np.float64))
        probabilities.append(np.exp(seen["logits"]) / np.exp(seen["logits"]).sum())
        guides.append(literal_shape([seen[n] for n in network.responses[s.guide_stride]], s.components))
        windows.append(literal_window(guides[-1], s))
    j = int(probabilities[0].argmax())                                              # id_x1, for every scale
    cams = [sum(weight[j, i] * c[i] for i in range(len(c))) for c in maps]
    refined = []
    for k, coarse in enumerate(cams):
        for guide, (radius, _) in zip(guides[k:], windows[k:]):
            coarse = literal_filter(enlarge(coarse, *guide.shape[:2]), guide, radius, s.eps)   # eq. 2-4
        refined.append(coarse)
    fusion = sum(enlarge(r, SIDE, SIDE) * p[j] for r, p in zip(refined, probabilities))        # eq. 5
    strongest = int(np.argmax([max(float(weight[k] @ v) for v in maps[0].reshape(len(maps[0]), -1).T) + bias[k] for k in range(len(weight))]))
    rows = {"g_weak": np.tensordot(weight[strongest], maps[0], 1)}
    rows |= {f"cam{k + 1}": c for k, c in enumerate(cams)} | {f"rcam{k + 1}": r for k, r in enumerate(refined)} | {"rcam3": fusion}
    rows = {name: stretch(enlarge(values, SIDE, SIDE)) for name, values in rows.items()}
    return rows | {"rcam": literal_crf(photo, rows["rcam3"], s)}, j, windows[-1][1]


CHANGES = {"as in the paper": {}, "diameter, three components": {"window": "diameter", "lag_components": 3}, "fixed window": {"window": 3},
           "one scale": {"sizes": (64,)}, "finer guide": {"sizes": (64, 96), "guide_stride": 4, "components": 2},
           "two odd scales": {"sizes": (96, 64)}}


@pytest.mark.parametrize("change", CHANGES)
def test_the_whole_method(network, photos, settings, change: str) -> None:
    s = replace(settings, **CHANGES[change])
    found = rcam(network, photos, s)
    assert list(found.maps) == (ROWS if len(s.sizes) > 1 else ["g_weak", "cam1", "rcam1", "rcam3", "rcam"])
    for i, photo in enumerate(photos):
        expected, label, failed = literal_rcam(network, photo, s)
        assert (int(found.classes[i]), bool(found.failed[i])) == (label, failed)
        for row, values in expected.items():
            assert found.maps[row].shape == (len(photos), 1, SIDE, SIDE)
            assert np.abs(found.maps[row][i, 0].numpy() - values).max() < (5e-3 if row == "rcam" else 2e-4), (i, row)


def test_three_scales(network, photos, settings) -> None:
    """CAM_j goes through the guides of its own and of every larger scale; the third refined map shares its name with the fusion,
    which is the one that is reported."""
    s = replace(settings, sizes=(64, 96, 128))
    found = rcam(network, photos[:2], s)
    assert list(found.maps) == ["g_weak", "cam1", "cam2", "cam3", "rcam1", "rcam2", "rcam3", "rcam"]
    for i, photo in enumerate(photos[:2]):
        expected, _, _ = literal_rcam(network, photo, s)
        for row in ("cam3", "rcam1", "rcam2", "rcam3"):
            assert np.abs(found.maps[row][i, 0].numpy() - expected[row]).max() < 2e-4, (i, row)


def test_the_photographs_put_the_method_to_the_test(network, photos, settings) -> None:
    """Different classes, scales that disagree on the class, max pooling that disagrees with the mean, different windows."""
    scales = [look(network, photos, side, settings) for side in settings.sizes]
    tops = [s.probability.argmax(1) for s in scales]
    assert len(set(tops[0].tolist())) > 1 and (tops[0] != tops[1]).any()
    found = rcam(network, photos, settings).maps
    assert ((found["g_weak"] - found["cam1"]).abs().amax((1, 2, 3)) > 0.1).any()
    assert len(set(window(scales[1].guide, settings).radius.tolist())) > 1


def test_a_row_of_a_batch_is_the_image_alone(network, photos, settings) -> None:
    together = rcam(network, photos, settings)
    for i, photo in enumerate(photos):
        alone = rcam(network, [photo], settings)
        assert alone.classes[0] == together.classes[i]
        for row in ROWS:
            assert (alone.maps[row][0] - together.maps[row][i]).abs().max() < (5e-3 if row == "rcam" else 1e-4), row


def test_twice_the_same(network, photos, settings) -> None:
    first, second = (rcam(network, photos, settings).maps for _ in range(2))
    assert all(torch.equal(first[row], second[row]) for row in ROWS)


def test_maps_reach_from_zero_to_one(network, photos, settings) -> None:
    for row, maps in rcam(network, photos, settings).maps.items():
        assert maps.dtype == torch.float32 and maps.amin() >= 0 and maps.amax() <= 1
        if row != "rcam":
            assert (maps.amin((1, 2, 3)) == 0).all() and (maps.amax((1, 2, 3)) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("mode, size", [("L", (90, 70)), ("RGB", (1, 1)), ("RGB", (6000, 20)), ("1", (33, 50)), ("RGBA", (40, 40)), ("L", (1, 300))])
def test_any_photograph(network, settings, tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4)).astype(np.uint8), "RGBA").convert(mode).save(tmp_path / "photo.png")
    photo = read_rgb(tmp_path / "photo.png")
    assert photo.mode == "RGB" and photo.size == size
    found = rcam(network, [photo], settings)
    for row in ROWS:
        assert found.maps[row].shape == (1, 1, SIDE, SIDE) and torch.isfinite(found.maps[row]).all(), row


def test_batches_of_pixels() -> None:
    """Squeezed to a square, channels first, 0..1, red first."""
    photo = Image.fromarray(np.uint8([[[255, 0, 51]] * 4] * 2))
    found = to_batch([photo, Image.new("RGB", (3, 9), (0, 102, 0))], 64)
    assert found.shape == (2, 3, 64, 64) and found.dtype == torch.float32
    assert torch.allclose(found[0].mean((1, 2)), torch.tensor([1, 0, 0.2])) and torch.allclose(found[1].mean((1, 2)), torch.tensor([0, 0.4, 0]))


def test_fusion_by_hand() -> None:
    """eq. 5 on flat maps; both probabilities are those of the given class."""
    refined = [torch.full((2, 1, 4, 4), 2.0), torch.full((2, 1, 8, 8), 10.0)]
    probabilities = [torch.tensor([[0.1, 0.9], [0.7, 0.3]]), torch.tensor([[0.6, 0.4], [0.2, 0.8]])]
    found = fuse(refined, probabilities, torch.tensor([1, 0]))
    assert found.shape == (2, 1, SIDE, SIDE)
    assert found[:, 0, 5, 5].tolist() == pytest.approx([2 * 0.9 + 10 * 0.4, 2 * 0.7 + 10 * 0.2])


def test_windows_are_bounded(settings) -> None:
    """At least one cell, at most half the guide; a fixed one as it is, never counted as a failure."""
    smooth = torch.arange(16.0).expand(1, 3, 16, 16)
    wide = window(smooth, replace(settings, max_lag=1.0))
    assert wide.failed.tolist() == [True] and wide.radius.tolist() == [4]   # 15 lags / 4, rounded
    rough = torch.ones(1, 3, 16, 16)
    rough[..., ::2, ::2] = -1
    assert window(rough, replace(settings, window="diameter", max_lag=0.3)).radius.tolist() == [1]
    fixed = window(torch.cat([smooth, rough]), replace(settings, window=5))
    assert fixed.radius.tolist() == [5, 5] and fixed.failed.tolist() == [False, False]
    assert window(smooth[..., :4, :4], replace(settings, max_lag=1.0)).radius.tolist() == [1]   # 3 lags at most


def test_a_sigma_out_of_reach_is_cut(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the largest lag is a share of the guide's smaller side, at least 4 and never the side itself."""
    lags, none = [], torch.zeros(4, dtype=torch.bool)
    sigma = torch.tensor([0.2, 2.4, 2.6, 99.0])
    monkeypatch.setattr(module, "empirical_variogram", lambda _guide, largest: lags.append(largest))
    monkeypatch.setattr(module, "fit_gaussian", lambda _: GaussianFit(sigma, sigma, sigma, none))
    guide = torch.zeros(4, 3, 12, 20)
    assert window(guide, settings).radius.tolist() == [1, 2, 3, 6]
    assert window(guide, replace(settings, window="diameter")).radius.tolist() == [1, 1, 1, 6]
    for share in (0.1, 0.5, 0.75, 1.0):
        window(guide, replace(settings, max_lag=share))
    assert lags == [6, 6, 4, 6, 9, 11]


def test_guidance_takes_the_guides_in_turn() -> None:
    """With constant guides only box means are left; the order of sizes shows in the result's size."""
    coarse = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    guides = [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 16, 16)]
    windows = [Window(torch.tensor([1]), torch.tensor([False])), Window(torch.tensor([40]), torch.tensor([False]))]
    found = shape_guidance(coarse, guides, windows, 0.01)
    assert found.shape == (1, 1, 16, 16)
    assert torch.allclose(found, coarse.mean().expand_as(found), atol=1e-2) and found.std() < 1e-5   # the last window is everything
    assert shape_guidance(coarse, guides[:1], windows[:1], 0.01).std() > 0.01


def test_the_class_is_that_of_the_first_scale(network, photos, settings) -> None:
    scales = [look(network, photos, side, settings) for side in (128, 64)]
    found = refine(scales, network.classifier[0], settings)
    assert torch.equal(found.classes, scales[0].probability.argmax(1))
    first, last = (window(scale.guide, settings).radius for scale in scales)
    assert torch.equal(found.window.radius, last) and not torch.equal(first, last)   # the windows that are reported
    assert [tuple(r.shape[2:]) for r in found.refined] == [(8, 8), (8, 8)] and found.fusion.shape == (4, 1, SIDE, SIDE)


def test_the_crf_sees_its_own_photograph(photos, settings) -> None:
    maps = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    found = crf(photos[:2], maps, settings.crf)
    for i in range(2):
        assert np.abs(found[i, 0].numpy() - literal_crf(photos[i], maps[i, 0].numpy(), settings)).max() < 1e-4
    assert (crf([photos[1], photos[0]], maps, settings.crf) - found).abs().max() > 0.05
