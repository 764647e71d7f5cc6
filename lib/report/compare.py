"""After a re-run: what was reproduced, and what changed against the committed results."""
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.paths import REPORTS
from lib.report.numbers import EMPTY, known, with_interval
from lib.report.results import read_json, read_metrics, tier_metrics

TOLERANCE = 0.001   # absolute; a mean this close is reproduced even outside the committed interval
IDENTICAL = "identical"
REPRODUCED = "reproduced"
CHANGED = "changed"
NEW = "new"
GONE = "gone"
VERDICTS: tuple[str, ...] = (IDENTICAL, REPRODUCED, CHANGED, NEW, GONE)
CLAIMS = "claims"

# Path from the reports' parent folder -> its committed text; of a folder, the names in it.
Committed = Callable[[str], str | None]


@dataclass(frozen=True)
class Row:
    """One value, or one verdict, then and now."""
    tier: str
    group: str       # notebook, table, dataset/network; or "claims"
    name: str        # row and metric; or the claim
    committed: Any
    now: Any
    verdict: str


def compare(tiers: list[str], reports: Path, committed: Committed) -> list[Row]:
    """Every value and every claim's verdict against the committed ones; no seconds, timing or provenance."""
    rows: list[Row] = []
    for tier in tiers:
        rows += _values(tier, reports, committed)
        rows += _claims(tier, reports, committed)
    return rows


def print_comparison(tiers: list[str], reports: Path = REPORTS) -> int:
    """Print all comparisons; 0 when what is committed was reproduced, 3 when some changed or is gone."""
    committed = committed_at_head(reports.parent)
    if committed is None:
        print(f"{reports.parent} is not a Git checkout with a commit: "
              "there are no committed results to compare with.")
        return 0
    if not any(_committed_notebooks(tier, reports, committed) for tier in tiers):
        print(f"Nothing is committed under {reports.name} for {', '.join(tiers) or 'no tier'}: "
              "there is nothing to compare with.")
        return 0
    rows = compare(tiers, reports, committed)
    for tier in tiers:
        print("\n".join([f"{tier}:", *_lines([row for row in rows if row.tier == tier])]))
    verdicts = [row.verdict for row in rows]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICTS)
    print(f"{len(rows)} values and verdicts: {counts}.")
    return 3 if CHANGED in verdicts or GONE in verdicts else 0


def committed_at_head(root: Path) -> Committed | None:
    """Reads files (and lists folders) of the last commit; None outside Git or before the first commit."""
    def show(path: str) -> str | None:
        found = _git(root, "show", f"HEAD:./{path}")
        return found.stdout if found is not None and found.returncode == 0 else None

    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    return show if head is not None and head.returncode == 0 else None


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    except OSError:   # no git on this machine
        return None


def _committed_notebooks(tier: str, reports: Path, committed: Committed) -> list[str]:
    # `git show` of a folder gives a headline, then a name per line
    listing = committed(f"{reports.name}/{tier}/metrics") or ""
    return [name.removesuffix(".json") for name in listing.splitlines() if name.endswith(".json")]


def _values(tier: str, reports: Path, committed: Committed) -> Iterator[Row]:
    current = tier_metrics(reports, tier)
    names = list(dict.fromkeys([*_committed_notebooks(tier, reports, committed), *current]))
    for notebook in names:
        path = f"{reports.name}/{tier}/metrics/{notebook}.json"
        text = committed(path)
        old = _flat(read_metrics(text, f"committed {path}")) if text is not None else {}
        now = _flat(current.get(notebook, {}))
        for key in dict.fromkeys([*old, *now]):
            place, name = key
            if key in old and key in now:
                verdict = _verdict(old[key], now[key])
            else:
                verdict = GONE if key in old else NEW
            yield Row(tier, f"{notebook} {place}", name, old.get(key), now.get(key), verdict)


def _flat(metrics: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Every value by its table, data set and network, and by its row and metric."""
    flat = {}
    for table, datasets in metrics.get("results", {}).items():
        for dataset, networks in datasets.items():
            for network, rows in networks.items():
                for row, values in rows.items():
                    for metric, value in values.items():
                        flat[f"{table} {dataset}/{network}", f"{row} {metric}"] = value
    return flat


def _verdict(old: Any, now: Any) -> str:
    if old == now or not (known(old) or known(now)):   # two undefined values agree
        return IDENTICAL
    if not (known(old) and known(now)):
        return CHANGED
    near = math.isclose(old["mean"], now["mean"], rel_tol=0, abs_tol=TOLERANCE * (1 + 1e-9))
    return REPRODUCED if near or old["low"] <= now["mean"] <= old["high"] else CHANGED


def _claims(tier: str, reports: Path, committed: Committed) -> Iterator[Row]:
    path = f"{reports.name}/{tier}/claims.json"
    file = reports / tier / "claims.json"
    now = _verdicts(file.read_text(encoding="utf-8") if file.is_file() else "[]", path)
    old = _verdicts(committed(path) or "[]", f"committed {path}")
    for claim in dict.fromkeys([*old, *now]):
        if claim in old and claim in now:
            verdict = IDENTICAL if old[claim] == now[claim] else CHANGED
        else:
            verdict = GONE if claim in old else NEW
        yield Row(tier, CLAIMS, claim, old.get(claim), now.get(claim), verdict)


def _verdicts(text: str, name: str) -> dict[str, str]:
    return {record["id"]: record["verdict"] for record in read_json(text, name)}


def _lines(rows: list[Row]) -> list[str]:
    """Per group a summary, then each value that is not identical; columns aligned over the tier."""
    listed = [row for row in rows if row.verdict != IDENTICAL]
    width = max((len(row.name) for row in listed), default=0)
    column = max((len(_text(row.committed)) for row in listed), default=0)
    lines = []
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        differing = [row for row in members if row.verdict != IDENTICAL]
        kind = "verdicts" if group == CLAIMS else "values"
        lines.append(f"  {group}: {len(members) - len(differing)} of {len(members)} {kind} identical")
        for row in differing:
            then = _text(row.committed)
            words = f"{row.name:<{width}}  {row.verdict:<10}  {then:<{column}}  now {_text(row.now)}"
            lines.append(f"    {words}")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return with_interval(value)
    return EMPTY if value is None else str(value)
