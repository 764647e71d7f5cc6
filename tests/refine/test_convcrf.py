"""ConvCRF against a truncated mean field written out pixel by pixel, and against the exact fully connected one."""
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.base.strict import build
from lib.refine.convcrf import ConvCrfSettings, conv_crf, refine_instances
from lib.refine.crf import LEAST, refine_foreground
from lib.refine.settings import CrfSettings

USUAL = ConvCrfSettings(filter_size=3, theta_alpha=5, theta_beta=20, theta_gamma=2, bilateral=1, spatial=0.5, iterations=3)


def literal(image: np.ndarray, probability: np.ndarray, s: ConvCrfSettings) -> np.ndarray:
    """Image `(H, W, 3)` in grey levels, probability `(K, H, W)`. Per iteration message passing, weighting, Potts, unary, softmax; no blur."""
    classes, height, width = probability.shape
    reach = s.filter_size // 2
    pixels = [(y, x) for y in range(height) for x in range(width)]

    def kernel(a: tuple[int, int], b: tuple[int, int]) -> tuple[float, float]:
        if max(abs(a[0] - b[0]), abs(a[1] - b[1])) > reach:
            return 0.0, 0.0
        apart = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
        colour = ((image[a] - image[b]) ** 2).sum()
        return (np.exp(-apart / (2 * s.theta_alpha ** 2) - colour / (2 * s.theta_beta ** 2)), np.exp(-apart / (2 * s.theta_gamma ** 2)))

    norms = {a: [np.sqrt(sum(kernel(a, b)[m] for b in pixels)) for m in (0, 1)] for a in pixels}
    unary = -np.log(np.clip(probability, LEAST, 1))
    q = np.exp(-unary) / np.exp(-unary).sum(0)
    for _ in range(s.iterations):
        new = np.zeros_like(q)
        for a in pixels:
            message = np.zeros(classes)
            for b in pixels:
                for m, weight in enumerate((s.bilateral, s.spatial)):
                    message += weight * kernel(a, b)[m] / norms[a][m] / norms[b][m] * q[:, b[0], b[1]]
            penalty = [sum(message[other] for other in range(classes) if other != own) for own in range(classes)]   # Potts
            scores = np.exp(-unary[:, a[0], a[1]] - penalty)
            new[:, a[0], a[1]] = scores / scores.sum()
        q = new
    return q


def scene(seed: int, height: int = 5, width: int = 7, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Dark on the left, light on the right, noisy; random probabilities."""
    rng = np.random.default_rng(seed)
    image = np.where(np.arange(width)[None, :, None] < width // 2, 60, 150) + rng.normal(0, 15, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), rng.dirichlet(np.ones(classes), (height, width)).transpose(2, 0, 1)


def ours(image: np.ndarray, probability: np.ndarray, settings: ConvCrfSettings) -> np.ndarray:
    return conv_crf(torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(probability)[None], settings)[0].numpy()


CASES = {"3": USUAL, "7": replace(USUAL, filter_size=7), "1": replace(USUAL, filter_size=1), "all": replace(USUAL, filter_size=31),
         "bilateral": replace(USUAL, spatial=0), "spatial": replace(USUAL, bilateral=0, filter_size=5),
         "strong": replace(USUAL, bilateral=6, spatial=4),
         "one iteration": replace(USUAL, iterations=1), "narrow": replace(USUAL, theta_alpha=1, theta_beta=5, theta_gamma=0.5)}


@pytest.mark.parametrize("height, width", [(5, 7), (7, 2), (1, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("case", CASES)
def test_as_a_truncated_mean_field_pixel_by_pixel(case: str, height: int, width: int) -> None:
    image, probability = scene(height, height, width)
    found = ours(image, probability, CASES[case])
    np.testing.assert_allclose(found, literal(image.astype(float), probability, CASES[case]), atol=1e-10)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-12)


@pytest.mark.parametrize("change", [{"filter_size": 5}, {"theta_alpha": 1.0}, {"theta_beta": 100.0}, {"theta_gamma": 0.5}, {"bilateral": 2.0},
                                    {"spatial": 1.5}, {"iterations": 1}, {"blur": 2}])
def test_every_setting_matters(change: dict[str, float]) -> None:
    image, probability = scene(0)
    assert np.abs(ours(image, probability, USUAL) - ours(image, probability, replace(USUAL, **change))).max() > 1e-3


def test_a_window_over_the_whole_image_is_the_fully_connected_crf() -> None:
    """Against all pairs in one matrix, without any window; and near the dense CRF's lattice with the same settings."""
    image, probability = scene(1, 6, 9, 2)
    s = replace(USUAL, filter_size=17, iterations=5)
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(9), indexing="ij"), -1).reshape(-1, 2)
    apart = ((grid[:, None] - grid[None]) ** 2).sum(-1)
    colour = image.reshape(-1, 3).astype(float)
    unlike = ((colour[:, None] - colour[None]) ** 2).sum(-1)
    total = np.zeros((54, 54))
    for weight, k in ((s.bilateral, np.exp(-apart / (2 * s.theta_alpha ** 2) - unlike / (2 * s.theta_beta ** 2))),
                      (s.spatial, np.exp(-apart / (2 * s.theta_gamma ** 2)))):
        total += weight * k / np.sqrt(np.outer(k.sum(1), k.sum(1)))
    log_unary = np.log(np.clip(probability, LEAST, 1)).reshape(2, -1)
    q = np.exp(log_unary)
    for _ in range(5):
        q = np.exp(log_unary + q @ total)
        q /= q.sum(0)
    found = ours(image, probability, s)
    np.testing.assert_allclose(found, q.reshape(2, 6, 9), atol=1e-10)
    dense = CrfSettings(**{key: value for key, value in asdict(s).items() if key not in ("filter_size", "blur")})
    assert np.abs(found[1] - refine_foreground(image, probability[1].astype(np.float32), dense)).max() < 0.02


