"""Verdicts on claims, computed from intervals; every kind of claim is one function here."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from lib.report.claim_file import Claim
from lib.report.numbers import known, with_interval
from lib.report.reported import paper_value
from lib.report.words import METRICS

HOLDS, FAILS, UNCLEAR, NOT_RUN = "holds", "fails", "unclear", "not run"
TURNED = ("not_better", "worst")   # kinds in which a row that comes out ahead is the unfavourable case


class Span(NamedTuple):
    """A mean and its interval."""
    mean: float
    low: float
    high: float

    def negated(self) -> "Span":
        return Span(-self.mean, -self.high, -self.low)

    def __str__(self) -> str:
        return with_interval(self._asdict())


@dataclass(frozen=True)
class Cell:
    """What one table holds for one dataset and network."""
    dataset: str
    rows: dict[str, Any]
    comparisons: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """A verdict with the number it rests on."""
    verdict: str
    ours: Span | None
    note: str


class Missing(Exception):
    """What a claim needs was not run; the text says what."""


def above(span: Span, bar: float) -> str:
    """Strictly above; an interval that touches the bar includes the tie."""
    return HOLDS if span.low > bar else FAILS if span.high < bar else UNCLEAR


def at_least(span: Span, bar: float) -> str:
    """Not below."""
    return HOLDS if span.low >= bar else FAILS if span.high < bar else UNCLEAR


def within(span: Span, minimum: float, maximum: float) -> str:
    """The whole interval between the bounds, or wholly outside."""
    if span.high < minimum or span.low > maximum:
        return FAILS
    return HOLDS if minimum <= span.low and span.high <= maximum else UNCLEAR


def judge_cell(claim: Claim, cell: Cell) -> Outcome:
    """The verdict on a claim for one dataset and network."""
    try:
        return _KINDS[claim.kind](claim, cell)
    except Missing as missing:
        return Outcome(NOT_RUN, None, str(missing))


def _ordering(claim: Claim, cell: Cell) -> Outcome:
    return _weakest(claim, cell, claim.others, lambda gap: above(gap, 0.0))


def _not_worse(claim: Claim, cell: Cell) -> Outcome:
    return _weakest(claim, cell, claim.others, lambda gap: at_least(gap, -claim.margin))


def _not_better(claim: Claim, cell: Cell) -> Outcome:
    return _weakest(claim, cell, claim.others, lambda gap: at_least(gap.negated(), -claim.margin))


def _worst(claim: Claim, cell: Cell) -> Outcome:
    return _weakest(claim, cell, claim.others, lambda gap: above(gap.negated(), 0.0))


def _optimum(claim: Claim, cell: Cell) -> Outcome:
    pairs = [key.split(" - ") for key in cell.comparisons if " - " in key]
    others = [b if a == claim.row else a for a, b in pairs if claim.row in (a, b)]
    rivals = [other for other in dict.fromkeys(others) if other not in claim.neighbours]
    if not rivals:
        raise Missing(f"no setting was compared with {claim.row}")
    return _weakest(claim, cell, rivals, lambda gap: above(gap, -claim.margin))


def _rise(claim: Claim, cell: Cell) -> Outcome:
    gap = _difference(cell, claim.row, claim.base, claim.metric)
    verdict = at_least(_directed(gap, METRICS[claim.metric][2]), claim.minimum)
    return Outcome(verdict, gap, f"difference {claim.row} - {claim.base} {gap}, at least {claim.minimum:g} claimed")


def _gain(claim: Claim, cell: Cell) -> Outcome:
    key = f"{claim.row} / {claim.base}"
    ratio = _span(cell.comparisons, key, claim.metric)
    percent = Span(*(100 * (r - 1) for r in ratio))
    percent = percent if METRICS[claim.metric][2] > 0 else percent.negated()
    return Outcome(at_least(percent, claim.minimum), percent, f"gain of {claim.row} over {claim.base} in percent {percent}")


def _share(claim: Claim, cell: Cell) -> Outcome:
    span = _span(cell.rows, claim.row, claim.metric)
    return Outcome(within(span, claim.minimum, claim.maximum), span, f"{claim.row} {span}")


def _value(claim: Claim, cell: Cell) -> Outcome:
    span = _span(cell.rows, claim.row, claim.metric)
    paper = paper_value(claim.paper, claim.table, cell.dataset, claim.row, claim.metric)
    if paper is None:
        raise Missing(f"the paper has no value for {cell.dataset}")
    direction = METRICS[claim.metric][2]
    reached = at_least(_directed(span, direction), direction * paper - claim.tolerance)
    return Outcome(reached, span, f"{claim.row} {span}, the paper's {paper:g}, tolerance {claim.tolerance:g}")


_KINDS: dict[str, Callable[[Claim, Cell], Outcome]] = {
    "ordering": _ordering, "at_least": _not_worse, "not_better": _not_better, "worst": _worst,
    "optimum": _optimum, "rise": _rise, "gain": _gain, "share": _share, "value": _value}


def _weakest(claim: Claim, cell: Cell, others: Any, test: Callable[[Span], str]) -> Outcome:
    """Judge the row against each of the others; the least favourable of the paired differences decides."""
    direction = METRICS[claim.metric][2]
    found = []
    for other in others:
        gap = _difference(cell, claim.row, other, claim.metric)
        verdict = test(_directed(gap, direction))
        found.append(((FAILS, UNCLEAR, HOLDS).index(verdict), direction * gap.mean, verdict, gap, other))
    if claim.kind in TURNED:
        found = [(rank, -size, *rest) for rank, size, *rest in found]
    _, _, verdict, gap, other = min(found)
    weakest = f", the least favourable of {len(found)}" if len(found) > 1 else ""
    return Outcome(verdict, gap, f"difference {claim.row} - {other} {gap}{weakest}")


def _directed(span: Span, direction: int) -> Span:
    return span if direction > 0 else span.negated()


def _difference(cell: Cell, a: str, b: str, metric: str) -> Span:
    """a - b, from either order of the pair."""
    if f"{a} - {b}" not in cell.comparisons and f"{b} - {a}" in cell.comparisons:
        return _span(cell.comparisons, f"{b} - {a}", metric).negated()
    return _span(cell.comparisons, f"{a} - {b}", metric)


def _span(entries: dict[str, Any], key: str, metric: str) -> Span:
    value = (entries.get(key) or {}).get(metric)
    if not known(value):
        raise Missing(f'"{key}" has no {metric}')
    return Span(value["mean"], value["low"], value["high"])
