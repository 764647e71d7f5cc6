"""A paper as its `paper.yaml` describes it: who wrote it, every number that it prints, and how its tables are shown."""
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lib.base.paths import ROOT
from lib.base.problem import Problem

NEEDED = ("title", "authors", "venue")


@dataclass(frozen=True)
class Paper:
    """`Paper.read` makes it of a paper's folder.

    content       the file as printed: every value a text, with its trailing zeros
    only_metric   what a row stands for that holds a single number instead of metrics
    labels        row -> how tables and figures name it
    titles        table -> its heading
    front         what the front page shows of it: notebook, table and metrics
    """
    key: str
    title: str
    authors: list[str]
    venue: str
    link: str | None
    content: dict[str, Any] = field(repr=False)
    only_metric: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    front: dict[str, Any] | None = None

    @staticmethod
    @cache
    def read(path: Path) -> "Paper":
        """The paper of a `paper.yaml`; a folder without one, and a file that lacks something, is named."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise Problem(f"{path.parent}: a paper's folder needs a paper.yaml with {', '.join(NEEDED)}; "
                          "write one, see CONTRIBUTING.md.") from None
        try:
            plain, printed = yaml.safe_load(text), yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            raise Problem(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}).") from None
        for key in NEEDED:
            if not isinstance(plain, dict) or not plain.get(key):
                raise Problem(f"{path}: lacks {key}; a paper's file has {', '.join(NEEDED)}, see CONTRIBUTING.md.")
        own = {key: plain.get(key) or {} for key in ("labels", "titles")}
        return Paper(path.parent.name, plain["title"], plain["authors"], plain["venue"], plain.get("link"), printed,
                     plain.get("only_metric", ""), **own, front=plain.get("front"))

    def value(self, table: str, dataset: str | None, row: str, metric: str) -> float | None:
        """A number of the paper; None where it prints none. `dataset` is ignored by tables that hold only one."""
        text = self.printed_rows(table, dataset).get(row, {}).get(metric)
        try:
            return None if text is None else float(text)
        except ValueError:   # not a number at all
            return None

    def printed_rows(self, table: str, dataset: str | None) -> dict[str, dict[str, str]]:
        """`{row: {metric: text as printed}}` of a table; empty where the paper has no such table or data set."""
        rows = self._table(table)
        if _has_datasets(rows):
            rows = rows.get(dataset, {})
        return {row: self._metrics(entry) for row, entry in rows.items()}

    def reference(self, table: str, dataset: str) -> str | None:
        """The data set to set beside ours: the same one, else the first of its table; None where it names none."""
        rows = self._table(table)
        if not _has_datasets(rows):
            return None
        return dataset if dataset in rows else next(iter(rows))

    def quoted(self, table: str, dataset: str | None) -> set[str]:
        """The rows that the suite quotes and does not run (`run: false`)."""
        rows = self.printed_rows(table, dataset)
        return {row for row, metrics in rows.items() if metrics.get("run") == "false"}

    def _table(self, table: str) -> dict[str, Any]:
        found = self.content.get(table, {})
        return found if isinstance(found, dict) else {}

    def _metrics(self, entry: Any) -> dict[str, str]:
        found = entry if isinstance(entry, dict) else {self.only_metric: entry}
        return {metric: text for metric, text in found.items() if isinstance(text, str) and text != "null"}


def papers(keys: tuple[str, ...]) -> dict[str, Paper]:
    """Papers by key, in this order."""
    return {key: Paper.read(ROOT / "lib" / "papers" / key / "paper.yaml") for key in keys}


def _has_datasets(rows: dict[str, Any]) -> bool:
    inner = [row for entry in rows.values() if isinstance(entry, dict) for row in entry.values()]
    return bool(inner) and all(isinstance(row, dict) for row in inner)