def literal_blur(image: np.ndarray, probability: np.ndarray, s: ConvCrfSettings) -> np.ndarray:
    """Means over blocks (cut off at the border) of colours, positions and marginals, messages between blocks, bilinearly back."""
    classes, height, width = probability.shape
    block = s.blur
    cells = [(i, j) for i in range(-(-height // block)) for j in range(-(-width // block))]
    inside = [(slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block)) for i, j in cells]
    where = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    colour, place = (np.array([x[:, r, c].mean((1, 2)) for r, c in inside]) for x in (image.transpose(2, 0, 1).astype(float), where))
    near = np.array([[max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= s.filter_size // 2 for b in cells] for a in cells])
    apart, unlike = (((x[:, None] - x[None]) ** 2).sum(-1) for x in (place, colour))
    total = np.zeros(near.shape)
    for weight, k in ((s.bilateral, near * np.exp(-apart / (2 * s.theta_alpha ** 2) - unlike / (2 * s.theta_beta ** 2))),
                      (s.spatial, near * np.exp(-apart / (2 * s.theta_gamma ** 2)))):
        total += weight * k / np.sqrt(np.outer(k.sum(1), k.sum(1)))
    back = np.zeros((height * width, len(cells)))
    for n, (y, x) in enumerate((y, x) for y in range(height) for x in range(width)):
        for share, (i, j) in corners((y + 0.5) / block - 0.5, (x + 0.5) / block - 0.5, *cells[-1]):
            back[n, cells.index((i, j))] += share
    log_unary = np.log(np.clip(probability, LEAST, 1))
    q = probability
    for _ in range(s.iterations):
        means = np.array([q[:, r, c].mean((1, 2)) for r, c in inside])
        q = np.exp(log_unary + (back @ total @ means).T.reshape(classes, height, width))
        q /= q.sum(0)
    return q


def corners(y: float, x: float, last_row: int, last_column: int) -> list[tuple[float, tuple[int, int]]]:
    """The four cells around a point and their shares; the outermost cells go on for ever."""
    top, left = int(np.floor(y)), int(np.floor(x))
    shares = [((1 - abs(y - i)) * (1 - abs(x - j)), (i, j)) for i in (top, top + 1) for j in (left, left + 1)]
    return [(share, (min(max(i, 0), last_row), min(max(j, 0), last_column))) for share, (i, j) in shares]


@pytest.mark.parametrize("blur", [2, 3, 4])
@pytest.mark.parametrize("height, width", [(8, 12), (5, 7), (1, 9)])
def test_blur_passes_messages_between_means_of_blocks(blur: int, height: int, width: int) -> None:
    image, probability = scene(2, height, width)
    settings = replace(USUAL, blur=blur, bilateral=3)
    found = ours(image, probability, settings)
    np.testing.assert_allclose(found, literal_blur(image, probability, settings), atol=1e-10)
    assert height == 1 or np.abs(found - ours(image, probability, replace(settings, blur=1))).max() > 0.01


def noisy_mask() -> tuple[Tensor, Tensor, Tensor]:
    """A light square on dark ground; its mask is two pixels too far to the right and a fifth of its pixels are wrong."""
    random = torch.Generator().manual_seed(4)
    truth = torch.zeros(32, 40)
    truth[8:24, 10:28] = 1
    image = (60 + 120 * truth[None] + 8 * torch.randn(3, 32, 40, generator=random)).clamp(0, 255) / 255
    wrong = torch.rand(32, 40, generator=random) < 0.2
    return image, truth, (0.2 + 0.6 * (truth.roll(2, 1).bool() ^ wrong).float())


@pytest.mark.parametrize("blur", [1, 2])
def test_a_noisy_mask_snaps_to_a_colour_edge(blur: int) -> None:
    image, truth, given = noisy_mask()
    settings = ConvCrfSettings(filter_size=11, theta_alpha=20, theta_beta=20, theta_gamma=1, bilateral=6, spatial=0.5, iterations=8, blur=blur)
    refined = refine_instances(image, given[None], settings)[0]
    before, after = ((p > 0.5) != truth.bool() for p in (given, refined))
    assert before.sum() > 200
    assert after.sum() <= (0 if blur == 1 else 30), after.sum()


def test_images_in_a_batch_do_not_hear_each_other_and_both_kinds_of_image_are_alike() -> None:
    scenes = [scene(seed) for seed in (5, 6)]
    image = torch.stack([torch.from_numpy(i).permute(2, 0, 1) for i, _ in scenes])
    probability = torch.stack([torch.from_numpy(p) for _, p in scenes])
    together = conv_crf(image, probability, USUAL)
    for n, (i, p) in enumerate(scenes):
        np.testing.assert_allclose(together[n].numpy(), ours(i, p, USUAL), atol=1e-12)
    assert torch.allclose(conv_crf(image.double() / 255, probability, USUAL), together, atol=1e-10)
    single = conv_crf(image, probability.float(), USUAL)
    assert single.dtype == torch.float32 and torch.allclose(single.double(), together, atol=1e-5)


@pytest.mark.parametrize("blur", [1, 2])
def test_instances_are_two_class_problems_one_by_one(blur: int) -> None:
    image = torch.from_numpy(scene(7)[0]).permute(2, 0, 1)
    foreground = torch.rand(4, 5, 7, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    foreground[0, 2], foreground[1, :, 3] = 0, 1
    settings = replace(USUAL, blur=blur, filter_size=5)
    found = refine_instances(image, foreground, settings)
    assert found.shape == (4, 5, 7)
    for p, given in zip(found, foreground):
        expected = conv_crf(image[None], torch.stack([1 - given, given])[None], settings)[0, 1]
        assert torch.allclose(p, expected, atol=1e-10)
        assert (p - given).abs().max() > 0.05
    assert refine_instances(image, foreground[:0], settings).shape == (0, 5, 7)


def test_certain_pixels_stay_finite() -> None:
    image = torch.from_numpy(scene(9)[0]).permute(2, 0, 1)
    given = (torch.arange(7) < 3).float().expand(2, 5, 7).contiguous()
    given[1] = 0
    found = refine_instances(image, given, replace(USUAL, iterations=50, bilateral=50))
    assert found.isfinite().all() and (found[1] < 2 * LEAST).all()
    alone = refine_instances(image, given, replace(USUAL, bilateral=0, spatial=0))
    assert torch.allclose(alone[0], given[0].clamp(LEAST, 1 - LEAST), atol=1e-6, rtol=0)
    assert conv_crf(image[None], torch.stack([given[0], 1 - given[0], given[1]])[None], USUAL).isfinite().all()


def test_settings_are_checked() -> None:
    values = {key: value for key, value in asdict(USUAL).items() if key != "blur"}
    assert build(ConvCrfSettings, values, "iam.crf") == USUAL   # blur has a default
    with pytest.raises(Problem, match="filter_size: 4 is even"):
        build(ConvCrfSettings, values | {"filter_size": 4}, "iam.crf")
    with pytest.raises(Problem, match="iam.crf.blur: 0 is out of range"):
        build(ConvCrfSettings, values | {"blur": 0}, "iam.crf")
    with pytest.raises(Problem, match="do not fit"):
        conv_crf(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 5), USUAL)
