"""Bootstrap intervals: by hand, paired, and covering what they should."""
import numpy as np
import pytest

from lib.base.problem import Problem
from lib.metrics.bootstrap import Chance, compare, interval, summarise, table


def test_draws_are_weights() -> None:
    found = Chance(50, 0.95, seed=3).draws(7)
    assert found.shape == (51, 7)
    np.testing.assert_allclose(found[0], 1 / 7)
    np.testing.assert_allclose(found.sum(1), 1)
    counts = found[1:] * 7
    np.testing.assert_allclose(counts, counts.round(), atol=1e-12)
    assert (counts.round() == 0).any() and counts.max() > 1   # with replacement
    assert len(np.unique(found[1:], axis=0)) > 40


def test_draws_follow_the_seed() -> None:
    found = Chance(50, 0.95, 3).draws(7)
    assert np.array_equal(found, Chance(50, 0.95, 3).draws(7))
    assert np.array_equal(found, Chance(50, 0.5, 3).draws(7))   # the level is the intervals' alone
    assert not np.array_equal(found, Chance(50, 0.95, 4).draws(7))
    assert Chance(4, 0.95, 0).draws(1).tolist() == [[1.0]] * 5


def test_interval_by_hand() -> None:
    """Quantiles of the draws without the estimate, linear between neighbours."""
    values = np.array([99.0, *range(101)])
    assert interval(values, 0.9) == {"mean": 99.0, "low": 5.0, "high": 95.0}
    assert interval(values, 0.95) == {"mean": 99.0, "low": 2.5, "high": 97.5}
    assert interval(np.array([2.0, 0.0, 1.0]), 0.5) == {"mean": 2.0, "low": 0.25, "high": 0.75}
    assert interval(np.array([0.5]), 0.95) == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert interval(np.array([0.5, 2.0]), 0.95) == {"mean": 0.5, "low": 2.0, "high": 2.0}
    thirds = np.array([1 / 3, 2 / 3, 2 / 3])
    assert interval(thirds, 0.95) == {"mean": 0.333333, "low": 0.666667, "high": 0.666667}


def test_summarise_names_rows_and_metrics() -> None:
    found = summarise({"a": {"m": np.array([1.0, 0.0, 2.0])}, "b": {"n": np.array([3.0])}}, 0.5)
    assert found == {
        "a": {"m": {"mean": 1.0, "low": 0.5, "high": 1.5}},
        "b": {"n": {"mean": 3.0, "low": 3.0, "high": 3.0}},
    }


def test_a_table_compares_the_rows_that_are_there() -> None:
    scores = {"a": {"m": np.array([1.0, 0.0, 2.0])}, "b": {"m": np.array([3.0, 1.0, 5.0])}}
    rows, comparisons = table(scores, [("a", "b"), ("a", "absent"), ("absent", "b")], Chance(2, 0.5, 0))
    assert rows == summarise(scores, 0.5)
    assert comparisons == compare(scores, [("a", "b")], 0.5) and list(comparisons) == ["a - b", "a / b"]


def test_differences_are_paired() -> None:
    """Better by the same amount on every image is better by it in every draw, however unlike the images."""
    images = np.random.default_rng(0).normal(10, 5, 40)
    weights = Chance(200, 0.95, 0).draws(40)
    scores = {
        "a": {"m": weights @ (images + 0.25)},
        "b": {"m": weights @ images, "other": weights @ images},
    }
    found = compare(scores, [("a", "b"), ("b", "a")], 0.95)
    assert list(found) == ["a - b", "a / b", "b - a", "b / a"]
    assert all(list(values) == ["m"] for values in found.values())   # what both have
    assert found["a - b"]["m"] == {"mean": 0.25, "low": 0.25, "high": 0.25}
    alone = interval(scores["a"]["m"], 0.95)
    assert alone["high"] - alone["low"] > 2


def test_differences_and_ratios_by_hand() -> None:
    scores = {
        "a": {"m": np.array([3.0, 2.0, 8.0])},
        "b": {"m": np.array([2.0, 1.0, 2.0])},
        "none": {"m": np.zeros(3)},
    }
    found = compare(scores, [("a", "b"), ("b", "a"), ("none", "none")], 0.5)
    assert found["a - b"]["m"] == {"mean": 1.0, "low": 2.25, "high": 4.75}
    assert found["a / b"]["m"] == {"mean": 1.5, "low": 2.5, "high": 3.5}
    assert found["b - a"]["m"] == {"mean": -1.0, "low": -4.75, "high": -2.25}
    assert found["b / a"]["m"] == {"mean": 0.666667, "low": 0.3125, "high": 0.4375}
    assert found["none / none"]["m"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_cover_the_truth_about_as_often_as_they_say(level: float) -> None:
    """Means of 50 draws from a normal distribution.

    300 intervals, coverage within 6 points (a little low for the bootstrap).
    """
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        found = interval(Chance(300, level, trial).draws(50) @ rng.normal(2, 1, 50), level)
        covered += found["low"] <= 2 <= found["high"]
    assert abs(covered / 300 - level) < 0.06


def test_without_truth_there_is_no_number() -> None:
    """As the mean IoU of images whose masks are void everywhere."""
    for scores in ({"miou": np.array([np.nan, 1.0])}, {"ods": np.ones(2), "miou": np.full(2, np.nan)}):
        with pytest.raises(Problem, match="^miou: these images have no truth to measure it by"):
            summarise({"a": scores}, 0.5)


def test_draws_without_truth_are_left_out() -> None:
    values = np.array([2.0, 0.0, np.nan, 1.0])
    assert interval(values, 0.5) == interval(np.array([2.0, 0.0, 1.0]), 0.5)
    assert interval(np.array([2.0, np.nan]), 0.5) == {"mean": 2.0, "low": 2.0, "high": 2.0}
