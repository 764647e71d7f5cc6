"""A paper as its `paper.yaml` describes it: authors, the numbers that it prints, how its tables are shown."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from lib.base.paths import ROOT
from lib.base.problem import Problem, nearest
from lib.base.strict import build
from lib.base.yaml_file import parse_yaml, read_yaml
from lib.report.words import METRICS, Metric

FOLDER = ROOT / "lib" / "papers"
COMPARISON = Path(__file__).with_name("comparison.yaml")
NEEDED: tuple[str, ...] = ("title", "authors", "venue")
Rows = dict[str, dict[str, str]]   # row -> metric -> the number as printed


@dataclass(frozen=True)
class Front:
    """What the front page shows of a paper: one number and some of its claims.

    row        the row of the number; none shows all rows of the table, best first
    notebook   where it was measured, if not in the notebook that is named after the paper
    dataset    the paper's own data set, for a table that names none
    claims     ids as in the file of claims
    """
    table: str
    metric: str
    row: str = ""
    notebook: str = ""
    dataset: str = ""
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guest:
    """Rows of a table that another notebook measures, in a table of its own."""
    notebook: str
    table: str


@dataclass(frozen=True)
class Description:
    """What a `paper.yaml` holds besides numbers, checked like params.yaml.

    only_metric   what a row stands for that holds a single number instead of metrics
    metrics       metric -> what it is, where no other paper has it
    labels        row -> how tables and figures name it
    titles        table -> its heading
    by_class      tables whose rows are a data set's own classes: nothing to compare with on another one
    front         what the front page shows
    guests        table -> where further rows of it are measured
    """
    title: str
    authors: tuple[str, ...] = ()
    venue: str = ""
    link: str | None = None
    only_metric: str = ""
    metrics: dict[str, Metric] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    by_class: tuple[str, ...] = ()
    front: Front | None = None
    guests: dict[str, Guest] = field(default_factory=dict)


DESCRIPTION = tuple(part.name for part in fields(Description))   # all other keys are tables or facts


@dataclass(frozen=True, kw_only=True)
class Paper(Description):
    """A paper, as `Paper.read` finds it in the paper's folder.

    key       the folder's name
    content   tables and facts, each value as the text that is printed, with its trailing zeros
    """
    key: str
    content: dict[str, Any] = field(repr=False)

    @staticmethod
    @cache
    def read(path: Path) -> "Paper":
        """The paper of a `paper.yaml`; a folder without one, and a file that lacks something, is named."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise Problem(f"{path.parent}: a paper's folder needs a paper.yaml with {', '.join(NEEDED)}; "
                          "write one, see CONTRIBUTING.md.") from None
        plain, printed = parse_yaml(text, str(path)), parse_yaml(text, str(path), as_text=True)
        for key in NEEDED:
            if not isinstance(plain, dict) or not plain.get(key):
                raise Problem(f"{path}: lacks {key}; a paper's file has {', '.join(NEEDED)}, "
                              "see CONTRIBUTING.md.")
        own = {name: value for name, value in plain.items() if name in DESCRIPTION}
        description = build(Description, own, str(path))
        rest = {name: printed[name] for name in plain if name not in (*DESCRIPTION, "same")}
        content = _both_named(rest, plain.get("same", {}))
        return Paper(**vars(description), key=path.parent.name, content=content)

    def value(self, table: str, dataset: str | None, row: str, metric: str) -> float | None:
        """A number of the paper; None where it prints none. Tables of one data set ignore `dataset`."""
        text = self.printed_rows(table, dataset).get(row, {}).get(metric)
        try:
            return None if text is None else float(text)
        except ValueError:   # a word stands where a number is expected
            return None

    def printed_rows(self, table: str, dataset: str | None) -> Rows:
        """`{row: {metric: text as printed}}`; empty where the paper has no such table or data set."""
        rows = self._table(table)
        if _has_datasets(rows):
            rows = rows.get(dataset, {})
        return {row: self._metrics(entry) for row, entry in rows.items()}

    def reference(self, table: str, dataset: str) -> str | None:
        """The paper's data set beside ours: the same one, else the table's first, if it names any."""
        rows = self._table(table)
        if not _has_datasets(rows):
            return None
        return dataset if dataset in rows else next(iter(rows))

    def beside(self, table: str, dataset: str) -> Rows:
        """The printed rows that stand beside ours on this data set."""
        reference = self.reference(table, dataset)
        if table in self.by_class and reference != dataset:
            return {}
        return self.printed_rows(table, reference)

    @property
    def known_metrics(self) -> dict[str, Metric]:
        """Those that papers share, then its own."""
        return METRICS | self.metrics

    @property
    def citation(self) -> str:
        """Title with its link, authors and venue, as a page gives them where it names the paper first."""
        title = f"[{self.title}]({self.link})" if self.link else self.title
        return f"{title}, {', '.join(self.authors)}, {self.venue}"

    def label(self, row: str) -> str:
        """How a table names a row."""
        return self.labels.get(row, row)

    def _table(self, table: str) -> dict[str, Any]:
        content = self.content.get(table, {})
        return content if isinstance(content, dict) else {}

    def _metrics(self, entry: Any) -> dict[str, str]:
        metrics = entry if isinstance(entry, dict) else {self.only_metric: entry}
        return {metric: text for metric, text in metrics.items() if isinstance(text, str) and text != "null"}


