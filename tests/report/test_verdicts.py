"""Every kind of claim on numbers small enough to judge by hand."""
from typing import Any

import pytest

from lib.report.claim_file import Claim
from lib.report.paper import Paper
from lib.report.verdicts import Cell, Outcome, judge_cell

Value = tuple[float, float, float]
TABLE1 = {"pascal_s": {"rcam": {"ois": "0.773", "mae": "0.276"}}}
PAPER = Paper(key="rcam", title="t", content={"table1": TABLE1})


def claim(kind: str, metric: str = "ois", **more: Any) -> Claim:
    fields = {"row": "a", **more}
    return Claim(id="c", entry="c", paper=PAPER, kind=kind, in_words="s", statement="s", where="w",
                 notebook="rcam", table="table1", metric=metric, **fields)


def judge(asked: Claim, comparisons: dict[str, Value] | None = None, rows: dict[str, Value] | None = None,
          dataset: str = "pascal_s") -> Outcome:
    """The outcome of a claim where all that was measured is in its metric."""
    def entries(values: dict[str, Value] | None) -> dict[str, Any]:
        found = {}
        for name, (mean, low, high) in (values or {}).items():
            found[name] = {asked.metric: {"mean": mean, "low": low, "high": high}}
        return found
    return judge_cell(asked, Cell(dataset, entries(rows), entries(comparisons)))


@pytest.mark.parametrize("gap, verdict", [
    ((0.03, 0.02, 0.04), "holds"), ((0.01, -0.01, 0.03), "unclear"), ((-0.03, -0.04, -0.02), "fails"),
    ((0.02, 0.0, 0.04), "unclear"), ((0.0, 0.0, 0.0), "unclear"), ((-0.02, -0.04, 0.0), "unclear")])
def test_ordering(gap: Value, verdict: str) -> None:
    assert judge(claim("ordering", others=("b",)), {"a - b": gap}).verdict == verdict


def test_ordering_turns_round_where_lower_is_better() -> None:
    asked = claim("ordering", "mae", others=("b",))
    found = judge(asked, {"a - b": (-0.03, -0.04, -0.02)})
    assert found.verdict == "holds" and found.ours == (-0.03, -0.04, -0.02)   # shown as it was measured
    assert judge(asked, {"a - b": (0.03, 0.02, 0.04)}).verdict == "fails"


def test_ordering_reads_the_pair_in_either_order() -> None:
    found = judge(claim("ordering", others=("b",)), {"b - a": (-0.031, -0.038, -0.024)})
    assert found.verdict == "holds" and found.ours == (0.031, 0.024, 0.038)
    assert found.note == "difference a - b 0.031 [0.024, 0.038]"


def test_ordering_against_several_is_as_good_as_the_weakest() -> None:
    pairs = {"a - b": (0.03, 0.02, 0.04), "a - c": (0.01, -0.01, 0.03), "a - d": (0.05, 0.04, 0.06)}
    found = judge(claim("ordering", others=("b", "c", "d")), pairs)
    assert (found.verdict, found.ours) == ("unclear", (0.01, -0.01, 0.03))
    assert "the least favourable of 3" in found.note
    assert judge(claim("ordering", others=("b", "d")), pairs).verdict == "holds"
    failing = pairs | {"a - d": (-0.005, -0.006, -0.004)}
    assert judge(claim("ordering", others=("b", "c", "d")), failing).verdict == "fails"


def test_the_verdict_goes_before_the_size_of_the_difference() -> None:
    pairs = {"a - b": (0.3, -0.1, 0.7), "a - c": (0.01, 0.005, 0.015)}
    found = judge(claim("ordering", others=("b", "c")), pairs)
    assert (found.verdict, found.ours) == ("unclear", (0.3, -0.1, 0.7))


def test_the_least_favourable_where_lower_is_better() -> None:
    pairs = {"a - b": (-0.3, -0.4, -0.2), "a - c": (-0.03, -0.04, -0.02)}
    assert judge(claim("ordering", "mae", others=("b", "c")), pairs).ours == (-0.03, -0.04, -0.02)


@pytest.mark.parametrize("gap, verdict", [
    ((0.0, -0.005, 0.005), "holds"), ((0.0, -0.0051, 0.005), "unclear"), ((-0.02, -0.03, -0.0051), "fails"),
    ((-0.02, -0.03, -0.005), "unclear"), ((0.0, 0.0, 0.0), "holds")])
