"""The tables of the rCAM notebooks: which rows they have, and that each row is the method it names."""
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.metrics.scoring import Scored, score
from lib.papers.rcam import tables as rcam_tables
from lib.papers.rcam.box import rcam_box
from lib.papers.rcam.method import crf, rcam
from lib.papers.rcam.settings import RcamScales, RcamSettings
from lib.papers.rcam.tables import PAIRS, open_network, scales, table1, table2, usual_rows

GRID = RcamScales(sizes=[(64,), (64, 128), (128, 64), (64, 96, 128)], guide_strides=[4, 8, 16], radii=[1, 3], crf_iterations=[1, 2])


def means(scored: Scored) -> dict[str, dict[str, float]]:
    return {row: {metric: entry["mean"] for metric, entry in values.items()} for row, values in scored.table([], Chance(1, 0.95, 0))[0].items()}


def scored(samples: list[Sample], method: Callable[[list], dict]) -> dict[str, dict[str, float]]:
    """Scores of a method that is given photographs, one image at a time."""
    return means(score(samples, 1, lambda part: method([s.photo() for s in part]), "test"))


def close(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    return ours == pytest.approx(theirs, abs=2e-3)


@pytest.fixture(scope="module")
def first(network, samples: list[Sample], settings: RcamSettings) -> tuple[Scored, int]:
    return table1(network, samples, settings, batch=4)


@pytest.fixture(scope="module")
def ablations(network, samples: list[Sample], settings: RcamSettings) -> dict[str, Scored]:
    return scales(network, samples[:3], settings, GRID, batch=2)


def test_table_1_has_the_papers_rows_and_the_cited_crf(network, samples: list[Sample], settings: RcamSettings, first: tuple[Scored, int]) -> None:
    found, failed = first
    assert list(found.curves) == ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam", "rcam_cited"]
    assert found.dropped == 1 and len(found.ids) == 5

    def rows(photos: list) -> dict:
        maps = rcam(network, photos, settings).maps
        return maps | {"rcam_cited": crf(photos, maps["rcam3"], settings.crf_cited)}

    expected = scored(samples, rows)
    assert all(close(values, expected[row]) for row, values in means(found).items())
    assert not close(expected["rcam"], expected["rcam_cited"])
    assert failed == sum(bool(rcam(network, [s.photo()], settings).failed) for s in samples)


def test_table_1_twice_is_identical(network, samples: list[Sample], settings: RcamSettings, first: tuple[Scored, int]) -> None:
    again, failed = table1(network, samples, settings, batch=4)
    assert again.table(PAIRS, 100, 0.95, 0) == first[0].table(PAIRS, 100, 0.95, 0) and failed == first[1]


def test_pairs_name_rows_of_the_tables(first: tuple[Scored, int]) -> None:
    rows = {*first[0].curves, "rcam_box"}
    assert {row for pair in PAIRS for row in pair} <= rows and len(set(PAIRS)) == len(PAIRS)
    assert list(first[0].table(PAIRS, 100, 0.95, 0)[1])[:2] == ["rcam1 - cam1", "rcam1 / cam1"]


def test_failures_of_the_variogram_are_counted(network, samples: list[Sample], settings: RcamSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def some_fail(*args) -> object:
        found = rcam(*args)
        return found._replace(failed=torch.arange(len(found.classes)) % 2 == 0)
    monkeypatch.setattr(rcam_tables, "rcam", some_fail)
    assert table1(network, samples, settings, batch=4)[1] == 3   # two of four, one of two


def test_table_2(network, samples: list[Sample], settings: RcamSettings, first: tuple[Scored, int]) -> None:
    found = means(table2(network, samples[:3], settings, batch=2))
    assert list(found) == ["rcam", "rcam_box"]
    expected = scored(samples[:3], lambda photos: {"rcam": rcam(network, photos, settings).maps["rcam"],
                                                   "rcam_box": rcam_box(network, photos, settings)})
    assert all(close(found[row], expected[row]) for row in found) and not close(found["rcam"], found["rcam_box"])


def test_ablations_have_a_row_for_every_choice(ablations: dict[str, Scored]) -> None:
    assert {table: list(found.curves) for table, found in ablations.items()} == {
        "input_sizes": ["64", "64 + 128", "128 + 64", "64 + 96 + 128"], "guide_level": ["16", "8", "4"],
        "window": ["variogram", "radius 1", "radius 3"], "crf": ["none", "chosen", "cited"], "crf_iterations": ["1", "2"]}
    assert all(len(found.ids) == 2 and found.dropped == 1 for found in ablations.values())


def test_ablations_are_the_method_with_one_thing_changed(network, samples: list[Sample], settings: RcamSettings,
                                                         ablations: dict[str, Scored]) -> None:
    """Each row from its own settings and its own look at the images."""
    def row(name: str, **change: object) -> dict[str, float]:
        return scored(samples[:3], lambda photos: {name: rcam(network, photos, replace(settings, **change)).maps[name]})[name]

    found = {table: means(rows) for table, rows in ablations.items()}
    wanted = {("input_sizes", "64"): row("rcam3", sizes=(64,)), ("input_sizes", "128 + 64"): row("rcam3", sizes=(128, 64)),
              ("input_sizes", "64 + 96 + 128"): row("rcam3", sizes=(64, 96, 128)), ("guide_level", "16"): row("rcam3", guide_stride=4),
              ("guide_level", "4"): row("rcam3", guide_stride=16), ("window", "radius 1"): row("rcam3", window=1),
              ("window", "radius 3"): row("rcam3", window=3), ("crf", "none"): row("rcam3"), ("crf", "chosen"): row("rcam"),
              ("crf", "cited"): row("rcam", crf=settings.crf_cited), ("crf_iterations", "1"): row("rcam", crf=replace(settings.crf, iterations=1))}
    wrong = [key for key, expected in wanted.items() if not close(found[key[0]][key[1]], expected)]
    assert not wrong
    for table, one, other in (("input_sizes", "64", "128 + 64"), ("window", "radius 1", "radius 3")):
        assert not close(found[table][one], found[table][other])


def test_the_usual_rows_are_the_method(settings: RcamSettings, ablations: dict[str, Scored]) -> None:
    usual = usual_rows(settings)
    assert usual == {"input_sizes": "64 + 128", "guide_level": "8", "window": "variogram", "crf": "chosen", "crf_iterations": "2"}
    found = {table: means(ablations[table])[row] for table, row in usual.items()}
    assert found["input_sizes"] == found["guide_level"] == found["window"] == means(ablations["crf"])["none"]
    assert found["crf"] == found["crf_iterations"]


def test_the_tail_is_googlenets_alone(settings: RcamSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(rcam_tables, "load_network", lambda name, **options: asked.append((name, options)) or torch.nn.Conv2d(3, 4, 3))
    opened = open_network("googlenet_bvlc", replace(settings, googlenet_tail="undilated"))
    open_network("efficientnet_lite0", settings)
    assert asked == [("googlenet_bvlc", {"tail": "undilated"}), ("efficientnet_lite0", {})]
    assert opened.weight.is_contiguous(memory_format=torch.channels_last)
