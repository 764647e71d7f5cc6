"""Verdicts on claims, computed from intervals; every kind of claim is one function here."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lib.report.claim_file import Claim
from lib.report.numbers import known, with_interval

HOLDS, FAILS = "holds", "fails"
UNCLEAR, NOT_RUN = "unclear", "not run"
WORST_FIRST: tuple[str, ...] = (FAILS, UNCLEAR, HOLDS)
TURNED = ("not_better", "worst")   # kinds in which a row that comes out ahead is the unfavourable case


class Span(NamedTuple):
    """A mean and its interval."""
    mean: float
    low: float
    high: float

    def negated(self) -> "Span":
        """The span of the opposite difference."""
        return Span(-self.mean, -self.high, -self.low)

    def __str__(self) -> str:
        return with_interval(self._asdict())


@dataclass(frozen=True)
class Cell:
    """What one table holds for one data set and network."""
    dataset: str
    rows: dict[str, Any]
    comparisons: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """A verdict with the number it rests on."""
    verdict: str
    ours: Span | None
    note: str


@dataclass(frozen=True)
class Judged:
    """The difference of a row to one other row, with its verdict."""
    verdict: str
    gap: Span
    other: str


class Missing(Exception):
    """What a claim needs was not run; the text says what."""


def above(span: Span, bar: float) -> str:
    """Strictly above; an interval that touches the bar includes the tie."""
    if span.low > bar:
        return HOLDS
    return FAILS if span.high < bar else UNCLEAR


def at_least(span: Span, bar: float) -> str:
    """Not below."""
    if span.low >= bar:
        return HOLDS
    return FAILS if span.high < bar else UNCLEAR


def within(span: Span, minimum: float, maximum: float) -> str:
    """The whole interval between the bounds, or wholly outside."""
    if span.high < minimum or span.low > maximum:
        return FAILS
    return HOLDS if minimum <= span.low and span.high <= maximum else UNCLEAR


def judge_cell(claim: Claim, cell: Cell) -> Outcome:
    """The verdict on a claim for one data set and network."""
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
    compared: list[str] = []
    for pair in cell.comparisons:
        rows = pair.split(" - ")
        if len(rows) == 2 and claim.row in rows:
            compared.append(rows[1] if rows[0] == claim.row else rows[0])
    rivals = [row for row in dict.fromkeys(compared) if row not in claim.neighbours]
    if not rivals:
        raise Missing(f"no setting was compared with {claim.row}")
    return _weakest(claim, cell, rivals, lambda gap: above(gap, -claim.margin))


def _rise(claim: Claim, cell: Cell) -> Outcome:
    gap = _difference(cell, claim.row, claim.base, claim.metric)
    verdict = at_least(_directed(gap, claim.direction), claim.minimum)
    note = f"difference {claim.row} - {claim.base} {gap}, at least {claim.minimum:g} claimed"
    return Outcome(verdict, gap, note)


def _gain(claim: Claim, cell: Cell) -> Outcome:
    ratio = _span(cell.comparisons, f"{claim.row} / {claim.base}", claim.metric)
    percent = _directed(Span(*(100 * (r - 1) for r in ratio)), claim.direction)
    note = f"gain of {claim.row} over {claim.base} in percent {percent}"
    return Outcome(at_least(percent, claim.minimum), percent, note)


def _share(claim: Claim, cell: Cell) -> Outcome:
    span = _span(cell.rows, claim.row, claim.metric)
    return Outcome(within(span, claim.minimum, claim.maximum), span, f"{claim.row} {span}")


def _value(claim: Claim, cell: Cell) -> Outcome:
    span = _span(cell.rows, claim.row, claim.metric)
    printed = claim.paper.value(claim.table, cell.dataset, claim.row, claim.metric)
    if printed is None:
        raise Missing(f"the paper has no value for {cell.dataset}")
    direction = claim.direction
    verdict = at_least(_directed(span, direction), direction * printed - claim.tolerance)
    note = f"{claim.row} {span}, the paper's {printed:g}, tolerance {claim.tolerance:g}"
    return Outcome(verdict, span, note)


_KINDS: dict[str, Callable[[Claim, Cell], Outcome]] = {
    "ordering": _ordering, "at_least": _not_worse, "not_better": _not_better, "worst": _worst,
    "optimum": _optimum, "rise": _rise, "gain": _gain, "share": _share, "value": _value}


def _weakest(claim: Claim, cell: Cell, others: Sequence[str], test: Callable[[Span], str]) -> Outcome:
    """Judge the row against each of the others; the least favourable of the paired differences decides."""
    direction = claim.direction
    judged = []
    for other in others:
        gap = _difference(cell, claim.row, other, claim.metric)
        judged.append(Judged(test(_directed(gap, direction)), gap, other))
    favourable = -direction if claim.kind in TURNED else direction

    def favour(one: Judged) -> tuple[Any, ...]:
        return WORST_FIRST.index(one.verdict), favourable * one.gap.mean, one.gap, one.other

    least = min(judged, key=favour)
    which = f", the least favourable of {len(judged)}" if len(judged) > 1 else ""
    return Outcome(least.verdict, least.gap, f"difference {claim.row} - {least.other} {least.gap}{which}")


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
