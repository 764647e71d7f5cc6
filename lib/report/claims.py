"""What the papers claim, judged on what was measured."""
from collections.abc import Iterator, Sequence
from typing import Any

from lib.report.claim_file import Claim
from lib.report.verdicts import FAILS, HOLDS, NOT_RUN, TURNED, UNCLEAR, Cell, Outcome, judge_cell

PLURAL = {HOLDS: "hold", FAILS: "fail", UNCLEAR: "unclear", NOT_RUN: "not run"}   # of several claims
Records = list[dict[str, Any]]


def judge(tier_metrics: dict[str, dict[str, Any]], claims: Sequence[Claim]) -> Records:
    """One record per claim, data set and network of a tier's `{notebook: metrics}`.

    A claim of which nothing was run has one record, without data set and network.
    """
    records = []
    for claim in claims:
        metrics = tier_metrics.get(claim.notebook, {})
        cells = list(_cells(claim, metrics))
        for network, cell in cells:
            records.append(_record(claim, judge_cell(claim, cell), cell.dataset, network))
        if not cells:
            records.append(_record(claim, Outcome(NOT_RUN, None, _why_not_run(claim, metrics)), None, None))
    return records


def tally(records: Records) -> str:
    """`9 hold, 2 fail, 3 unclear, 1 not run`."""
    verdicts = [record["verdict"] for record in records]
    return ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in PLURAL.items())


def _cells(claim: Claim, metrics: dict[str, Any]) -> Iterator[tuple[str, Cell]]:
    comparisons = metrics.get("comparisons", {}).get(claim.table, {})
    for dataset, networks in metrics.get("results", {}).get(claim.table, {}).items():
        for network, rows in networks.items():
            yield network, Cell(dataset, rows, comparisons.get(dataset, {}).get(network, {}))


def _why_not_run(claim: Claim, metrics: dict[str, Any]) -> str:
    if metrics:
        return f'table "{claim.table}" of notebook {claim.notebook} was not run'
    return f"notebook {claim.notebook} was not run"


def _record(claim: Claim, outcome: Outcome, dataset: str | None, network: str | None) -> dict[str, Any]:
    beside = claim.paper.reference(claim.table, dataset or "")
    value = _paper_value(claim, beside)
    notes = [outcome.note]
    if dataset and beside not in (None, dataset) and value is not None and claim.paper_value is None:
        notes.append(f"the paper's value is the one on {beside}")
    if claim.note:
        notes.append(claim.note)
    place = f"@{dataset}/{network}" if dataset else ""
    ours = outcome.ours
    return {
        "id": f"{claim.paper.key}.{claim.id}{place}", "paper": claim.paper.key, "statement": claim.statement,
        "where": claim.where, "paper_value": value, "ours": _tidy(ours.mean) if ours else None,
        "interval": [_tidy(ours.low), _tidy(ours.high)] if ours else None, "verdict": outcome.verdict,
        "note": "; ".join(notes), "dataset": dataset, "network": network}


def _tidy(number: float) -> float:
    return round(number, 6) + 0.0   # + 0.0: no -0.0


def _paper_value(claim: Claim, dataset: str | None) -> float | None:
    """What the paper's own table gives for the quantity that the claim is about."""
    if claim.paper_value is not None:
        return claim.paper_value
    row = claim.paper.value(claim.table, dataset, claim.row, claim.metric)
    if row is None or claim.kind in ("share", "value"):
        return row
    rivals = _compared_with(claim, dataset)
    others = [claim.paper.value(claim.table, dataset, name, claim.metric) for name in rivals]
    if not others or None in others:
        return None
    direction = claim.direction
    if claim.kind == "gain":
        return round(direction * 100 * (row / others[0] - 1), 2)
    hardest = max if (direction > 0) != (claim.kind in TURNED) else min   # the one that the verdict rests on
    return _tidy(row - hardest(others))


def _compared_with(claim: Claim, dataset: str | None) -> tuple[str, ...]:
    """The rows of the paper's table that the claim sets its row against."""
    if claim.kind in ("gain", "rise"):
        return (claim.base,)
    if claim.kind == "optimum":
        rows = claim.paper.printed_rows(claim.table, dataset)
        return tuple(row for row in rows if row not in (claim.row, *claim.neighbours))
    return claim.others
