"""Scores of multi-label recognition.

By hand, against scikit-learn with sample weights, ties, and classes without positives.
"""
import warnings
from time import perf_counter

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from lib.base.problem import Problem
from lib.metrics.bootstrap import Chance
from lib.metrics.multilabel import average_precision, multilabel_scores


def case(seed: int, images: int = 30, classes: int = 4,
         levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores that know something of the truth; with `levels` many of them are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random((images, classes)) < 0.3
    scores = np.clip(0.3 * truth + 0.7 * rng.random((images, classes)), 0, 1)
    return (np.round(scores * levels) / levels if levels else scores), truth


def alike(scores: list[list[float]], truth: list[list[int]]) -> dict[str, float]:
    weights = np.full((1, len(scores)), 1 / len(scores))
    found = multilabel_scores(np.array(scores), np.array(truth, dtype=bool), weights)
    return {name: float(values[0]) for name, values in found.items()}


def ap(scores: list[float], truth: list[int], weights: list[float] | None = None) -> float:
    rows = np.array([weights or [1 / len(scores)] * len(scores)])
    return float(average_precision(np.array(scores), np.array(truth, dtype=bool), rows)[0])


def test_average_precision_by_hand() -> None:
    """Positives at ranks 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3."""
    assert ap([0.6, 0.9, 0.7, 0.8, 0.1], [1, 1, 1, 0, 0]) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert ap([0.9, 0.8, 0.1], [1, 1, 0]) == pytest.approx(1)
    assert ap([0.9, 0.8, 0.1], [0, 0, 1]) == pytest.approx(1 / 3)


def test_equal_scores_share_the_last_rank_by_hand() -> None:
    """Ranks 1, then 2 to 4 together with one positive, in whatever order they come: (1 + 2/4) / 2."""
    for middle in ([1, 0, 0], [0, 1, 0], [0, 0, 1]):
        assert ap([0.9, 0.5, 0.5, 0.5, 0.1], [1, *middle, 0]) == pytest.approx((1 + 2 / 4) / 2)
    assert ap([0.3] * 4, [0, 1, 0, 0]) == pytest.approx(1 / 4)   # nothing is ranked: the share of positives


def test_weights_by_hand() -> None:
    """An image of double weight is two images: positives at ranks 1 and, twice, at 3 to 4 of (1, 0, 1, 1)."""
    assert ap([0.9, 0.8, 0.7], [1, 0, 1], [0.25, 0.25, 0.5]) == pytest.approx((1 + 2 * 3 / 4) / 3)
    assert ap([0.9, 0.8, 0.7], [0, 1, 0], [0, 0.5, 0.5]) == pytest.approx(1)   # the false one does not weigh


@pytest.mark.parametrize("levels", [None, 5])
def test_as_scikit_learn_with_sample_weights(levels: int | None) -> None:
    scores, truth = case(3, levels=levels)
    weights = Chance(20, 0.95, seed=1).draws(30)
    found = multilabel_scores(scores, truth, weights)["map"]
    for row, value in zip(weights, found, strict=True):
        columns = zip(truth.T, scores.T, strict=True)
        expected = [average_precision_score(*column, sample_weight=row) for column in columns]
        assert value == pytest.approx(100 * np.mean(expected), abs=1e-9)


def test_a_draw_is_the_images_it_repeats() -> None:
    scores, truth = case(4, images=12, levels=20)
    weights = Chance(20, 0.95, seed=2).draws(12)
    found = multilabel_scores(scores, truth, weights)
    for s, row in enumerate(weights):
        chosen = np.repeat(np.arange(12), (row * 12).round().astype(int))
        again = multilabel_scores(scores[chosen], truth[chosen], np.full((1, 12), 1 / 12))
        expected = {name: values[0] for name, values in again.items()}
        assert {name: values[s] for name, values in found.items()} == pytest.approx(expected, abs=1e-9)


def test_a_class_without_positives_is_left_out() -> None:
    """Class 1 is perfect, class 0 has its positive last of two, class 2 has none.

    In draws class 0 may lose its own too.
    """
    scores = np.array([[0.9, 0.2, 0.4], [0.3, 0.8, 0.1]])
    truth = np.array([[0, 0, 0], [1, 1, 0]], dtype=bool)
    found = multilabel_scores(scores, truth, np.array([[0.5, 0.5], [0, 1], [1, 0]]))["map"]
    assert found.tolist() == pytest.approx([75, 100, np.nan], nan_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        multilabel_scores(scores, np.zeros_like(truth), np.full((1, 2), 0.5))


def test_exact_and_top_class_by_hand() -> None:
    """Right set; one too many; one too few; exactly 0.5 is not found.

    Best class wrong though the set is nearly right.
    """
    scores = [[0.9, 0.6, 0.1], [0.9, 0.6, 0.1], [0.9, 0.4, 0.1], [0.5, 0.2, 0.1], [0.7, 0.8, 0.1]]
    truth = [[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]]
    found = alike(scores, truth)
    assert found["exact"] == pytest.approx(20) and found["top_class"] == pytest.approx(80)
    weights = np.array([[0.6, 0, 0, 0, 0.4]])
    weighted = multilabel_scores(np.array(scores), np.array(truth, dtype=bool), weights)
    assert weighted["exact"][0] == pytest.approx(60) and weighted["top_class"][0] == pytest.approx(60)


def test_an_image_without_classes() -> None:
    found = alike([[0.4, 0.3], [0.6, 0.3]], [[0, 0], [0, 0]])
    assert found == pytest.approx({"map": np.nan, "exact": 50, "top_class": 0}, nan_ok=True)


def test_equal_best_scores_take_the_first_class() -> None:
    assert alike([[0.7, 0.7]], [[1, 0]])["top_class"] == 100
    assert alike([[0.7, 0.7]], [[0, 1]])["top_class"] == 0


def test_one_class_and_one_image() -> None:
    assert alike([[0.7]], [[1]]) == {"map": 100, "exact": 100, "top_class": 100}


def test_perfect_scores_are_full_marks_in_every_draw() -> None:
    truth = case(5)[1] | (np.arange(4) == np.arange(30)[:, None] % 4)   # every image has a class
    found = multilabel_scores(truth * 0.8 + 0.1, truth, Chance(50, 0.95, seed=3).draws(30))
    for values in found.values():
        np.testing.assert_allclose(values, 100, rtol=1e-12)


def test_a_thousand_draws_in_little_time() -> None:
    scores, truth = case(6, images=353, classes=20)
    weights = Chance(1000, 0.95, seed=4).draws(353)
    start = perf_counter()
    assert multilabel_scores(scores.astype(np.float32), truth, weights)["map"].shape == (1001,)
    assert perf_counter() - start < 5


@pytest.mark.parametrize("value", [1.2, -0.1, np.nan])
def test_scores_that_are_no_probabilities_are_one_sentence(value: float) -> None:
    scores = np.array([[value, 0.1]])
    with pytest.raises(Problem, match="^Class scores must lie in 0..1, and some do not; apply the sigmoid"):
        multilabel_scores(scores, np.ones((1, 2), dtype=bool), np.ones((1, 1)))


def test_scores_of_other_images_are_one_sentence() -> None:
    words = "^There are scores of 2 images x 3 classes and labels of 3 images x 3 classes;"
    with pytest.raises(Problem, match=words):
        multilabel_scores(np.zeros((2, 3)), np.ones((3, 3), dtype=bool), np.ones((1, 2)))
