"""FCN + GBP, FCN + MCG and ZOF + GBP: every step by hand, the whole against a literal transcription."""
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lib.base.problem import Problem
from lib.papers.fcn_gbp.method import (
    Detected,
    Superpixels,
    enhance,
    fcn_gbp,
    fcn_mcg,
    foreground,
    image_level_prior,
    present,
    with_background,
    zof_gbp,
)
from lib.papers.fcn_gbp.settings import FcnGbpSettings
from lib.refine.crf import dense_crf
from lib.refine.settings import CrfSettings

CRF = CrfSettings(theta_alpha=10, theta_beta=10, theta_gamma=2, bilateral=2, spatial=1, iterations=5)
USUAL = FcnGbpSettings(
    least_probability=0.5,
    enhance="product",
    maximum="image",
    least_map=0.1,
    alpha=3.0,
    crf=CRF,
)
SURER = replace(USUAL, least_probability=0.85)
LAX = replace(USUAL, least_probability=0.0, least_map=0.5, maximum="class")
WITHOUT_PAIRS = replace(USUAL, crf=replace(CRF, spatial=0.0, bilateral=0.0))   # of pixels, in the CRF
VARIANTS = [
    USUAL,
    replace(USUAL, enhance="geometric"),
    replace(USUAL, maximum="class", alpha=1.0),
    SURER,
    LAX,
    WITHOUT_PAIRS,
]


# 40 x 30 pixels: a red square on the left (class 2), a blue one on the right (class 0), grey ground.
HEIGHT, WIDTH = 30, 40
LEFT, RIGHT = np.s_[8:24, 4:16], np.s_[8:24, 24:36]
PIXELS = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
PIXELS[LEFT] = (220, 30, 30)
PIXELS[RIGHT] = (30, 30, 220)
PHOTO = Image.fromarray(PIXELS)
TRUTH = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
TRUTH[LEFT] = 3
TRUTH[RIGHT] = 1

# Coarse, blurred score maps of four classes.
SCORE_MAPS = torch.full((4, 6, 8), -4.0)
SCORE_MAPS[2, 1:5, 0:4] = 3.0
SCORE_MAPS[0, 1:5, 4:8] = 3.0
SCORE_MAPS[3] = 4.0   # everywhere, but the image does not show it

PROBABILITY = torch.tensor([0.8, 0.1, 0.9, 0.2])
SALIENCY = torch.from_numpy(np.stack([TRUTH == 3, TRUTH == 1, TRUTH >= 0]) * 0.9 + 0.02).float()
DETECTED = Detected(PROBABILITY, [2, 0, 3], SALIENCY)

# Superpixels of 4 x 4 pixels.
REGIONS = np.arange(HEIGHT)[:, None] // 4 * 10 + np.arange(WIDTH)[None] // 4


def test_image_level_prior_by_hand() -> None:
    maps = torch.tensor([[[0.5, 1.0]], [[0.2, 0.4]], [[1.0, 1.0]]])
    probability = torch.tensor([0.8, 0.5, 0.4])
    two_present = torch.tensor([[[0.4, 0.8]], [[0.1, 0.2]], [[0.0, 0.0]]])
    assert torch.allclose(image_level_prior(maps, probability, 0.5), two_present)
    one_present = torch.tensor([[[0.4, 0.8]], [[0.0, 0.0]], [[0.0, 0.0]]])
    assert torch.allclose(image_level_prior(maps, probability, 0.9), one_present)


def test_present_keeps_the_threshold_itself_and_the_best() -> None:
    assert present(torch.tensor([0.5, 0.49, 0.9]), 0.5).tolist() == [True, False, True]
    assert present(torch.tensor([0.1, 0.3, 0.2]), 0.5).tolist() == [False, True, False]
    assert present(torch.tensor([0.1, 0.3, 0.2]), 0.0).tolist() == [True, True, True]


