"""rCAM against section 3 of the paper written out for one image, and on awkward batches and photographs."""
import doctest
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pydensecrf import densecrf

from lib.data.images import read_rgb
from lib.papers.rcam import method
from lib.papers.rcam.method import (
    MAP_SIDE,
    Window,
    crf,
    forward_pass,
    fuse,
    rcam,
    refine,
    shape_guidance,
    to_batch,
    window,
)
from lib.papers.rcam.settings import RcamSettings
from lib.refine.variogram import GaussianFit

ROWS = ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam"]
SIGMAS = 96   # candidates for the width of the variogram


@dataclass
class Literal:
    """One photograph as the paper has it: maps by row, its class, whether the last variogram had no fit."""
    maps: dict[str, np.ndarray]
    label: int
    failed: bool


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
    axes = np.array([axis if axis.max() >= -axis.min() else -axis for axis in axes])
    scores = v @ axes.T
    return (scores / scores[:, 0].std()).reshape(height, width, components)


def literal_variogram(guide: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """eq. 1 over all pairs of positions: gamma at every lag, and how many pairs it is the mean of."""
    y, x = np.mgrid[:guide.shape[0], :guide.shape[1]].reshape(2, -1)
    values = guide.reshape(len(y), -1)
    i, j = np.triu_indices(len(y), 1)
    distance = np.round(np.hypot(y[i] - y[j], x[i] - x[j])).astype(int)
    squared = ((values[i] - values[j]) ** 2).sum(1)
    gamma = np.array([squared[distance == h].mean() / 2 for h in range(1, lags + 1)])
    return gamma, np.array([(distance == h).sum() for h in range(1, lags + 1)])


def literal_sigma(gamma: np.ndarray, pairs: np.ndarray) -> float | None:
    """The σ of c1 exp(-h²/2σ²) + c2 by weighted least squares over a grid; None where it lies at an end."""
    lags = len(gamma)
    root = np.sqrt(pairs)
    best, sigma = np.inf, None
    for n, t in enumerate(np.linspace(0, 1, SIGMAS)):
        candidate = 0.5 * (lags / 0.5) ** t
        bell = np.exp(-np.arange(1, lags + 1) ** 2 / (2 * candidate ** 2))
        basis = np.stack([bell, np.ones(lags)], 1)
        (c1, c2), *_ = np.linalg.lstsq(basis * root[:, None], gamma * root, rcond=None)
        error = ((root * (gamma - basis @ (c1, c2))) ** 2).sum()
        if c1 < 0 and error < best:
            best = error
            sigma = candidate if 0 < n < SIGMAS - 1 else None
    return sigma


def literal_window(guide: np.ndarray, settings: RcamSettings) -> tuple[int, bool]:
    """Section 3.3: the filter's radius from the guide's variogram, and whether no curve fitted."""
    side = min(guide.shape[:2])
    if isinstance(settings.window, int):
        return settings.window, False
    lags = min(max(4, round(settings.max_lag * side)), side - 1)
    sigma = literal_sigma(*literal_variogram(guide[..., :settings.lag_components], lags))
    size = lags / 4 if sigma is None else sigma
    radius = size if settings.window == "radius" else size / 2
    return int(np.clip(round(radius), 1, side // 2)), sigma is None


def literal_filter(source: np.ndarray, guide: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """G^f: a ridge regression in every window cut off at the border, then the mean of the models."""
    height, width, channels = guide.shape

    def around(y: int, x: int) -> tuple[slice, slice]:
        return np.s_[max(y - radius, 0):y + radius + 1, max(x - radius, 0):x + radius + 1]

    models = np.zeros((height, width, channels + 1))
    for y, x in np.ndindex(height, width):
        g = guide[around(y, x)].reshape(-1, channels)
        p = source[around(y, x)].ravel()
        covariance = np.cov(g.T, bias=True).reshape(channels, channels)
        common = ((g - g.mean(0)) * p[:, None]).mean(0)
        slope = np.linalg.solve(covariance + eps * np.eye(channels), common)
        models[y, x] = *slope, p.mean() - slope @ g.mean(0)
    mean = np.zeros_like(models)
    for y, x in np.ndindex(height, width):
        mean[y, x] = models[around(y, x)].mean((0, 1))
    return (mean[..., :-1] * guide).sum(-1) + mean[..., -1]


def literal_crf(photo: Image.Image, heat: np.ndarray, settings: RcamSettings) -> np.ndarray:
    """Section 3.4: rCAM3 and 1 - rCAM3 are the probabilities of foreground and background."""
    constants = settings.crf
    image = np.array(photo.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BILINEAR))
    probability = np.clip(np.stack([1 - heat, heat]), 1e-5, 1)
    field = densecrf.DenseCRF2D(MAP_SIDE, MAP_SIDE, 2)
    field.setUnaryEnergy(-np.log(probability).reshape(2, -1).astype(np.float32))
    field.addPairwiseGaussian(sxy=constants.theta_gamma, compat=constants.spatial)
    field.addPairwiseBilateral(sxy=constants.theta_alpha, srgb=constants.theta_beta, rgbim=image,
                               compat=constants.bilateral)
    return np.array(field.inference(constants.iterations))[1].reshape(MAP_SIDE, MAP_SIDE)


def literal_layers(network, photo: Image.Image, side: int) -> dict[str, np.ndarray]:
    """The output of every layer for one photograph, squeezed to a square."""
    rgb = np.array(photo.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 255
    with torch.no_grad():
        outputs = network.maps(torch.from_numpy(rgb).float()[None])
    return {name: values[0].numpy() for name, values in outputs.items()}


def literal_strongest(maps: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> int:
    """The class that wins where every class counts with its strongest position."""
    positions = maps.reshape(len(maps), -1).T
    strongest = []
    for k, row in enumerate(weight):
        strongest.append(max(float(row @ position) for position in positions) + bias[k])
    return int(np.argmax(strongest))


def literal_rcam(network, photo: Image.Image, settings: RcamSettings) -> Literal:
    """Every row of table 1 for one photograph."""
    weight, bias = (tensor.detach().numpy().astype(np.float64) for tensor in network.classifier)
    maps, probabilities = [], []
    guides, windows = [], []
    for side in settings.sizes:
        layers = literal_layers(network, photo, side)
        maps.append(layers["last"].astype(np.float64))
        probabilities.append(np.exp(layers["logits"]) / np.exp(layers["logits"]).sum())
        responses = [layers[name] for name in network.responses[settings.guide_stride]]
        guides.append(literal_shape(responses, settings.components))
        windows.append(literal_window(guides[-1], settings))
    label = int(probabilities[0].argmax())                                  # id_x1, for every scale
    cams = [np.tensordot(weight[label], features, 1) for features in maps]
    refined = []
    for k, coarse in enumerate(cams):
        for guide, (radius, _) in zip(guides[k:], windows[k:], strict=True):
            enlarged = enlarge(coarse, *guide.shape[:2])
            coarse = literal_filter(enlarged, guide, radius, settings.eps)  # eq. 2-4
        refined.append(coarse)
    fusion = np.zeros((MAP_SIDE, MAP_SIDE))
    for values, probability in zip(refined, probabilities, strict=True):
        fusion += enlarge(values, MAP_SIDE, MAP_SIDE) * probability[label]  # eq. 5
    strongest = literal_strongest(maps[0], weight, bias)
    rows = {"g_weak": np.tensordot(weight[strongest], maps[0], 1)}
    rows |= {f"cam{k}": values for k, values in enumerate(cams, start=1)}
    rows |= {f"rcam{k}": values for k, values in enumerate(refined, start=1)}
    rows["rcam3"] = fusion
    rows = {name: stretch(enlarge(values, MAP_SIDE, MAP_SIDE)) for name, values in rows.items()}
    rows["rcam"] = literal_crf(photo, rows["rcam3"], settings)
    _, failed = windows[-1]
    return Literal(rows, label, failed)


CHANGES = {
    "as in the paper": {},
    "diameter, three components": {"window": "diameter", "lag_components": 3},
    "fixed window": {"window": 3},
    "one scale": {"sizes": (64,)},
    "finer guide": {"sizes": (64, 96), "guide_stride": 4, "components": 2},
    "two odd scales": {"sizes": (96, 64)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_whole_method(network, photos, settings, change: str) -> None:
    changed = replace(settings, **CHANGES[change])
    ours = rcam(network, photos, changed)
    of_one_scale = ["g_weak", "cam1", "rcam1", "rcam3", "rcam"]
    assert list(ours.maps) == (ROWS if len(changed.sizes) > 1 else of_one_scale)
    for i, photo in enumerate(photos):
        expected = literal_rcam(network, photo, changed)
        assert (int(ours.classes[i]), bool(ours.failed[i])) == (expected.label, expected.failed)
        for row, values in expected.maps.items():
            assert ours.maps[row].shape == (len(photos), 1, MAP_SIDE, MAP_SIDE)
            tolerance = 5e-3 if row == "rcam" else 2e-4
            assert np.abs(ours.maps[row][i, 0].numpy() - values).max() < tolerance, (i, row)


def test_three_scales(network, photos, settings) -> None:
    """CAM_j goes through the guides of its own and of every larger scale.

    The third refined map shares its name with the fusion, which is the one that is reported.
    """
    three = replace(settings, sizes=(64, 96, 128))
    maps = rcam(network, photos[:2], three).maps
    assert list(maps) == ["g_weak", "cam1", "cam2", "cam3", "rcam1", "rcam2", "rcam3", "rcam"]
    for i, photo in enumerate(photos[:2]):
        expected = literal_rcam(network, photo, three).maps
        for row in ("cam3", "rcam1", "rcam2", "rcam3"):
            assert np.abs(maps[row][i, 0].numpy() - expected[row]).max() < 2e-4, (i, row)


def test_the_photographs_put_the_method_to_the_test(network, photos, settings) -> None:
    """Different classes, scales that disagree on the class, max pooling that disagrees, different windows."""
    scales = [forward_pass(network, photos, side, settings) for side in settings.sizes]
    first, second = (scale.probability.argmax(1) for scale in scales)
    assert len(set(first.tolist())) > 1
    assert (first != second).any()
    maps = rcam(network, photos, settings).maps
    assert ((maps["g_weak"] - maps["cam1"]).abs().amax((1, 2, 3)) > 0.1).any()
    assert len(set(window(scales[1].guide, settings).radius.tolist())) > 1


def test_a_row_of_a_batch_is_the_image_alone(network, photos, settings) -> None:
    together = rcam(network, photos, settings)
    for i, photo in enumerate(photos):
        alone = rcam(network, [photo], settings)
        assert alone.classes[0] == together.classes[i]
        for row in ROWS:
            tolerance = 5e-3 if row == "rcam" else 1e-4
            assert (alone.maps[row][0] - together.maps[row][i]).abs().max() < tolerance, row


def test_twice_the_same(network, photos, settings) -> None:
    first, second = (rcam(network, photos, settings).maps for _ in range(2))
    assert all(torch.equal(first[row], second[row]) for row in ROWS)


def test_maps_reach_from_zero_to_one(network, photos, settings) -> None:
    for row, maps in rcam(network, photos, settings).maps.items():
        assert maps.dtype == torch.float32
        assert maps.amin() >= 0 and maps.amax() <= 1
        if row != "rcam":
            assert (maps.amin((1, 2, 3)) == 0).all()
            assert (maps.amax((1, 2, 3)) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("mode, size", [
    ("L", (90, 70)),
    ("RGB", (1, 1)),
    ("RGB", (6000, 20)),
    ("1", (33, 50)),
    ("RGBA", (40, 40)),
    ("L", (1, 300)),
])
def test_any_photograph(network, settings, tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 4)).astype(np.uint8)
    Image.fromarray(noise, "RGBA").convert(mode).save(tmp_path / "photo.png")
    photo = read_rgb(tmp_path / "photo.png")
    assert photo.mode == "RGB" and photo.size == size
    maps = rcam(network, [photo], settings).maps
    for row in ROWS:
        assert maps[row].shape == (1, 1, MAP_SIDE, MAP_SIDE), row
        assert torch.isfinite(maps[row]).all(), row


def test_batches_of_pixels() -> None:
    """Squeezed to a square, channels first, 0..1, red first."""
    photo = Image.fromarray(np.uint8([[[255, 0, 51]] * 4] * 2))
    batch = to_batch([photo, Image.new("RGB", (3, 9), (0, 102, 0))], 64)
    assert batch.shape == (2, 3, 64, 64)
    assert batch.dtype == torch.float32
    assert torch.allclose(batch[0].mean((1, 2)), torch.tensor([1, 0, 0.2]))
    assert torch.allclose(batch[1].mean((1, 2)), torch.tensor([0, 0.4, 0]))


def test_fusion_by_hand() -> None:
    """eq. 5 on flat maps; both probabilities are those of the given class."""
    refined = [torch.full((2, 1, 4, 4), 2.0), torch.full((2, 1, 8, 8), 10.0)]
    probabilities = [torch.tensor([[0.1, 0.9], [0.7, 0.3]]), torch.tensor([[0.6, 0.4], [0.2, 0.8]])]
    fusion = fuse(refined, probabilities, torch.tensor([1, 0]))
    assert fusion.shape == (2, 1, MAP_SIDE, MAP_SIDE)
    assert fusion[:, 0, 5, 5].tolist() == pytest.approx([2 * 0.9 + 10 * 0.4, 2 * 0.7 + 10 * 0.2])


def test_windows_are_bounded(settings) -> None:
    """At least one cell, at most half the guide; a fixed one as it is, never counted as a failure."""
    smooth = torch.arange(16.0).expand(1, 3, 16, 16)
    wide = window(smooth, replace(settings, max_lag=1.0))
    assert wide.failed.tolist() == [True]
    assert wide.radius.tolist() == [4]   # 15 lags / 4, rounded
    rough = torch.ones(1, 3, 16, 16)
    rough[..., ::2, ::2] = -1
    assert window(rough, replace(settings, window="diameter", max_lag=0.3)).radius.tolist() == [1]
    fixed = window(torch.cat([smooth, rough]), replace(settings, window=5))
    assert fixed.radius.tolist() == [5, 5]
    assert fixed.failed.tolist() == [False, False]
    small = smooth[..., :4, :4]
    assert window(small, replace(settings, max_lag=1.0)).radius.tolist() == [1]   # 3 lags at most


def test_a_sigma_out_of_reach_is_cut(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes half the guide at most.

    The largest lag is a share of the guide's smaller side, at least 4 and never the side itself.
    """
    lags = []
    none_failed = torch.zeros(4, dtype=torch.bool)
    sigma = torch.tensor([0.2, 2.4, 2.6, 99.0])
    monkeypatch.setattr(method, "empirical_variogram", lambda _guide, largest: lags.append(largest))
    monkeypatch.setattr(method, "fit_gaussian", lambda _: GaussianFit(sigma, sigma, sigma, none_failed))
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
    windows = [Window(torch.tensor([radius]), torch.tensor([False])) for radius in (1, 40)]
    guided = shape_guidance(coarse, guides, windows, 0.01)
    assert guided.shape == (1, 1, 16, 16)
    assert torch.allclose(guided, coarse.mean().expand_as(guided), atol=1e-2)
    assert guided.std() < 1e-5   # the last window is everything
    assert shape_guidance(coarse, guides[:1], windows[:1], 0.01).std() > 0.01


def test_the_class_is_that_of_the_first_scale(network, photos, settings) -> None:
    scales = [forward_pass(network, photos, side, settings) for side in (128, 64)]
    ours = refine(scales, network.classifier[0], settings)
    assert torch.equal(ours.classes, scales[0].probability.argmax(1))
    first, last = (window(scale.guide, settings).radius for scale in scales)
    assert torch.equal(ours.window.radius, last)   # the windows that are reported
    assert not torch.equal(first, last)
    assert [tuple(maps.shape[2:]) for maps in ours.refined] == [(8, 8), (8, 8)]
    assert ours.fusion.shape == (4, 1, MAP_SIDE, MAP_SIDE)


def test_the_crf_sees_its_own_photograph(photos, settings) -> None:
    maps = torch.rand(2, 1, MAP_SIDE, MAP_SIDE, generator=torch.Generator().manual_seed(0))
    marginals = crf(photos[:2], maps, settings.crf)
    for i in range(2):
        expected = literal_crf(photos[i], maps[i, 0].numpy(), settings)
        assert np.abs(marginals[i, 0].numpy() - expected).max() < 1e-4
    swapped = crf([photos[1], photos[0]], maps, settings.crf)
    assert (swapped - marginals).abs().max() > 0.05


def test_the_example_of_the_front_page() -> None:
    """The doctest of `rcam` on pretrained weights is what README shows."""
    example, = doctest.DocTestFinder(recurse=False).find(rcam, "rcam", globs=vars(method).copy())
    assert len(example.examples) >= 5
    assert doctest.DocTestRunner().run(example).failed == 0
