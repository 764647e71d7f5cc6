"""IAM's table 2: sums of parts; and that both ways to peak response maps that are timed give the same."""
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from iam_toys import NETWORK, SETTINGS, toy_fcn, toy_filling, toy_photo
from torch import Tensor

from lib.base.problem import Problem
from lib.maps.peak_response import peak_response_maps, trace
from lib.maps.peaks import Peaks
from lib.metrics.bootstrap import Chance
from lib.papers.iam import prm_speed, speed
from lib.papers.iam.method import padded_squares
from lib.papers.iam.prm_speed import hooked, measure, one_by_one
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.speed import peaks_at_once, seconds, table2, top_peaks
from lib.papers.iam.trained import Trained

CHANCE = Chance(20, 0.95, 0)
TIMES = {"2 peaks in one pass": 40.0, "2 peaks, one backward pass each": 120.0, "one pass: forward": 25.0,
         "one backward pass each: all of them": 90.0,
         "one backward pass each: all of them, on the graph of one pass": 60.0}


def trained() -> Trained:
    return Trained(None, toy_fcn(), {FillingJob(5, 0): toy_filling()}, NETWORK, SETTINGS, None)


def sample(id: str = "a", seed: int = 1) -> SimpleNamespace:
    return SimpleNamespace(id=id, photo=lambda: toy_photo(("red", "blue"), seed)[0])


def test_the_highest_peaks_of_any_class() -> None:
    """In scan order by class; a class may have none among them."""
    maps = torch.zeros(1, 3, 7, 7)
    maps[0, 0, 1, 1] = 3
    maps[0, 0, 5, 5] = 9
    maps[0, 1, 3, 3] = 1
    maps[0, 2, 2, 4] = 5
    maps[0, 2, 6, 0] = 7
    found = top_peaks(maps, 3)
    assert found.label.tolist() == [0, 2, 2] and found.row.tolist() == [5, 2, 6]
    assert found.column.tolist() == [5, 4, 0]
    assert found.value.tolist() == [9, 5, 7] and found.image.tolist() == [0] * 3
    assert top_peaks(maps, 4).value.tolist() == [3, 9, 5, 7]
    assert len(top_peaks(maps - 100, 2)) == 2   # also where all is negative


def means(rows: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """The first of every row's draws."""
    found: dict[str, dict[str, float]] = {}
    for row, metrics in rows.items():
        found[row] = {metric: float(values[0]) for metric, values in metrics.items()}
    return found


def test_totals_are_sums_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"a": {"shared": 1.0, "filling": 0.5, "crf": 0.25, "extraction": 8.0, "retrieval": 2.0},
             "b": {"shared": 3.0, "filling": 1.5, "crf": 0.75, "extraction": 16.0, "retrieval": 4.0}}
    monkeypatch.setattr(speed, "seconds", lambda trained, one: parts[one.id])
    found = table2(None, [SimpleNamespace(id="a"), SimpleNamespace(id="b")], CHANCE)
    assert means(found) == {
        "prm": {"feed_forward": 2, "proposal_extraction": 12, "proposal_retrieval": 3, "total": 17,
                "without_shared": 15},
        "iam": {"feed_forward": 3, "crf": 0.5, "total": 3.5, "without_shared": 1.5}}
    for row in found.values():   # in every draw
        named = [values for metric, values in row.items() if metric not in ("total", "without_shared")]
        assert np.allclose(row["total"], sum(named))
        assert np.allclose(row["total"] - row["without_shared"], found["prm"]["feed_forward"])
        assert row["total"].shape == (21,) and row["total"].std() > 0