def test_at_least_allows_its_margin(gap: Value, verdict: str) -> None:
    pairs = {"a - b": gap, "a - c": (0.3, 0.2, 0.4)}
    found = judge(claim("at_least", others=("b", "c"), margin=0.005), pairs)
    assert (found.verdict, found.ours) == (verdict, gap)


@pytest.mark.parametrize("gap, verdict", [
    ((-0.02, -0.03, -0.01), "holds"), ((0.0, -0.005, 0.005), "holds"), ((0.002, -0.01, 0.014), "unclear"),
    ((0.02, 0.0051, 0.03), "fails"), ((0.02, 0.005, 0.03), "unclear"), ((0.0, 0.0, 0.0), "holds")])
def test_not_better(gap: Value, verdict: str) -> None:
    assert judge(claim("not_better", others=("b",), margin=0.005), {"a - b": gap}).verdict == verdict


def test_not_better_names_the_row_it_comes_closest_to_beating() -> None:
    pairs = {"a - b": (-0.2, -0.3, -0.1), "a - c": (-0.02, -0.03, -0.01)}
    found = judge(claim("not_better", others=("b", "c")), pairs)
    assert found.verdict == "holds" and found.note.startswith("difference a - c")


@pytest.mark.parametrize("ratio, verdict", [
    ((1.20, 1.14, 1.26), "holds"), ((1.13, 1.10, 1.16), "unclear"), ((1.05, 1.01, 1.12), "fails"),
    ((0.95, 0.9, 1.0), "fails")])
def test_gain(ratio: Value, verdict: str) -> None:
    found = judge(claim("gain", base="b", minimum=13), {"a / b": ratio})
    assert found.verdict == verdict
    assert found.ours == pytest.approx([100 * (r - 1) for r in ratio])


def test_gain_that_just_reaches_the_minimum_holds() -> None:
    assert judge(claim("gain", base="b", minimum=50), {"a / b": (1.75, 1.5, 2.0)}).verdict == "holds"
    assert judge(claim("gain", base="b", minimum=50), {"a / b": (1.25, 1.0, 1.5)}).verdict == "unclear"


def test_gain_where_lower_is_better_is_a_reduction() -> None:
    found = judge(claim("gain", "mae", base="b", minimum=10), {"a / b": (0.75, 0.5, 0.875)})
    assert (found.verdict, found.ours) == ("holds", (25, 12.5, 50))


@pytest.mark.parametrize("value, verdict", [
    ((70, 60, 80), "holds"), ((62, 55, 69), "unclear"), ((75, 65, 85), "unclear"), ((50, 40, 59.9), "fails"),
    ((90, 80.1, 99), "fails"), ((70, 50, 90), "unclear")])
def test_share(value: Value, verdict: str) -> None:
    found = judge(claim("share", "share", minimum=60, maximum=80), rows={"a": value})
    assert (found.verdict, found.ours) == (verdict, value)


def test_optimum_is_judged_against_every_setting_compared() -> None:
    best = {"a - b": (0.03, 0.02, 0.04), "c - a": (-0.05, -0.06, -0.04), "b - c": (-0.9, -1, -0.8),
            "a / b": (1.1, 1.0, 1.2)}
    assert judge(claim("optimum"), best).verdict == "holds"
    assert judge(claim("optimum"), best).ours == (0.03, 0.02, 0.04)
    assert judge(claim("optimum"), best | {"a - d": (0.001, -0.01, 0.01)}).verdict == "unclear"
    assert judge(claim("optimum", margin=0.02), best | {"a - d": (0.001, -0.01, 0.01)}).verdict == "holds"
    assert judge(claim("optimum"), best | {"d - a": (0.02, 0.01, 0.03)}).verdict == "fails"
    assert judge(claim("optimum"), {"b - c": (0.9, 0.8, 1)}).verdict == "not run"


@pytest.mark.parametrize("value, verdict", [   # the paper's rCAM on Pascal-S: OIS 0.773
    ((0.77, 0.764, 0.78), "holds"), ((0.76, 0.75, 0.77), "unclear"), ((0.7, 0.68, 0.76), "fails"),
    ((0.9, 0.88, 0.92), "holds")])
def test_value(value: Value, verdict: str) -> None:
    assert judge(claim("value", row="rcam", tolerance=0.01), rows={"rcam": value}).verdict == verdict