def test_enhance_by_hand() -> None:
    class_map, saliency = torch.tensor([[0.25, 0.5]]), torch.tensor([[1.0, 0.02]])
    assert torch.allclose(enhance(class_map, saliency, "product"), torch.tensor([[0.25, 0.01]]))
    assert torch.allclose(enhance(class_map, saliency, "geometric"), torch.tensor([[0.5, 0.1]]))


def tanh(x: float) -> float:
    return (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)


def test_foreground_by_hand() -> None:
    """Maxima are 0.4 and 0.2.

    Over the image's: 1, 0.25, 0.5 and 0.075 (below the threshold); over the class's own: 1, 0.25, 1 and 0.15.
    """
    enhanced = torch.tensor([[[0.4, 0.1]], [[0.2, 0.03]]])
    image = foreground(enhanced, USUAL)
    assert np.allclose(image, [[[tanh(3.0), tanh(0.75)]], [[tanh(1.5), 0]]], atol=1e-6)
    own = foreground(enhanced, replace(USUAL, maximum="class", alpha=2.0))
    assert np.allclose(own, [[[tanh(2.0), tanh(0.5)]], [[tanh(2.0), tanh(0.3)]]], atol=1e-6)
    assert foreground(torch.zeros(2, 3, 3), USUAL).eq(0).all()


def test_background_by_hand() -> None:
    probability = with_background(np.array([[[0.9, 0.1]], [[0.3, 0.2]]]))
    assert np.allclose(probability, [[[0.1, 0.8]], [[0.9, 0.1]], [[0.3, 0.2]]])


def literal(photo: np.ndarray, class_maps: Tensor, detected: Detected,
            settings: FcnGbpSettings) -> np.ndarray:
    """The steps one class at a time, with loops; class maps of all classes."""
    probability = detected.probability
    best = max(detected.kept, key=lambda k: float(probability[k]))
    enhanced = {}
    for t, k in enumerate(detected.kept):
        if probability[k] < settings.least_probability and k != best:
            continue
        prior = class_maps[k][None, None] * probability[k]
        large = torch.nn.functional.interpolate(prior, photo.shape[:2], mode="bilinear", align_corners=False)
        product = (large[0, 0] * detected.saliency[t]).numpy()
        enhanced[k] = product if settings.enhance == "product" else product ** 0.5
    highest = max(values.max() for values in enhanced.values())
    levels = {}
    for k, values in enhanced.items():
        share = values / (highest if settings.maximum == "image" else values.max())
        levels[k] = np.tanh(settings.alpha * np.where(share < settings.least_map, 0, share))
    background = 1 - np.maximum.reduce(list(levels.values()))
    index = dense_crf(photo, np.stack([background, *levels.values()]), settings.crf).argmax(0)
    return np.array([0, *(k + 1 for k in levels)])[index]


@pytest.mark.parametrize("settings", VARIANTS)
def test_fcn_gbp_as_the_literal_steps(settings: FcnGbpSettings) -> None:
    labels = fcn_gbp(PHOTO, SCORE_MAPS, DETECTED, settings)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, literal(PIXELS, SCORE_MAPS.sigmoid(), DETECTED, settings))


@pytest.mark.parametrize("seed", range(3))
def test_all_three_on_noise_as_the_literal_steps(seed: int) -> None:
    """Where nothing is plain, any step left out shows; the CRF's pairwise terms, which hide it, are off."""
    rng = np.random.default_rng(seed)
    torch_rng = torch.Generator().manual_seed(seed)
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    photo = Image.fromarray(pixels)
    settings = replace(WITHOUT_PAIRS, alpha=1.5, enhance=("product", "geometric")[seed % 2])
    scores = 2 * torch.randn(4, 6, 8, generator=torch_rng)
    saliency = torch.rand(4, HEIGHT, WIDTH, generator=torch_rng)
    share = rng.random((80, 4))
    detected = Detected(PROBABILITY, [3, 0, 2], saliency[:3])

    labels = fcn_gbp(photo, scores, detected, settings)
    assert np.array_equal(labels, literal(pixels, scores.sigmoid(), detected, settings))

    every = Detected(PROBABILITY, range(4), saliency[:1].expand(4, HEIGHT, WIDTH))
    labels = fcn_mcg(photo, scores, PROBABILITY, saliency[0].numpy(), settings)
    assert np.array_equal(labels, literal(pixels, scores.sigmoid(), every, settings))

    painted = torch.from_numpy(share.T[:, REGIONS]).float()
    labels = zof_gbp(photo, Superpixels(REGIONS, share), detected, settings)
    assert np.array_equal(labels, literal(pixels, painted, detected, settings))


