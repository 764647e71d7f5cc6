"""ConvCRF against a truncated mean field written out pixel by pixel, and against the fully connected one."""
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.base.strict import build
from lib.refine.convcrf import refine_instances
from lib.refine.crf import LEAST, refine_foreground
from lib.refine.settings import ConvCrfSettings, CrfSettings

USUAL = ConvCrfSettings(
    filter_size=3, theta_alpha=5, theta_beta=20, theta_gamma=2, bilateral=1, spatial=0.5, iterations=3)


def literal(image: np.ndarray, foreground: np.ndarray, s: ConvCrfSettings) -> np.ndarray:
    """Image `(H, W, 3)` in grey levels, foreground `(H, W)`.

    Per iteration message passing, weighting, Potts, unary, softmax, over background and foreground; no blur.
    """
    height, width = foreground.shape
    reach = s.filter_size // 2
    pixels = [(y, x) for y in range(height) for x in range(width)]

    def kernels(a: tuple[int, int], b: tuple[int, int]) -> np.ndarray:
        """Bilateral and spatial."""
        if max(abs(a[0] - b[0]), abs(a[1] - b[1])) > reach:
            return np.zeros(2)
        apart = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
        colour = ((image[a] - image[b]) ** 2).sum()
        bilateral = np.exp(-apart / (2 * s.theta_alpha ** 2) - colour / (2 * s.theta_beta ** 2))
        spatial = np.exp(-apart / (2 * s.theta_gamma ** 2))
        return np.array([bilateral, spatial])

    norms = {}
    for a in pixels:
        norms[a] = np.sqrt(sum(kernels(a, b) for b in pixels))
    weights = np.array([s.bilateral, s.spatial])
    unary = -np.log(np.clip(np.stack([1 - foreground, foreground]), LEAST, 1))
    q = np.exp(-unary) / np.exp(-unary).sum(0)
    for _ in range(s.iterations):
        new = np.zeros_like(q)
        for a in pixels:
            message = np.zeros(2)
            for b in pixels:
                strength = (weights * kernels(a, b) / norms[a] / norms[b]).sum()
                message += strength * q[:, b[0], b[1]]
            penalty = message[::-1]   # Potts: each class pays for what speaks for the other
            scores = np.exp(-unary[:, a[0], a[1]] - penalty)
            new[:, a[0], a[1]] = scores / scores.sum()
        q = new
    return q[1]