@pytest.mark.parametrize("value, verdict", [   # the paper's rCAM on Pascal-S: MAE 0.276
    ((0.2, 0.18, 0.22), "holds"), ((0.28, 0.27, 0.29), "unclear"), ((0.4, 0.3, 0.5), "fails")])
def test_value_where_lower_is_better(value: Value, verdict: str) -> None:
    assert judge(claim("value", "mae", row="rcam", tolerance=0.01), rows={"rcam": value}).verdict == verdict


def test_what_is_missing_was_not_run() -> None:
    assert judge(claim("ordering", others=("b",))).note == '"a - b" has no ois'
    found = judge(claim("ordering", others=("b",)), {"a - b": (float("nan"), 0.1, 0.2)})
    assert (found.verdict, found.ours) == ("not run", None)
    assert judge(claim("gain", base="b", minimum=1), {"a - b": (1, 1, 1)}).verdict == "not run"
    value = claim("value", row="rcam", tolerance=0.01)
    elsewhere = judge(value, rows={"rcam": (1, 1, 1)}, dataset="collage")
    assert (elsewhere.verdict, elsewhere.note) == ("not run", "the paper has no value for collage")


@pytest.mark.parametrize("gap, verdict", [
    ((3.6, 3.1, 4.1), "holds"), ((3.0, 3.0, 3.0), "holds"), ((8.0, 7.0, 9.0), "holds"),
    ((3.2, 2.8, 3.6), "unclear"), ((2.5, 2.0, 3.0), "unclear"), ((2.4, 1.9, 2.9), "fails"),
    ((-4.0, -5.0, -3.0), "fails")])
def test_rise(gap: Value, verdict: str) -> None:
    asked = claim("rise", "miou", base="b", minimum=3)
    found = judge(asked, {"a - b": gap})
    assert (found.verdict, found.ours) == (verdict, gap)
    mean, low, high = gap
    turned = judge(asked, {"b - a": (-mean, -high, -low)})
    assert (turned.verdict, turned.ours) == (verdict, gap)


def test_rise_where_lower_is_better_and_without_the_pair() -> None:
    drop = {"a - b": (-0.05, -0.06, -0.04)}
    assert judge(claim("rise", "mae", base="b", minimum=0.03), drop).verdict == "holds"
    assert judge(claim("rise", "mae", base="b", minimum=0.055), drop).verdict == "unclear"
    missing = judge(claim("rise", base="b", minimum=3), rows={"a": (9, 8, 10), "b": (1, 0, 2)})
    assert (missing.verdict, missing.note) == ("not run", '"a - b" has no ois')


@pytest.mark.parametrize("gap, verdict", [
    ((-0.02, -0.03, -0.01), "holds"), ((-0.02, -0.03, 0.0), "unclear"), ((0.0, 0.0, 0.0), "unclear"),
    ((0.01, -0.01, 0.03), "unclear"), ((0.02, 0.01, 0.03), "fails")])
def test_worst(gap: Value, verdict: str) -> None:
    found = judge(claim("worst", others=("b", "c")), {"a - b": gap, "c - a": (0.9, 0.8, 1.0)})
    assert (found.verdict, found.ours) == (verdict, gap)


def test_worst_names_the_row_it_comes_closest_to() -> None:
    pairs = {"a - b": (-0.2, -0.3, -0.1), "a - c": (-0.02, -0.03, -0.01), "a - d": (-0.4, -0.5, -0.3)}
    assert judge(claim("worst", others=("b", "c", "d")), pairs).note.startswith("difference a - c")
    lower = {name: (-mean, -high, -low) for name, (mean, low, high) in pairs.items()}
    found = judge(claim("worst", "mae", others=("b", "c", "d")), lower)
    assert found.verdict == "holds" and found.note.startswith("difference a - c")
    assert judge(claim("worst", others=("b", "e")), pairs).verdict == "not run"


def test_an_optimum_need_not_beat_its_neighbours() -> None:
    pairs = {"a - b": (0.03, 0.02, 0.04), "c - a": (0.05, 0.04, 0.06), "a - d": (0.0, -0.01, 0.01)}
    assert judge(claim("optimum"), pairs).verdict == "fails"
    assert judge(claim("optimum", neighbours=("c",)), pairs).verdict == "unclear"
    beside = judge(claim("optimum", neighbours=("c", "d", "absent")), pairs)
    assert (beside.verdict, beside.ours) == ("holds", (0.03, 0.02, 0.04))
    assert judge(claim("optimum", neighbours=("b", "c", "d")), pairs).verdict == "not run"