@dataclass(frozen=True)
class Papers:
    """The papers in the order in which pages show them, and which of them a notebook replicates.

    by_key       key -> paper
    comparison   stands for a notebook that belongs to no paper: it compares all of them
    owners       notebook -> key of its paper
    """
    by_key: dict[str, Paper]
    comparison: Paper
    owners: Mapping[str, str]

    def of(self, notebook: str) -> Paper:
        """The paper that a notebook replicates, or the comparison of all."""
        if notebook not in self.owners:
            return self.comparison
        return self.named(self.owners[notebook], f"notebook {notebook}")

    def named(self, key: str, where: str) -> Paper:
        """The paper of a key that `where` names."""
        if key not in self.by_key:
            raise Problem(f'{where}: there is no paper "{key}"{nearest(key, self.by_key)}')
        return self.by_key[key]


def papers(keys: Sequence[str], owners: Mapping[str, str] | None = None, folder: Path = FOLDER) -> Papers:
    """The papers of `keys`, in this order; `owners` says of each notebook which paper it replicates."""
    by_key = {}
    for key in keys:
        if not (folder / key).is_dir():
            known = [path.parent.name for path in sorted(folder.glob("*/paper.yaml"))]
            raise Problem(f'{folder}: there is no paper "{key}"{nearest(key, known)}')
        by_key[key] = Paper.read(folder / key / "paper.yaml")
    return Papers(by_key, _comparison(by_key.values()), dict(owners or {}))


def _comparison(compared: Iterable[Paper]) -> Paper:
    """All papers side by side, which no paper prints: its rows are named as each paper names its own."""
    labels: dict[str, str] = {}
    for paper in compared:
        labels = paper.labels | labels
    plain = read_yaml(COMPARISON)
    description = build(Description, {**plain, "labels": labels}, COMPARISON.name)
    return Paper(**vars(description), key=COMPARISON.stem, content={})


def _both_named(content: dict[str, Any], same: dict[str, str]) -> dict[str, Any]:
    """Every table under both names of a data set, as `same: {other name: name in the file}` declares."""
    tables = dict(content)
    for other, name in same.items():
        for table, rows in content.items():
            if isinstance(rows, dict) and name in rows:
                tables[table] = {**rows, other: rows[name]}
    return tables


def _has_datasets(rows: dict[str, Any]) -> bool:
    inner = [row for entry in rows.values() if isinstance(entry, dict) for row in entry.values()]
    return bool(inner) and all(isinstance(row, dict) for row in inner)
