"""FCN + GBP, FCN + MCG and ZOF + GBP: every step by hand, the whole against a literal transcription."""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lib.base.problem import Problem
from lib.papers.fcn_gbp.method import (
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
USUAL = FcnGbpSettings(least_probability=0.5, enhance="product", maximum="image", least_map=0.1, alpha=3.0, crf=CRF)


def test_image_level_prior_by_hand() -> None:
    maps = torch.tensor([[[0.5, 1.0]], [[0.2, 0.4]], [[1.0, 1.0]]])
    probability = torch.tensor([0.8, 0.5, 0.4])
    assert torch.allclose(image_level_prior(maps, probability, 0.5), torch.tensor([[[0.4, 0.8]], [[0.1, 0.2]], [[0.0, 0.0]]]))
    assert torch.allclose(image_level_prior(maps, probability, 0.9), torch.tensor([[[0.4, 0.8]], [[0.0, 0.0]], [[0.0, 0.0]]]))


def test_present_keeps_the_threshold_itself_and_the_best() -> None:
    assert present(torch.tensor([0.5, 0.49, 0.9]), 0.5).tolist() == [True, False, True]
    assert present(torch.tensor([0.1, 0.3, 0.2]), 0.5).tolist() == [False, True, False]
    assert present(torch.tensor([0.1, 0.3, 0.2]), 0.0).tolist() == [True, True, True]


def test_enhance_by_hand() -> None:
    class_map, saliency = torch.tensor([[0.25, 0.5]]), torch.tensor([[1.0, 0.02]])
    assert torch.allclose(enhance(class_map, saliency, "product"), torch.tensor([[0.25, 0.01]]))
    assert torch.allclose(enhance(class_map, saliency, "geometric"), torch.tensor([[0.5, 0.1]]))


def test_foreground_by_hand() -> None:
    """Maxima 0.4 and 0.2: over the image's 1, 0.25, 0.5 and 0.075 (below the threshold); over the class's own 1, 0.25, 1 and 0.15."""
    enhanced = torch.tensor([[[0.4, 0.1]], [[0.2, 0.03]]])
    tanh = lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)   # noqa: E731
    image, own = foreground(enhanced, USUAL), foreground(enhanced, replace(USUAL, maximum="class", alpha=2.0))
    assert np.allclose(image, [[[tanh(3.0), tanh(0.75)]], [[tanh(1.5), 0]]], atol=1e-6)
    assert np.allclose(own, [[[tanh(2.0), tanh(0.5)]], [[tanh(2.0), tanh(0.3)]]], atol=1e-6)
    assert foreground(torch.zeros(2, 3, 3), USUAL).eq(0).all()


def test_background_by_hand() -> None:
    got = with_background(np.array([[[0.9, 0.1]], [[0.3, 0.2]]]))
    assert np.allclose(got, [[[0.1, 0.8]], [[0.9, 0.1]], [[0.3, 0.2]]])


class Scene:
    """40 x 30: a red square on the left (class 2), a blue one on the right (class 0), grey ground; coarse, blurred score maps."""
    photo_array = np.full((30, 40, 3), 128, dtype=np.uint8)
    photo_array[8:24, 4:16] = (220, 30, 30)
    photo_array[8:24, 24:36] = (30, 30, 220)
    photo = Image.fromarray(photo_array)
    truth = np.zeros((30, 40), dtype=np.uint8)
    truth[8:24, 4:16], truth[8:24, 24:36] = 3, 1
    score_maps = torch.full((4, 6, 8), -4.0)
    score_maps[2, 1:5, 0:4] = 3.0
    score_maps[0, 1:5, 4:8] = 3.0
    score_maps[3] = 4.0   # everywhere, but the image does not show it
    probability = torch.tensor([0.8, 0.1, 0.9, 0.2])
    kept = [2, 0, 3]
    saliency = torch.from_numpy(np.stack([truth == 3, truth == 1, truth >= 0]) * 0.9 + 0.02).float()


def literal(photo: np.ndarray, class_maps: Tensor, probability: Tensor, saliency: Tensor, kept: Sequence[int], s: FcnGbpSettings) -> np.ndarray:
    """The steps one class at a time, with loops."""
    height, width = photo.shape[:2]
    best = max(kept, key=lambda k: float(probability[k]))
    enhanced = {}
    for t, k in enumerate(kept):
        if probability[k] < s.least_probability and k != best:
            continue
        large = torch.nn.functional.interpolate(class_maps[k][None, None] * probability[k], (height, width), mode="bilinear", align_corners=False)
        enhanced[k] = (large[0, 0] * saliency[t]).numpy() ** (1.0 if s.enhance == "product" else 0.5)
    top = max(e.max() for e in enhanced.values())
    levels = {}
    for k, e in enhanced.items():
        e = e / (top if s.maximum == "image" else e.max())
        levels[k] = np.tanh(s.alpha * np.where(e < s.least_map, 0, e))
    stack = np.stack([1 - np.maximum.reduce(list(levels.values())), *levels.values()])
    index = dense_crf(photo, stack, s.crf).argmax(0)
    return np.array([0, *(k + 1 for k in levels)])[index]


VARIANTS = [USUAL, replace(USUAL, enhance="geometric"), replace(USUAL, maximum="class", alpha=1.0), replace(USUAL, least_probability=0.85),
            replace(USUAL, least_probability=0.0, least_map=0.5, maximum="class"), replace(USUAL, crf=replace(CRF, spatial=0.0, bilateral=0.0))]


