"""The papers' own numbers, from `reported.yaml`: as values and, with their trailing zeros, as printed."""
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lib.base.problem import Problem, nearest

FILE = Path(__file__).with_name("reported.yaml")
ONLY_METRIC = {"dcsm": "miou", "iam": "loc1"}   # what a row stands for that holds a single number instead of metrics


@cache
def _tree(loader: type) -> dict[str, Any]:
    return yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)


def reported(paper: str) -> dict[str, Any]:
    """Everything that `reported.yaml` holds on a paper: title, venue, tables."""
    papers = _tree(yaml.SafeLoader)
    if paper not in papers:
        raise Problem(f'no paper "{paper}" in {FILE.name}{nearest(paper, papers)}')
    return papers[paper]


def paper_of(notebook: str) -> str | None:
    """The paper that a notebook replicates: `rcam_scales` belongs to `rcam`, `fcn_gbp` to itself, `comparison` to none."""
    owners = [p for p in _tree(yaml.SafeLoader) if notebook == p or notebook.startswith(f"{p}_")]
    return max(owners, key=len, default=None)


def printed_rows(paper: str | None, table: str, dataset: str | None) -> dict[str, dict[str, str]]:
    """`{row: {metric: text as printed}}` of a table; empty where the paper has no such table or dataset."""
    content = _content(paper, table)
    if _has_datasets(content):
        content = content.get(dataset, {})
    return {row: _metrics(paper, entry) for row, entry in content.items()}


def reference(paper: str | None, table: str, dataset: str) -> str | None:
    """The paper's dataset to set beside ours: the same one, else the first of its table; None where it names none."""
    content = _content(paper, table)
    if not _has_datasets(content):
        return None
    return dataset if dataset in content else next(iter(content))


def quoted(paper: str | None, table: str, dataset: str | None) -> set[str]:
    """The rows that the suite quotes and does not run (`run: false`)."""
    return {row for row, metrics in printed_rows(paper, table, dataset).items() if metrics.get("run") == "false"}


def paper_value(paper: str, table: str, dataset: str | None, row: str, metric: str) -> float | None:
    """A number of the paper; None where it prints none. `dataset` is ignored by tables that hold only one."""
    text = printed_rows(paper, table, dataset).get(row, {}).get(metric)
    try:
        return None if text is None else float(text)
    except ValueError:   # "null", or not a number at all
        return None


def _content(paper: str | None, table: str) -> dict[str, Any]:
    content = _tree(yaml.BaseLoader).get(paper, {}).get(table, {})
    return content if isinstance(content, dict) else {}


def _has_datasets(content: dict[str, Any]) -> bool:
    rows = [row for entry in content.values() if isinstance(entry, dict) for row in entry.values()]
    return bool(rows) and all(isinstance(row, dict) for row in rows)


def _metrics(paper: str | None, entry: Any) -> dict[str, str]:
    found = entry if isinstance(entry, dict) else {ONLY_METRIC.get(str(paper), ""): entry}
    return {metric: text for metric, text in found.items() if isinstance(text, str) and text != "null"}
