"""What the papers claim, judged on what was measured."""
from collections.abc import Iterator
from typing import Any

from lib.report.claim_file import Claim, load_claims
from lib.report.reported import paper_value, printed_rows, reference
from lib.report.verdicts import FAILS, HOLDS, NOT_RUN, TURNED, UNCLEAR, Cell, Outcome, judge_cell
from lib.report.words import METRICS


def judge(tier_metrics: dict[str, dict[str, Any]], claims: list[Claim] | None = None) -> list[dict[str, Any]]:
    """One record per claim, dataset and network of a tier's `{notebook: metrics}`; one per claim that was not run at all."""
    records = []
    for claim in load_claims() if claims is None else claims:
        metrics = tier_metrics.get(claim.notebook, {})
        cells = list(_cells(claim, metrics))
        records += [_record(claim, judge_cell(claim, cell), cell.dataset, network) for network, cell in cells]
        if not cells:
            missing = f'table "{claim.table}" of notebook {claim.notebook}' if metrics else f"notebook {claim.notebook}"
            records.append(_record(claim, Outcome(NOT_RUN, None, f"{missing} was not run"), None, None))
    return records


def tally(records: list[dict[str, Any]]) -> str:
    """`9 hold, 2 fail, 3 unclear, 1 not run`."""
    verdicts = [record["verdict"] for record in records]
    words = {HOLDS: "hold", FAILS: "fail", UNCLEAR: "unclear", NOT_RUN: "not run"}
    return ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in words.items())


def _cells(claim: Claim, metrics: dict[str, Any]) -> Iterator[tuple[str, Cell]]:
    comparisons = metrics.get("comparisons", {}).get(claim.table, {})
    for dataset, networks in metrics.get("results", {}).get(claim.table, {}).items():
        for network, rows in networks.items():
            yield network, Cell(dataset, rows, comparisons.get(dataset, {}).get(network, {}))


def _record(claim: Claim, outcome: Outcome, dataset: str | None, network: str | None) -> dict[str, Any]:
    beside = reference(claim.paper, claim.table, dataset or "")
    value = _paper_value(claim, beside)
    notes = [outcome.note]
    if dataset and beside not in (None, dataset) and value is not None and claim.paper_value is None:
        notes.append(f"the paper's value is the one on {beside}")
    ours = outcome.ours
    return {
        "id": f"{claim.paper}.{claim.id}" + (f"@{dataset}/{network}" if dataset else ""), "paper": claim.paper,
        "statement": claim.statement, "where": claim.where, "paper_value": value,
        "ours": _tidy(ours.mean) if ours else None, "interval": [_tidy(ours.low), _tidy(ours.high)] if ours else None,
        "verdict": outcome.verdict, "note": "; ".join(notes + [claim.note] * bool(claim.note)), "dataset": dataset, "network": network}


def _tidy(number: float) -> float:
    return round(number, 6) + 0.0   # + 0.0: no -0.0


def _paper_value(claim: Claim, dataset: str | None) -> float | None:
    """What the paper's own table gives for the quantity that the claim is about."""
    if claim.paper_value is not None:
        return claim.paper_value
    row = paper_value(claim.paper, claim.table, dataset, claim.row, claim.metric)
    if row is None or claim.kind in ("share", "value"):
        return row
    direction = METRICS[claim.metric][2]
    rows = printed_rows(claim.paper, claim.table, dataset)
    rivals = tuple(name for name in rows if name not in (claim.row, *claim.neighbours))
    names = {"gain": (claim.base,), "rise": (claim.base,), "optimum": rivals}.get(claim.kind, claim.others)
    others = [paper_value(claim.paper, claim.table, dataset, name, claim.metric) for name in names]
    if not others or None in others:
        return None
    if claim.kind == "gain":
        return round(direction * 100 * (row / others[0] - 1), 2)
    hardest = max if (direction > 0) != (claim.kind in TURNED) else min   # the one that the verdict rests on
    return _tidy(row - hardest(others))