@pytest.mark.parametrize("settings", VARIANTS)
def test_fcn_gbp_as_the_literal_steps(settings: FcnGbpSettings) -> None:
    got = fcn_gbp(Scene.photo, Scene.score_maps, Scene.probability, Scene.saliency, Scene.kept, settings)
    assert got.dtype == np.uint8
    assert np.array_equal(got, literal(Scene.photo_array, Scene.score_maps.sigmoid(), Scene.probability, Scene.saliency, Scene.kept, settings))


@pytest.mark.parametrize("seed", range(3))
def test_all_three_on_noise_as_the_literal_steps(seed: int) -> None:
    """Where nothing is plain, any step left out shows; the CRF's pairwise terms, which would smooth it over, are off."""
    rng, torch_rng = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    photo, settings, kept = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)), replace(VARIANTS[5], alpha=1.5), [3, 0, 2]
    settings = replace(settings, enhance=("product", "geometric")[seed % 2])
    scores, saliency = 2 * torch.randn(4, 6, 8, generator=torch_rng), torch.rand(4, 30, 40, generator=torch_rng)
    labels, share = np.arange(30)[:, None] // 4 * 10 + np.arange(40)[None] // 4, rng.random((80, 4))

    def steps(maps: Tensor, saliency: Tensor, classes: Sequence[int]) -> np.ndarray:
        return literal(np.asarray(photo), maps, Scene.probability, saliency, classes, settings)

    assert np.array_equal(fcn_gbp(photo, scores, Scene.probability, saliency[:3], kept, settings), steps(scores.sigmoid(), saliency[:3], kept))
    assert np.array_equal(fcn_mcg(photo, scores, Scene.probability, saliency[0], settings),
                          steps(scores.sigmoid(), saliency[:1].expand(4, 30, 40), range(4)))
    painted = torch.from_numpy(share.T[:, labels]).float()
    assert np.array_equal(zof_gbp(photo, labels, share, Scene.probability, saliency[:3], kept, settings), steps(painted, saliency[:3], kept))


def test_fcn_gbp_finds_the_squares() -> None:
    got = fcn_gbp(Scene.photo, Scene.score_maps, Scene.probability, Scene.saliency, Scene.kept, USUAL)
    assert (got == Scene.truth).mean() > 0.98


def test_the_variants_differ() -> None:
    found = [fcn_gbp(Scene.photo, Scene.score_maps, Scene.probability, Scene.saliency, Scene.kept, s)
             for s in (USUAL, VARIANTS[3], VARIANTS[4])]
    assert set(np.unique(found[0])) == {0, 1, 3} and set(np.unique(found[1])) == {0, 3}
    assert set(np.unique(found[2])) == {4}   # not thresholded, each over its own maximum: what is everywhere wins


def test_fcn_mcg_considers_every_class_with_one_map() -> None:
    rng = np.random.default_rng(0)
    objectness = (0.7 * (Scene.truth > 0) + 0.3 * rng.random((30, 40))).astype(np.float32)
    got = fcn_mcg(Scene.photo, Scene.score_maps, Scene.probability, objectness, USUAL)
    every = torch.from_numpy(objectness).expand(4, 30, 40)
    expected = literal(Scene.photo_array, Scene.score_maps.sigmoid(), Scene.probability, every, range(4), USUAL)
    assert np.array_equal(got, expected) and (got == Scene.truth).mean() > 0.95
    neutral = fcn_mcg(Scene.photo, Scene.score_maps, Scene.probability, np.ones((30, 40), dtype=np.float32), USUAL)
    assert (neutral == Scene.truth).mean() < (got == Scene.truth).mean()


def test_zof_gbp_paints_its_class_maps_from_superpixels() -> None:
    labels = (np.arange(30)[:, None] // 4) * 10 + np.arange(40)[None] // 4
    share = np.stack([[(Scene.truth[labels == r] == k + 1).mean() for k in range(4)] for r in range(80)]) * 0.8 + 0.1
    got = zof_gbp(Scene.photo, labels, share, Scene.probability, Scene.saliency, Scene.kept, USUAL)
    maps = torch.from_numpy(share.T[:, labels]).float()
    assert np.array_equal(got, literal(Scene.photo_array, maps, Scene.probability, Scene.saliency, Scene.kept, USUAL))
    assert (got == Scene.truth).mean() > 0.98


def test_nothing_salient_is_background() -> None:
    got = fcn_gbp(Scene.photo, Scene.score_maps, Scene.probability, torch.zeros(3, 30, 40), Scene.kept, USUAL)
    assert not got.any()


def test_coarse_saliency_is_enlarged() -> None:
    coarse = Scene.saliency[:, ::2, ::2]
    got = fcn_gbp(Scene.photo, Scene.score_maps, Scene.probability, coarse, Scene.kept, USUAL)
    assert (got == Scene.truth).mean() > 0.95


@pytest.mark.parametrize(("kept", "sentence"), [([], "keep at least the best one"), ([2, 0], "do not fit together"), ([2, 0, 4], "do not fit together")])
def test_what_does_not_fit_is_one_sentence(kept: list[int], sentence: str) -> None:
    with pytest.raises(Problem, match=sentence):
        fcn_gbp(Scene.photo, Scene.score_maps, Scene.probability, Scene.saliency, kept, USUAL)


def test_settings_need_no_torch() -> None:
    import subprocess
    import sys

    check = "import sys, lib.papers.fcn_gbp.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
