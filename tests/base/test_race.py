"""What is timed beside others: compared first, quotients within a round, and what was asked for."""
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lib.base import process
from lib.base.problem import Problem
from lib.base.race import OURS, Effort, Race, Runner, difference, quartiles, run

MAPS = np.array([[1.0, -4.0], [2.0, 0.0]])


class Clock:
    """Time that passes only where a runner lets it pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, *milliseconds: float) -> Callable[[], np.ndarray]:
        """A runner that takes so long, call by call, and then again as long as the first time."""
        waits: list[float] = []

        def work() -> np.ndarray:
            if not waits:
                waits.extend(milliseconds)
            self.now += waits.pop(0) / 1000
            return MAPS
        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process, "perf_counter", clock)
    return clock


def same(maps: object) -> object:
    return maps


def test_times_as_fast_is_taken_within_a_round(clock: Clock) -> None:
    """Both are three times as slow in one round: that says nothing about either."""
    ours = clock.taking(1, 3, 1)
    peers = [Runner("slow", clock.taking(4, 12, 4), least=4.0), Runner("fast", clock.taking(0.5), least=1.0)]
    found = run(Race("row", "setting", 2, ours, peers), Effort(warm_ups=0, rounds=3))
    assert found["ms"][OURS] == {"median": 1, "low": 1, "high": 2}
    assert found["against"]["slow"] == {"median": 4, "low": 4, "high": 4, "difference": None, "least": 4.0,
                                        "met": True}
    assert found["against"]["fast"]["median"] == 0.5 and not found["against"]["fast"]["met"]
    assert (found["setting"], found["images"]) == ("setting", 2)


def test_rounds_that_warm_up_do_not_count(clock: Clock) -> None:
    ours = clock.taking(100, 1, 1)
    found = run(Race("row", "setting", 1, ours, [Runner("peer", clock.taking(2))]), Effort(1, 2))
    assert found["ms"][OURS]["high"] == 1 and "met" not in found["against"]["peer"]


def test_how_far_maps_are_apart_is_a_share_of_the_largest_value() -> None:
    apart = Runner("peer", lambda: torch.from_numpy(MAPS) + 0.002, same)
    race = Race("row", "setting", 1, lambda: MAPS, [apart], tolerance=1e-3)
    assert difference(race, apart) == pytest.approx(0.0005)
    assert difference(race, Runner("without maps", lambda: None)) is None


@pytest.mark.parametrize("theirs, said", [
    (MAPS + 0.02, r"maps of peer differ from ours by 5\.0e-03 of the largest value, more than 1e-03"),
    (MAPS * np.nan, "differ from ours by nan"),
    (MAPS[:1], r"maps of peer are \(1, 2\), ours \(2, 2\)"),
])
def test_what_is_not_the_same_is_not_timed(theirs: np.ndarray, said: str) -> None:
    timed: list[int] = []

    def work() -> np.ndarray:
        timed.append(1)
        return theirs

    race = Race("row", "a setting", 1, lambda: MAPS, [Runner("peer", work, same)], tolerance=1e-3)
    with pytest.raises(Problem, match=f"^row, a setting: .*{said}"):
        run(race, Effort(0, 5))
    assert len(timed) == 1


def test_maps_that_are_zero_everywhere_prove_nothing() -> None:
    zeros = np.zeros((2, 2))
    race = Race("row", "setting", 1, lambda: zeros, [Runner("peer", lambda: zeros, same)])
    with pytest.raises(Problem, match="our maps are zero everywhere"):
        run(race, Effort(0, 1))


def test_quartiles_to_four_digits() -> None:
    assert quartiles([1.23456, 1.23456]) == {"median": 1.235, "low": 1.235, "high": 1.235}
    assert quartiles([1, 2, 3, 4, 5]) == {"median": 3, "low": 2, "high": 4}