def test_every_stage_is_timed_and_the_first_round_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which actions take what is written here alone: 100 in the first round, then 1, 3, 2."""
    photo, numbers, _ = toy_photo(("red", "blue"), 1)
    rounds = iter([length for length in (100, 1, 3, 2) for _ in range(5)])
    now, started = [0.0], [False]

    def clock() -> float:
        if started[0]:
            now[0] += next(rounds)
        started[0] = not started[0]
        return now[0]

    monkeypatch.setattr(speed, "proposals", lambda small: np.stack([numbers == 1, numbers == 3]))
    monkeypatch.setattr(speed, "perf_counter", clock)
    found = seconds(trained(), SimpleNamespace(photo=lambda: photo))
    assert found == dict.fromkeys(("shared", "filling", "crf", "extraction", "retrieval"), 2.0)


def peaks_of_both(rgb: Tensor) -> Peaks:
    """The four highest of each of two images."""
    first, second = (top_peaks(toy_fcn().score_maps(one[None]), 4) for one in rgb)
    second = replace(second, image=second.image + 1)
    both = {}
    for field in fields(Peaks):
        both[field.name] = torch.cat([getattr(first, field.name), getattr(second, field.name)])
    return Peaks(**both)


def test_both_ways_lead_to_the_same_maps() -> None:
    """Two images; the original code's graph, and that of one pass walked peak by peak."""
    fcn = toy_fcn()
    photos = [toy_photo(labels, seed)[0] for labels, seed in ((("red", "blue"), 1), (("green",), 4))]
    rgb = padded_squares(fcn, photos, 64)
    peaks = peaks_of_both(rgb)
    expected = peak_response_maps(fcn, rgb, peaks)
    assert expected.shape == (8, 64, 64) and torch.allclose(expected.sum((1, 2)), torch.ones(8))
    assert (expected[0] - expected[4]).abs().max() > 1e-3
    with torch.enable_grad():
        traced = trace(fcn, rgb)
    for image, scores in (hooked(fcn, rgb), (traced.image, traced.scores)):
        assert torch.allclose(scores, fcn.score_maps(rgb), atol=1e-5)
        found = one_by_one(image, scores, peaks)
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-7)
        assert torch.equal(one_by_one(image, scores, peaks), found)   # the graph stays


def test_ratios_are_quotients_of_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    fcn = toy_fcn()
    rgb = padded_squares(fcn, [sample().photo()], 64)
    acted = []

    def medians(actions: dict) -> dict[str, float]:
        for name, action in actions.items():
            action()
            acted.append(name)
        return {name: TIMES[name] for name in actions}

    monkeypatch.setattr(prm_speed, "medians", medians)
    peaks = top_peaks(fcn.score_maps(rgb), 2)
    found = measure(fcn, rgb, peaks)
    assert sorted(acted) == sorted(TIMES) and {name: found[name] for name in TIMES} == TIMES
    assert found["one pass: down"] == 15
    assert found["times as fast, whole"] == pytest.approx(3)
    assert found["times as fast, down"] == pytest.approx(6)
    # Noise: the part seems to take longer than the whole.
    monkeypatch.setitem(TIMES, "one pass: forward", 41.0)
    assert measure(fcn, rgb, peaks)["one pass: down"] == 0.1


def test_means_over_images(monkeypatch: pytest.MonkeyPatch) -> None:
    factor = iter([1, 3])

    def medians(actions: dict) -> dict[str, float]:
        times = next(factor)
        return {name: times * TIMES[name] for name in actions}

    monkeypatch.setattr(prm_speed, "medians", medians)
    rows, details = peaks_at_once(trained(), [sample("a", 1), sample("b", 2)], 2, CHANCE)
    assert means(rows) == {"one_pass": {"whole_ms": 80, "down_ms": 30},
                           "one_by_one": {"whole_ms": 240, "down_ms": 180}}
    assert details["2 peaks in one pass"] == 40


def test_an_image_with_too_few_peaks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prm_speed, "medians", lambda actions: dict.fromkeys(actions, 1.0))
    with pytest.raises(Problem, match=r'"few".*peaks'):
        peaks_at_once(trained(), [sample("few")], 1000, CHANCE)