def scene(seed: int, height: int = 5, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Dark on the left, light on the right, noisy; a random probability of foreground."""
    rng = np.random.default_rng(seed)
    ground = np.where(np.arange(width)[None, :, None] < width // 2, 60, 150)
    image = ground + rng.normal(0, 15, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), rng.dirichlet((1, 1), (height, width))[..., 1]


def to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def ours(image: np.ndarray, foreground: np.ndarray, settings: ConvCrfSettings) -> np.ndarray:
    return refine_instances(to_tensor(image), torch.from_numpy(foreground)[None], settings)[0].numpy()


CASES = {
    "3": USUAL,
    "7": replace(USUAL, filter_size=7),
    "1": replace(USUAL, filter_size=1),
    "all": replace(USUAL, filter_size=31),
    "bilateral": replace(USUAL, spatial=0),
    "spatial": replace(USUAL, bilateral=0, filter_size=5),
    "strong": replace(USUAL, bilateral=6, spatial=4),
    "one iteration": replace(USUAL, iterations=1),
    "narrow": replace(USUAL, theta_alpha=1, theta_beta=5, theta_gamma=0.5),
}


@pytest.mark.parametrize("height, width", [(5, 7), (7, 2), (1, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("case", CASES)
def test_as_a_truncated_mean_field_pixel_by_pixel(case: str, height: int, width: int) -> None:
    image, foreground = scene(height, height, width)
    found = ours(image, foreground, CASES[case])
    np.testing.assert_allclose(found, literal(image.astype(float), foreground, CASES[case]), atol=1e-10)


@pytest.mark.parametrize("change", [
    {"filter_size": 5},
    {"theta_alpha": 1.0},
    {"theta_beta": 100.0},
    {"theta_gamma": 0.5},
    {"bilateral": 2.0},
    {"spatial": 1.5},
    {"iterations": 1},
    {"blur": 2},
])
def test_every_setting_matters(change: dict[str, float]) -> None:
    image, foreground = scene(0)
    changed = ours(image, foreground, replace(USUAL, **change))
    assert np.abs(ours(image, foreground, USUAL) - changed).max() > 1e-3


def strengths(place: np.ndarray, colour: np.ndarray, s: ConvCrfSettings, near: np.ndarray) -> np.ndarray:
    """How much each of N places hears each other `(N, N)`: both kernels, normalised and weighted."""
    apart = ((place[:, None] - place[None]) ** 2).sum(-1)
    unlike = ((colour[:, None] - colour[None]) ** 2).sum(-1)
    bilateral = near * np.exp(-apart / (2 * s.theta_alpha ** 2) - unlike / (2 * s.theta_beta ** 2))
    spatial = near * np.exp(-apart / (2 * s.theta_gamma ** 2))
    total = np.zeros(near.shape)
    for weight, kernel in ((s.bilateral, bilateral), (s.spatial, spatial)):
        total += weight * kernel / np.sqrt(np.outer(kernel.sum(1), kernel.sum(1)))
    return total


def test_a_window_over_the_whole_image_is_the_fully_connected_crf() -> None:
    """Against all pairs in one matrix, without any window.

    And near the dense CRF's lattice with the same settings.
    """
    image, foreground = scene(1, 6, 9)
    s = replace(USUAL, filter_size=17, iterations=5)
    rows, columns = np.meshgrid(np.arange(6), np.arange(9), indexing="ij")
    place = np.stack([rows.ravel(), columns.ravel()], axis=1)
    total = strengths(place, image.reshape(-1, 3).astype(float), s, np.ones((54, 54)))
    probability = np.stack([1 - foreground, foreground]).reshape(2, -1)
    log_unary = np.log(np.clip(probability, LEAST, 1))
    q = np.exp(log_unary)
    for _ in range(5):
        q = np.exp(log_unary + q @ total)
        q /= q.sum(0)
    found = ours(image, foreground, s)
    np.testing.assert_allclose(found, q[1].reshape(6, 9), atol=1e-10)
    dense = {key: value for key, value in asdict(s).items() if key not in ("filter_size", "blur")}
    lattice = refine_foreground(image, foreground.astype(np.float32), CrfSettings(**dense))
    assert np.abs(found - lattice).max() < 0.02


class Blocks:
    """Blocks of pixels, cut off at the border, row by row."""

    def __init__(self, height: int, width: int, block: int) -> None:
        self.height = height
        self.width = width
        self.block = block
        self.cells = [(i, j) for i in range(-(-height // block)) for j in range(-(-width // block))]

    def means(self, x: np.ndarray) -> np.ndarray:
        """Means `(N, C)` of `(C, H, W)`."""
        found = []
        for i, j in self.cells:
            rows = slice(i * self.block, (i + 1) * self.block)
            columns = slice(j * self.block, (j + 1) * self.block)
            found.append(x[:, rows, columns].mean((1, 2)))
        return np.array(found)

    def near(self, reach: int) -> np.ndarray:
        """Whether two of them are at most `reach` apart, `(N, N)`."""
        places = np.array(self.cells)
        return np.abs(places[:, None] - places[None]).max(-1) <= reach

    def back(self) -> np.ndarray:
        """Bilinear interpolation from blocks to pixels, `(H * W, N)`."""
        shares = np.zeros((self.height * self.width, len(self.cells)))
        pixels = [(y, x) for y in range(self.height) for x in range(self.width)]
        for n, (y, x) in enumerate(pixels):
            for share, cell in self.corners((y + 0.5) / self.block - 0.5, (x + 0.5) / self.block - 0.5):
                shares[n, self.cells.index(cell)] += share
        return shares

    def corners(self, y: float, x: float) -> list[tuple[float, tuple[int, int]]]:
        """The four cells around a point and their shares; the outermost cells go on for ever."""
        last_row, last_column = self.cells[-1]
        top, left = int(np.floor(y)), int(np.floor(x))
        found = []
        for i in (top, top + 1):
            for j in (left, left + 1):
                cell = (min(max(i, 0), last_row), min(max(j, 0), last_column))
                found.append(((1 - abs(y - i)) * (1 - abs(x - j)), cell))
        return found


def literal_blur(image: np.ndarray, foreground: np.ndarray, s: ConvCrfSettings) -> np.ndarray:
    """Means over blocks of colours, positions and marginals, messages between blocks, bilinearly back."""
    height, width = foreground.shape
    blocks = Blocks(height, width, s.blur)
    where = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    colour = blocks.means(image.transpose(2, 0, 1).astype(float))
    total = strengths(blocks.means(where), colour, s, blocks.near(s.filter_size // 2))
    log_unary = np.log(np.clip(np.stack([1 - foreground, foreground]), LEAST, 1))
    q = np.exp(log_unary) / np.exp(log_unary).sum(0)
    for _ in range(s.iterations):
        heard = blocks.back() @ total @ blocks.means(q)
        q = np.exp(log_unary + heard.T.reshape(2, height, width))
        q /= q.sum(0)
    return q[1]


@pytest.mark.parametrize("blur", [2, 3, 4])
@pytest.mark.parametrize("height, width", [(8, 12), (5, 7), (1, 9)])
def test_blur_passes_messages_between_means_of_blocks(blur: int, height: int, width: int) -> None:
    image, foreground = scene(2, height, width)
    settings = replace(USUAL, blur=blur, bilateral=3)
    found = ours(image, foreground, settings)
    np.testing.assert_allclose(found, literal_blur(image, foreground, settings), atol=1e-10)
    sharp = ours(image, foreground, replace(settings, blur=1))
    assert height == 1 or np.abs(found - sharp).max() > 0.01


def noisy_mask() -> tuple[Tensor, Tensor, Tensor]:
    """A light square on dark ground.

    Its mask is two pixels too far to the right and a fifth of its pixels are wrong.
    """
    random = torch.Generator().manual_seed(4)
    truth = torch.zeros(32, 40)
    truth[8:24, 10:28] = 1
    image = (60 + 120 * truth[None] + 8 * torch.randn(3, 32, 40, generator=random)).clamp(0, 255) / 255
    wrong = torch.rand(32, 40, generator=random) < 0.2
    return image, truth, (0.2 + 0.6 * (truth.roll(2, 1).bool() ^ wrong).float())


@pytest.mark.parametrize("blur", [1, 2])
def test_a_noisy_mask_snaps_to_a_colour_edge(blur: int) -> None:
    image, truth, given = noisy_mask()
    settings = ConvCrfSettings(
        filter_size=11, theta_alpha=20, theta_beta=20, theta_gamma=1, bilateral=6, spatial=0.5, iterations=8,
        blur=blur)
    refined = refine_instances(image, given[None], settings)[0]
    before, after = ((p > 0.5) != truth.bool() for p in (given, refined))
    assert before.sum() > 200
    assert after.sum() <= (0 if blur == 1 else 30), after.sum()


def test_both_kinds_of_image_and_of_number_are_alike() -> None:
    image, foreground = scene(5)
    given = torch.from_numpy(foreground)[None]
    expected = refine_instances(to_tensor(image), given, USUAL)
    found = refine_instances(to_tensor(image).double() / 255, given, USUAL)
    assert torch.allclose(found, expected, atol=1e-10)
    single = refine_instances(to_tensor(image), given.float(), USUAL)
    assert single.dtype == torch.float32 and torch.allclose(single.double(), expected, atol=1e-5)


@pytest.mark.parametrize("blur", [1, 2])
def test_instances_do_not_hear_each_other(blur: int) -> None:
    image, _ = scene(7)
    foreground = torch.rand(4, 5, 7, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    foreground[0, 2] = 0
    foreground[1, :, 3] = 1
    settings = replace(USUAL, blur=blur, filter_size=5)
    found = refine_instances(to_tensor(image), foreground, settings)
    assert found.shape == (4, 5, 7)
    by_hand = literal if blur == 1 else literal_blur
    for refined, given in zip(found, foreground, strict=True):
        expected = by_hand(image.astype(float), given.numpy(), settings)
        np.testing.assert_allclose(refined.numpy(), expected, atol=1e-10)
        assert (refined - given).abs().max() > 0.05
    assert refine_instances(to_tensor(image), foreground[:0], settings).shape == (0, 5, 7)


def test_certain_pixels_stay_finite() -> None:
    image = to_tensor(scene(9)[0])
    given = (torch.arange(7) < 3).float().expand(2, 5, 7).contiguous()
    given[1] = 0
    found = refine_instances(image, given, replace(USUAL, iterations=50, bilateral=50))
    assert found.isfinite().all() and (found[1] < 2 * LEAST).all()
    alone = refine_instances(image, given, replace(USUAL, bilateral=0, spatial=0))
    assert torch.allclose(alone[0], given[0].clamp(LEAST, 1 - LEAST), atol=1e-6, rtol=0)


def test_settings_are_checked() -> None:
    values = {key: value for key, value in asdict(USUAL).items() if key != "blur"}
    assert build(ConvCrfSettings, values, "iam.crf") == USUAL   # blur has a default
    with pytest.raises(Problem, match="filter_size: 4 is even"):
        build(ConvCrfSettings, values | {"filter_size": 4}, "iam.crf")
    with pytest.raises(Problem, match="iam.crf.blur: 0 is out of range"):
        build(ConvCrfSettings, values | {"blur": 0}, "iam.crf")
    with pytest.raises(Problem, match="do not fit"):
        refine_instances(torch.zeros(3, 4, 4), torch.zeros(2, 4, 5), USUAL)
