"""The search for open constants: every combination once, scored as the method is, the best one found."""
from dataclasses import replace

import pytest

from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.metrics.scoring import Scored, score
from lib.papers.rcam.constants import best, crf_grid, filter_grid, goal, ranked, search_crf, search_filter
from lib.papers.rcam.method import rcam
from lib.papers.rcam.settings import RcamConstants, RcamSettings
from lib.refine.settings import CrfSettings

GRID = RcamConstants(
    eps=[0.001, 0.1],
    windows=["radius", "diameter"],
    lag_components=[1, 3],
    max_lags=[0.25, 0.5],
    theta_betas=[3, 8],
    theta_alphas=[80, 160],
    weights=[(1.0, 1.0), (5.0, 3.0)],
    tails=["dilated"],
)


def means(scored: Scored) -> dict[str, dict[str, float]]:
    rows, _ = scored.table([], Chance(1, 0.95, 0))
    of_rows = {}
    for row, entries in rows.items():
        of_rows[row] = {metric: entry["mean"] for metric, entry in entries.items()}
    return of_rows


def method_means(network, samples: list[Sample], settings: RcamSettings) -> dict[str, dict[str, float]]:
    """Scores of the method itself, one image at a time."""
    def maps(part: list[Sample]) -> dict:
        return rcam(network, [sample.photo() for sample in part], settings).maps

    return means(score(samples, 1, lambda: maps, "test"))


def row(ois: float, ods: float) -> dict[str, dict[str, float]]:
    return {"ois": {"mean": ois}, "ods": {"mean": ods}, "mae": {"mean": 0.9}}


def test_the_goal_by_hand() -> None:
    assert goal(row(0.7, 0.5)) == pytest.approx(0.6)
    rows = {"a": row(0.9, 0.1), "b": row(0.6, 0.6), "c": row(0.5, 0.6)}
    assert best(rows) == "b"
    assert ranked(rows) == ["b", "c", "a"]
    assert best({"a": row(0.5, 0.5), "b": row(0.6, 0.4)}) == "a"   # the first of equals


def test_every_combination_of_the_filter(settings: RcamSettings) -> None:
    grid = filter_grid(GRID, settings)
    assert len(grid) == 2 * 2 * 2 * 2 == len(set(grid.values()))
    expected = replace(settings, window="diameter", max_lag=0.25, lag_components=3, eps=0.1)
    assert grid["diameter, lag 0.25, 3 comp., eps 0.1"] == expected


def test_every_combination_of_the_crf(settings: RcamSettings) -> None:
    grid = crf_grid(GRID, settings.crf)
    assert len(grid) == 2 * 2 * 2 == len(set(grid.values()))
    usual = settings.crf
    expected = CrfSettings(80, 3, usual.theta_gamma, bilateral=5, spatial=3, iterations=usual.iterations)
    assert grid["alpha 80, beta 3, weights 5/3"] == expected


def test_the_filter_is_scored_as_the_method(network, samples: list[Sample], settings: RcamSettings) -> None:
    grid = {
        "one": replace(settings, eps=0.001, window="diameter"),
        "other": replace(settings, eps=1.0, lag_components=3),
    }
    scores = means(search_filter(network, samples[:3], grid, batch=2))
    assert list(scores) == ["one", "other", "cam1"]
    for name, chosen in grid.items():
        expected = method_means(network, samples[:3], chosen)
        assert scores[name] == pytest.approx(expected["rcam3"], abs=2e-3)
        assert scores["cam1"] == pytest.approx(expected["cam1"], abs=2e-3)
    assert scores["one"] != pytest.approx(scores["other"], abs=2e-3)


def test_the_crf_is_scored_as_the_method(network, samples: list[Sample], settings: RcamSettings) -> None:
    grid = {
        "one": replace(settings.crf, bilateral=3),
        "other": replace(settings.crf, spatial=3, iterations=5),
    }
    scores = means(search_crf(network, samples[:3], settings, grid, batch=2))
    assert list(scores) == ["one", "other", "rcam3"]
    for name, chosen in grid.items():
        expected = method_means(network, samples[:3], replace(settings, crf=chosen))
        assert scores[name] == pytest.approx(expected["rcam"], abs=2e-3)
        assert scores["rcam3"] == pytest.approx(expected["rcam3"], abs=2e-3)
    assert scores["one"] != pytest.approx(scores["other"], abs=2e-3)
