"""The search for open constants: every combination once, scored as the method itself scores it, the best one found."""
from dataclasses import replace

import pytest

from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.metrics.scoring import Scored, score
from lib.papers.rcam.constants import best, crf_grid, filter_grid, goal, search_crf, search_filter
from lib.papers.rcam.method import rcam
from lib.papers.rcam.settings import RcamConstants, RcamSettings
from lib.refine.settings import CrfSettings

GRID = RcamConstants(eps=[0.001, 0.1], windows=["radius", "diameter"], lag_components=[1, 3], max_lags=[0.25, 0.5], theta_betas=[3, 8],
                     theta_alphas=[80, 160], weights=[(1.0, 1.0), (5.0, 3.0)], tails=["dilated"])


def means(scored: Scored) -> dict[str, dict[str, float]]:
    return {row: {metric: entry["mean"] for metric, entry in values.items()} for row, values in scored.table([], Chance(1, 0.95, 0))[0].items()}


def row(ois: float, ods: float) -> dict[str, dict[str, float]]:
    return {"ois": {"mean": ois}, "ods": {"mean": ods}, "mae": {"mean": 0.9}}


def test_the_goal_by_hand() -> None:
    assert goal(row(0.7, 0.5)) == pytest.approx(0.6)
    assert best({"a": row(0.9, 0.1), "b": row(0.6, 0.6), "c": row(0.5, 0.6)}) == "b"
    assert best({"a": row(0.5, 0.5), "b": row(0.6, 0.4)}) == "a"   # the first of equals


def test_every_combination_of_the_filter(settings: RcamSettings) -> None:
    found = filter_grid(GRID, settings)
    assert len(found) == 2 * 2 * 2 * 2 == len(set(found.values()))
    assert found["diameter, lag 0.25, 3 comp., eps 0.1"] == replace(settings, window="diameter", max_lag=0.25, lag_components=3, eps=0.1)


def test_every_combination_of_the_crf(settings: RcamSettings) -> None:
    found = crf_grid(GRID, settings.crf)
    assert len(found) == 2 * 2 * 2 == len(set(found.values()))
    usual = settings.crf
    assert found["alpha 80, beta 3, weights 5/3"] == CrfSettings(80, 3, usual.theta_gamma, bilateral=5, spatial=3, iterations=usual.iterations)


def test_the_filter_is_scored_as_the_method(network, samples: list[Sample], settings: RcamSettings) -> None:
    grid = {"one": replace(settings, eps=0.001, window="diameter"), "other": replace(settings, eps=1.0, lag_components=3)}
    found = means(search_filter(network, samples[:3], grid, batch=2))
    assert list(found) == ["one", "other", "cam1"]
    for name, s in grid.items():
        expected = means(score(samples[:3], 1, lambda part: rcam(network, [p.photo() for p in part], s).maps, "test"))
        assert found[name] == pytest.approx(expected["rcam3"], abs=2e-3) and found["cam1"] == pytest.approx(expected["cam1"], abs=2e-3)
    assert found["one"] != pytest.approx(found["other"], abs=2e-3)


def test_the_crf_is_scored_as_the_method(network, samples: list[Sample], settings: RcamSettings) -> None:
    grid = {"one": replace(settings.crf, bilateral=3), "other": replace(settings.crf, spatial=3, iterations=5)}
    found = means(search_crf(network, samples[:3], settings, grid, batch=2))
    assert list(found) == ["one", "other", "rcam3"]
    for name, chosen in grid.items():
        expected = means(score(samples[:3], 1, lambda part: rcam(network, [p.photo() for p in part], replace(settings, crf=chosen)).maps, "test"))
        assert found[name] == pytest.approx(expected["rcam"], abs=2e-3) and found["rcam3"] == pytest.approx(expected["rcam3"], abs=2e-3)
    assert found["one"] != pytest.approx(found["other"], abs=2e-3)