def test_fcn_gbp_finds_the_squares() -> None:
    labels = fcn_gbp(PHOTO, SCORE_MAPS, DETECTED, USUAL)
    assert (labels == TRUTH).mean() > 0.98


@pytest.mark.parametrize("settings, expected", [
    (USUAL, {0, 1, 3}),
    (SURER, {0, 3}),
    (LAX, {4}),   # not thresholded, each over its own maximum: what is everywhere wins
])
def test_the_variants_differ(settings: FcnGbpSettings, expected: set[int]) -> None:
    assert set(np.unique(fcn_gbp(PHOTO, SCORE_MAPS, DETECTED, settings))) == expected


def test_fcn_mcg_considers_every_class_with_one_map() -> None:
    noise = np.random.default_rng(0).random((HEIGHT, WIDTH))
    objectness = (0.7 * (TRUTH > 0) + 0.3 * noise).astype(np.float32)
    labels = fcn_mcg(PHOTO, SCORE_MAPS, PROBABILITY, objectness, USUAL)
    every = Detected(PROBABILITY, range(4), torch.from_numpy(objectness).expand(4, HEIGHT, WIDTH))
    assert np.array_equal(labels, literal(PIXELS, SCORE_MAPS.sigmoid(), every, USUAL))
    assert (labels == TRUTH).mean() > 0.95
    flat = np.ones((HEIGHT, WIDTH), dtype=np.float32)
    neutral = fcn_mcg(PHOTO, SCORE_MAPS, PROBABILITY, flat, USUAL)
    assert (neutral == TRUTH).mean() < (labels == TRUTH).mean()


def test_zof_gbp_paints_its_class_maps_from_superpixels() -> None:
    share = np.zeros((80, 4))
    for region, k in np.ndindex(share.shape):
        inside = TRUTH[region == REGIONS]
        share[region, k] = 0.8 * (inside == k + 1).mean() + 0.1
    labels = zof_gbp(PHOTO, Superpixels(REGIONS, share), DETECTED, USUAL)
    painted = torch.from_numpy(share.T[:, REGIONS]).float()
    assert np.array_equal(labels, literal(PIXELS, painted, DETECTED, USUAL))
    assert (labels == TRUTH).mean() > 0.98


def test_nothing_salient_is_background() -> None:
    nowhere = replace(DETECTED, saliency=torch.zeros(3, HEIGHT, WIDTH))
    assert not fcn_gbp(PHOTO, SCORE_MAPS, nowhere, USUAL).any()


def test_coarse_saliency_is_enlarged() -> None:
    coarse = replace(DETECTED, saliency=SALIENCY[:, ::2, ::2])
    labels = fcn_gbp(PHOTO, SCORE_MAPS, coarse, USUAL)
    assert (labels == TRUTH).mean() > 0.95


@pytest.mark.parametrize("kept, sentence", [
    ([], "keep at least the best one"),
    ([2, 0], "do not fit together"),
    ([2, 0, 4], "do not fit together"),
])
def test_what_does_not_fit_is_one_sentence(kept: Sequence[int], sentence: str) -> None:
    with pytest.raises(Problem, match=sentence):
        fcn_gbp(PHOTO, SCORE_MAPS, replace(DETECTED, kept=kept), USUAL)


def test_settings_need_no_torch() -> None:
    check = "import sys, lib.papers.fcn_gbp.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
