"""The dense CRF against the exact mean field of a tiny image, written out over all pairs of pixels."""
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.base.problem import Problem
from lib.refine.crf import LEAST, crf_of, dense_crf, refine_foreground, resolved, using
from lib.refine.settings import CrfSettings

# The permutohedral lattice is an approximation: 0.02 in probability is what it can be held to (less where it
# happens to be close).
TOLERANCE = 0.02
USUAL = CrfSettings(theta_alpha=5, theta_beta=20, theta_gamma=2, bilateral=1, spatial=1, iterations=5)


def exact(image: np.ndarray, probability: np.ndarray, s: CrfSettings) -> np.ndarray:
    """Krähenbühl & Koltun, algorithm 1.

    Potts, Gaussian kernels divided by the square roots of both pixels' sums.
    """
    classes, height, width = probability.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    bilateral, spatial = np.zeros((2, len(pixels), len(pixels)))
    for i, (y, x) in enumerate(pixels):
        for j, (v, u) in enumerate(pixels):
            apart = (y - v) ** 2 + (x - u) ** 2
            colour = ((image[y, x].astype(float) - image[v, u].astype(float)) ** 2).sum()
            bilateral[i, j] = np.exp(-apart / (2 * s.theta_alpha ** 2) - colour / (2 * s.theta_beta ** 2))
            spatial[i, j] = np.exp(-apart / (2 * s.theta_gamma ** 2))
    log_unary = np.log(np.clip(probability, 1e-5, 1)).reshape(classes, -1)
    q = np.exp(log_unary) / np.exp(log_unary).sum(0)
    for _ in range(s.iterations):
        energy = log_unary.copy()
        for weight, kernel in ((s.bilateral, bilateral), (s.spatial, spatial)):
            norm = np.sqrt(kernel.sum(1))
            energy += weight * (q @ (kernel / norm[:, None] / norm[None]))
        q = np.exp(energy) / np.exp(energy).sum(0)
    return q.reshape(probability.shape)


def halves(seed: int) -> np.ndarray:
    """8 x 9 pixels, dark on the left and light on the right, a little noise."""
    rng = np.random.default_rng(seed)
    ground = np.where(np.arange(9)[None, :, None] < 4, 60, 180)
    return (ground + rng.normal(0, 4, (8, 9, 3))).astype(np.uint8)


def speckle(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 9, 3)).astype(np.uint8)


def foreground(seed: int) -> np.ndarray:
    """Higher on the right, noisy."""
    rng = np.random.default_rng(seed + 100)
    values = np.linspace(0.2, 0.8, 9)[None] + rng.uniform(-0.3, 0.3, (8, 9))
    return np.clip(values, 0.01, 0.99).astype(np.float32)


# strong weights are left out: there the mean field runs to 0 or 1, and any approximation error decides which
CASES = {
    "both": (halves, USUAL),
    "cited widths": (speckle, CrfSettings(160, 3, 3, 1, 0.5, 5)),
    "bilateral": (halves, replace(USUAL, bilateral=1.5, spatial=0)),
    "spatial": (speckle, replace(USUAL, bilateral=0)),
    "one iteration": (halves, replace(USUAL, iterations=1)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_as_the_exact_mean_field(case: str, seed: int) -> None:
    draw, settings = CASES[case]
    image = draw(seed)
    given = foreground(seed)
    ours = refine_foreground(image, given, settings)
    true = exact(image, np.stack([1 - given, given]), settings)[1]
    assert ours.shape == (8, 9) and ours.dtype == np.float32
    assert np.abs(ours - true).max() < TOLERANCE
    assert np.abs(given - true).max() > 5 * TOLERANCE   # the CRF did something


@pytest.mark.parametrize("change", [
    {"theta_alpha": 1.0},
    {"theta_beta": 200.0},
    {"theta_gamma": 0.5},
    {"bilateral": 2.0},
    {"spatial": 2.0},
    {"iterations": 1},
])
def test_every_setting_matters(change: dict[str, float]) -> None:
    """Each moves the marginals by more than the tolerance above: none can be lost or swapped unseen."""
    image, given = halves(0), foreground(0)
    usual = refine_foreground(image, given, USUAL)
    changed = refine_foreground(image, given, replace(USUAL, **change))
    assert np.abs(usual - changed).max() > TOLERANCE


def test_three_classes() -> None:
    probability = np.random.default_rng(0).dirichlet((1, 1, 1), (8, 9)).transpose(2, 0, 1).astype(np.float32)
    ours = dense_crf(halves(1), probability, USUAL)
    assert ours.shape == (3, 8, 9)
    assert np.abs(ours - exact(halves(1), probability, USUAL)).max() < TOLERANCE
    np.testing.assert_allclose(ours.sum(0), 1, atol=1e-5)


def test_without_weights_nothing_happens() -> None:
    given = foreground(3)
    assert np.abs(refine_foreground(halves(3), given, CrfSettings(160, 3, 3, 0, 0, 10)) - given).max() < 1e-6


def test_certain_pixels_stay_finite_and_certain() -> None:
    """Probabilities of exactly 0 and 1 are kept LEAST away from certainty."""
    given = np.zeros((8, 9), dtype=np.float32)
    given[:, 5:] = 1
    without = refine_foreground(halves(0), given, replace(USUAL, bilateral=0, spatial=0))
    np.testing.assert_allclose(without, np.where(given > 0, 1 - LEAST, LEAST), atol=1e-6)
    refined = dense_crf(halves(0), np.stack([1 - given, given]), USUAL)
    assert np.isfinite(refined).all() and np.abs(refined[1] - given).max() < 0.01
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)


def test_an_enclosed_hole_closes() -> None:
    image = np.full((8, 9, 3), 90, dtype=np.uint8)
    given = np.full((8, 9), 0.8, dtype=np.float32)
    given[4, 4] = 0.3
    assert refine_foreground(image, given, replace(USUAL, spatial=3))[4, 4] > 0.5


def test_read_only_and_strided_input() -> None:
    image, given = halves(2), foreground(2)
    expected = refine_foreground(image, given, USUAL)
    turned = np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2)
    turned.setflags(write=False)
    assert not turned.flags.c_contiguous
    assert np.array_equal(refine_foreground(turned, np.asfortranarray(given), USUAL), expected)
    assert np.array_equal(refine_foreground(image, given, USUAL), expected)   # and twice the same


