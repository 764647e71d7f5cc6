import math

import pytest

from lib.report.numbers import digits, known, with_interval


@pytest.mark.parametrize("low, high, places", [
    (0.58, 0.62, 2),        # half width 0.02
    (0.59, 0.61, 3),        # 0.01: a leading 1 carries one digit more
    (0.024, 0.038, 3),      # 0.007
    (0.4, 0.8, 1),          # 0.2
    (0.5, 0.53, 3),         # 0.015
    (41.8, 46.4, 0),        # 2.3
    (43.1, 45.1, 1),        # 1.0
    (20, 80, 0),            # 30
    (0.5, 0.5, 3),          # no width
    (0.5, math.nan, 3),
    (0, 1e-12, 6)])
def test_digits_follow_the_half_width(low: float, high: float, places: int) -> None:
    assert digits(low, high) == places


def test_interval_as_text() -> None:
    assert with_interval({"mean": 0.6174, "low": 0.5911, "high": 0.6403}) == "0.62 [0.59, 0.64]"
    assert with_interval({"mean": 0.5, "low": 0.5, "high": 0.5}) == "0.500 [0.500, 0.500]"
    assert with_interval({"mean": -0.001, "low": -0.04, "high": 0.04}) == "0.00 [-0.04, 0.04]"
    assert with_interval({"mean": 13.4, "low": 10.1, "high": 16.7}) == "13 [10, 17]"
    assert with_interval(None) == "—"
    assert with_interval({"mean": math.nan, "low": 0, "high": 1}) == "—"


def test_known_needs_three_finite_numbers() -> None:
    assert known({"mean": 0, "low": 0, "high": 1})
    assert not known({"mean": 0, "low": 0})
    assert not known({"mean": None, "low": 0, "high": 1})
    assert not known({"mean": 1, "low": -math.inf, "high": 1})
