"""`python -m lib bench`: measures rows, keeps them, and writes numbers, page, figure and front page."""
import argparse
import json
from pathlib import Path
from typing import Any

from lib.base.files import read_json, whole_file, write_json
from lib.base.paths import BUILD, REPORTS, ROOT
from lib.base.problem import Problem
from lib.base.race import Effort
from lib.bench.rows import ROWS, known_rows, measured

OUT = REPORTS / "bench"
QUICK_OUT = BUILD / "bench"
QUICK = Effort(warm_ups=0, rounds=1, quick=True)
QUICK_ROWS: tuple[str, ...] = tuple(row for row in ROWS if row not in ("methods", "memory"))   # in seconds


def bench(args: argparse.Namespace) -> None:
    """Measure; a row that is measured again takes the place of what was there."""
    rows = known_rows(args.rows or (QUICK_ROWS if args.quick else None))
    out = args.out or (QUICK_OUT if args.quick else OUT)
    if out.exists() and not out.is_dir():
        raise Problem(f"--out: {out} is a file; name a folder for numbers, page and figure.")
    results = _kept(out / "bench.json")
    from lib.bench.machine import machine, use_threads
    from lib.bench.page import page

    use_threads(args.threads)
    for row in rows:
        results[row] = {"machine": machine(), "entries": _measured(row, args.quick)}
        _write(out, results)   # what is measured is kept, whatever comes next
    if args.json:
        print(json.dumps({row: results[row] for row in rows}))
    else:
        print(page({row: results[row] for row in rows}))


def _measured(row: str, quick: bool) -> list[dict[str, Any]]:
    return measured(row, QUICK if quick else Effort())


def _kept(path: Path) -> dict[str, Any]:
    """Rows that an earlier call measured."""
    if not path.is_file():
        return {}
    fault = "damaged; delete it, and all rows are measured again"
    found = read_json(path, fault)
    if not isinstance(found, dict):
        raise Problem(f"{path}: {fault}.")
    return {row: found[row] for row in ROWS if row in found}


def _write(out: Path, results: dict[str, Any]) -> None:
    from lib.bench.page import page, update
    from lib.bench.plots import write_plot

    ordered = {row: results[row] for row in ROWS if row in results}
    write_json(out / "bench.json", ordered)
    with whole_file(out / "README.md") as part:
        part.write_text(page(ordered), encoding="utf-8")
    write_plot(ordered, out / "bench.png")
    if out == OUT:
        update(ROOT / "README.md", ordered)