@pytest.mark.parametrize("classes", [2, 4])
def test_one_lattice_for_several_probabilities_is_a_new_one_for_each(classes: int) -> None:
    """Nothing of the first answer is left in the second, and the first is not overwritten by it."""
    rng = np.random.default_rng(5)
    draws = [rng.dirichlet(np.ones(classes), (8, 9)) for _ in range(2)]
    first, second = (probability.transpose(2, 0, 1).astype(np.float32) for probability in draws)
    marginals = crf_of(halves(1), classes, USUAL)
    found = [marginals(first), marginals(second), marginals(first)]
    for ours, given in zip(found, (first, second, first), strict=True):
        assert np.array_equal(ours, dense_crf(halves(1), given, USUAL))
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_the_exact_backend_has_no_error(case: str, seed: int) -> None:
    draw, settings = CASES[case]
    image, given = draw(seed), foreground(seed)
    ours = refine_foreground(image, given, settings, "exact")
    true = exact(image, np.stack([1 - given, given]), settings)[1]
    assert ours.shape == (8, 9) and ours.dtype == np.float32
    assert np.abs(ours - true).max() < 1e-5


def test_callers_that_name_no_backend_have_the_lattice_unless_told_otherwise() -> None:
    image, given = halves(0), foreground(0)
    lattice = refine_foreground(image, given, USUAL, "pydensecrf")
    assert np.array_equal(refine_foreground(image, given, USUAL), lattice)
    with using("exact"):
        assert np.array_equal(refine_foreground(image, given, USUAL),
                              refine_foreground(image, given, USUAL, "exact"))
        assert np.array_equal(refine_foreground(image, given, USUAL, "pydensecrf"), lattice)
    assert np.array_equal(refine_foreground(image, given, USUAL), lattice)


def test_using_gives_every_marginal_in_order() -> None:
    image, first, second = halves(0), foreground(0), foreground(1)
    with using("pydensecrf") as outer:
        found = [refine_foreground(image, first, USUAL)]
        with using("exact") as inner:
            refine_foreground(image, first, USUAL)
        marginals = crf_of(image, 2, USUAL)
        found += [marginals(np.stack([1 - given, given]))[1] for given in (first, second)]
    refine_foreground(image, first, USUAL)
    assert [each.shape for each in outer] == [(2, 8, 9)] * 3 and len(inner) == 1
    assert all(np.array_equal(kept[1], each) for kept, each in zip(outer, found, strict=True))
    assert not np.array_equal(inner[0][1], found[0])


def test_after_a_fault_the_usual_backend_is_back() -> None:
    with pytest.raises(ZeroDivisionError), using("exact"):
        raise ZeroDivisionError
    assert np.array_equal(refine_foreground(halves(0), foreground(0), USUAL),
                          refine_foreground(halves(0), foreground(0), USUAL, "pydensecrf"))


@pytest.mark.parametrize("has_gpu, chosen", [(True, "exact"), (False, "pydensecrf")])
def test_auto_is_exact_on_a_gpu(has_gpu: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert resolved("auto") == chosen


def test_an_unknown_backend_is_named() -> None:
    words = 'CRF: there is no backend "pydensecrf2"; did you mean "pydensecrf"?'
    for act in (lambda: dense_crf(halves(0), np.ones((2, 8, 9)), USUAL, "pydensecrf2"),
                lambda: using("pydensecrf2").__enter__()):
        with pytest.raises(Problem) as caught:
            act()
        assert str(caught.value) == words


def test_a_missing_lattice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(Problem, match='install pydensecrf2, or use the backend "exact"'):
        refine_foreground(halves(0), foreground(0), USUAL)
    assert refine_foreground(halves(0), foreground(0), USUAL, "exact").shape == (8, 9)
