"""The tables of the rCAM notebooks: which rows they have, and that each row is the method it names."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch

from lib.base.parallel import device
from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.metrics.scoring import Scored, score
from lib.papers.rcam import tables
from lib.papers.rcam.box import rcam_box
from lib.papers.rcam.method import Rcam, crf, rcam
from lib.papers.rcam.settings import RcamScales, RcamSettings
from lib.papers.rcam.tables import PAIRS, ablations, open_network, table1, table2, usual_rows

GRID = RcamScales(
    sizes=[(64,), (64, 128), (128, 64), (64, 96, 128)],
    guide_strides=[4, 8, 16],
    radii=[1, 3],
    crf_iterations=[1, 2],
)
CHANCE = Chance(100, 0.95, 0)

Means = dict[str, dict[str, float]]   # row -> metric -> value


def means(scored: Scored) -> Means:
    rows, _ = scored.table([], Chance(1, 0.95, 0))
    of_rows = {}
    for row, entries in rows.items():
        of_rows[row] = {metric: entry["mean"] for metric, entry in entries.items()}
    return of_rows


def one_by_one(samples: list[Sample], method: Callable[[list], Mapping]) -> Means:
    """Scores of a method that is given photographs, one image at a time."""
    def maps(part: Sequence[Sample]) -> dict[str, torch.Tensor]:
        return method([sample.photo() for sample in part])

    return means(score(samples, 1, lambda: maps, "test"))


def close(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    return ours == pytest.approx(theirs, abs=2e-3)


@pytest.fixture(scope="module")
def first(network, samples: list[Sample], settings: RcamSettings) -> tuple[Scored, int]:
    return table1(network, samples, settings, batch=4)


@pytest.fixture(scope="module")
def ablated(network, samples: list[Sample], settings: RcamSettings) -> dict[str, Scored]:
    return ablations(network, samples[:3], settings, GRID, batch=2)


def test_table_1_has_the_papers_rows_and_the_cited_crf(network, samples: list[Sample], settings: RcamSettings,
                                                       first: tuple[Scored, int]) -> None:
    scored, failed = first
    assert list(scored.curves) == ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam", "rcam_cited"]
    assert scored.dropped == 1 and len(scored.ids) == 5

    def rows(photos: list) -> Mapping:
        maps = rcam(network, photos, settings).maps
        return maps | {"rcam_cited": crf(photos, maps["rcam3"], settings.crf_cited)}

    expected = one_by_one(samples, rows)
    for row, values in means(scored).items():
        assert close(values, expected[row]), row
    assert not close(expected["rcam"], expected["rcam_cited"])
    assert failed == sum(bool(rcam(network, [sample.photo()], settings).failed) for sample in samples)


def test_table_1_twice_is_identical(network, samples: list[Sample], settings: RcamSettings,
                                    first: tuple[Scored, int]) -> None:
    again, failed = table1(network, samples, settings, batch=4)
    scored, failed_before = first
    assert again.table(PAIRS, CHANCE) == scored.table(PAIRS, CHANCE)
    assert failed == failed_before


def test_pairs_name_rows_of_the_tables(first: tuple[Scored, int]) -> None:
    scored, _ = first
    rows = {*scored.curves, "rcam_box"}
    assert {row for pair in PAIRS for row in pair} <= rows
    assert len(set(PAIRS)) == len(PAIRS)
    _, comparisons = scored.table(PAIRS, CHANCE)
    assert list(comparisons)[:2] == ["rcam1 - cam1", "rcam1 / cam1"]


def test_failures_of_the_variogram_are_counted(network, samples: list[Sample], settings: RcamSettings,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    def some_fail(*given) -> Rcam:
        ours = rcam(*given)
        return ours._replace(failed=torch.arange(len(ours.classes)) % 2 == 0)

    monkeypatch.setattr(tables, "rcam", some_fail)
    assert table1(network, samples, settings, batch=4)[1] == 3   # two of four, one of two


def test_table_2(network, samples: list[Sample], settings: RcamSettings) -> None:
    def rows(photos: list) -> Mapping:
        return {"rcam": rcam(network, photos, settings).maps["rcam"],
                "rcam_box": rcam_box(network, photos, settings)}

    scores = means(table2(network, samples[:3], settings, batch=2))
    assert list(scores) == ["rcam", "rcam_box"]
    expected = one_by_one(samples[:3], rows)
    assert all(close(scores[row], expected[row]) for row in scores)
    assert not close(scores["rcam"], scores["rcam_box"])


def test_ablations_have_a_row_for_every_choice(ablated: dict[str, Scored]) -> None:
    assert {table: list(scored.curves) for table, scored in ablated.items()} == {
        "input_sizes": ["64", "64 + 128", "128 + 64", "64 + 96 + 128"],
        "guide_level": ["16", "8", "4"],
        "window": ["variogram", "radius 1", "radius 3"],
        "crf": ["none", "chosen", "cited"],
        "crf_iterations": ["1", "2"],
    }
    assert all(len(scored.ids) == 2 and scored.dropped == 1 for scored in ablated.values())


@pytest.mark.parametrize("table, row, method_row, change", [
    ("input_sizes", "64", "rcam3", {"sizes": (64,)}),
    ("input_sizes", "128 + 64", "rcam3", {"sizes": (128, 64)}),
    ("input_sizes", "64 + 96 + 128", "rcam3", {"sizes": (64, 96, 128)}),
    ("guide_level", "16", "rcam3", {"guide_stride": 4}),
    ("guide_level", "4", "rcam3", {"guide_stride": 16}),
    ("window", "radius 1", "rcam3", {"window": 1}),
    ("window", "radius 3", "rcam3", {"window": 3}),
    ("crf", "none", "rcam3", {}),
    ("crf", "chosen", "rcam", {}),
])
def test_ablations_change_one_thing(network, samples: list[Sample], settings: RcamSettings,
                                    ablated: dict[str, Scored], table: str, row: str,
                                    method_row: str, change: dict) -> None:
    """Each row from its own settings and its own forward pass."""
    changed = replace(settings, **change)
    expected = one_by_one(samples[:3], lambda photos: rcam(network, photos, changed).maps)[method_row]
    assert close(means(ablated[table])[row], expected)


def test_ablations_of_the_crf(network, samples: list[Sample], settings: RcamSettings,
                              ablated: dict[str, Scored]) -> None:
    cited = replace(settings, crf=settings.crf_cited)
    expected = one_by_one(samples[:3], lambda photos: rcam(network, photos, cited).maps)["rcam"]
    assert close(means(ablated["crf"])["cited"], expected)
    once = replace(settings, crf=replace(settings.crf, iterations=1))
    expected = one_by_one(samples[:3], lambda photos: rcam(network, photos, once).maps)["rcam"]
    assert close(means(ablated["crf_iterations"])["1"], expected)


@pytest.mark.parametrize("table, one, other", [
    ("input_sizes", "64", "128 + 64"),
    ("window", "radius 1", "radius 3"),
])
def test_ablations_differ(ablated: dict[str, Scored], table: str, one: str, other: str) -> None:
    scores = means(ablated[table])
    assert not close(scores[one], scores[other])


def test_the_usual_rows_are_the_method(settings: RcamSettings, ablated: dict[str, Scored]) -> None:
    usual = usual_rows(settings)
    assert usual == {"input_sizes": "64 + 128", "guide_level": "8", "window": "variogram",
                     "crf": "chosen", "crf_iterations": "2"}
    scores = {table: means(ablated[table])[row] for table, row in usual.items()}
    before_crf = means(ablated["crf"])["none"]
    assert scores["input_sizes"] == scores["guide_level"] == scores["window"] == before_crf
    assert scores["crf"] == scores["crf_iterations"]


def test_the_tail_is_googlenets_alone(settings: RcamSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, **options: str) -> torch.nn.Module:
        asked.append((name, options))
        network = torch.nn.Conv2d(3, 4, 3)
        network.weights, network.random = {"file": "some"}, ()
        return network

    monkeypatch.setattr(tables, "load_network", load)
    opened = open_network("googlenet_bvlc", replace(settings, googlenet_tail="undilated"))
    open_network("efficientnet_lite0", settings)
    assert asked == [("googlenet_bvlc", {"tail": "undilated"}), ("efficientnet_lite0", {})]
    assert opened.weight.is_contiguous(memory_format=torch.channels_last)
    assert opened.weight.device == device()
