"""The files of claims, `claims/<paper>.yaml`: one entry per claim, in a form that a program can judge."""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.problem import Problem, nearest
from lib.base.yaml_file import read_yaml
from lib.report.paper import Paper, Papers

CLAIMS = Path(__file__).with_name("claims")   # a folder of YAML beside the module claims.py
COMMON = {"id", "kind", "statement", "where", "table", "metrics"}
OPTIONAL = {"notebook", "note", "paper_value"}
# kind -> (keys it needs, keys it may have)
KINDS: dict[str, tuple[set[str], set[str]]] = {
    "ordering": ({"better", "worse"}, set()),              # better beats each of worse
    "at_least": ({"row", "others", "margin"}, set()),      # row is not worse than the best of others
    "not_better": ({"row", "others"}, {"margin"}),         # row beats none of others
    "gain": ({"row", "base", "minimum"}, set()),           # row / base, relative gain in percent
    "share": ({"row", "minimum", "maximum"}, set()),       # row lies within the bounds
    "worst": ({"row", "others"}, set()),                   # each of others beats row
    "rise": ({"row", "base", "minimum"}, set()),           # row - base, in the metric's unit
    "optimum": ({"row"}, {"margin", "neighbours"}),        # row beats every other setting but its neighbours
    "value": ({"row", "tolerance"}, set()),                # row reaches the paper's value
}
NUMBERS: tuple[str, ...] = ("margin", "minimum", "maximum", "tolerance", "paper_value")
ROWS: tuple[str, ...] = ("worse", "others", "neighbours")   # keys that name one row or several


@dataclass(frozen=True)
class Claim:
    """One claim on one metric.

    id          unique within the paper: the entry's, with the metric behind it where that is about several
    entry       id of the entry in the file
    in_words    the entry's statement, which names no metric
    statement   the same with the metric, where the entry is about several
    """
    id: str
    entry: str
    paper: Paper
    kind: str
    in_words: str
    statement: str
    where: str
    notebook: str
    table: str
    metric: str
    row: str
    others: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    base: str = ""
    margin: float = 0.0
    minimum: float = 0.0
    maximum: float = 0.0
    tolerance: float = 0.0
    paper_value: float | None = None
    note: str = ""

    @property
    def direction(self) -> int:
        """1 where more is better, -1 where less is, 0 neither."""
        return self.paper.known_metrics[self.metric].direction


def load_claims(papers: Papers, folder: Path = CLAIMS) -> list[Claim]:
    """Every claim of every paper, file by file; an entry on several metrics becomes one claim per metric."""
    claims: list[Claim] = []
    for file in sorted(folder.glob("*.yaml")):
        claims += _claims_of(file, papers.named(file.stem, f"{folder.name}/{file.name}"))
    known = set()
    for claim in claims:
        key = (claim.paper.key, claim.id)
        if key in known:
            raise Problem(f'{folder.name}: the claim "{claim.id}" is listed twice; '
                          "give one of them another id.")
        known.add(key)
    return claims


def _claims_of(file: Path, paper: Paper) -> Iterator[Claim]:
    entries = read_yaml(file)
    if not isinstance(entries, list):
        raise Problem(f'{file.name}: must be a list of claims, each starting "- id: ...".')
    for number, entry in enumerate(entries, 1):
        _check(entry, paper, file.name, number)
        yield from _expand(entry, paper)


def _expand(entry: dict[str, Any], paper: Paper) -> Iterator[Claim]:
    """One claim per metric of an entry."""
    own = {"id", "statement", "metrics", "better", *ROWS}
    fields = {key: value for key, value in entry.items() if key not in own}
    fields["row"] = str(entry.get("better", entry.get("row")))
    fields["base"] = str(entry.get("base", ""))
    fields["others"] = _as_rows(entry.get("worse", entry.get("others", ())))
    fields["neighbours"] = _as_rows(entry.get("neighbours", ()))
    fields.setdefault("notebook", paper.key)
    for metric in entry["metrics"]:
        name, statement = entry["id"], entry["statement"]
        if len(entry["metrics"]) > 1:
            name, statement = f"{name}_{metric}", f"{statement} ({paper.known_metrics[metric].label})"
        yield Claim(id=name, entry=entry["id"], paper=paper, in_words=entry["statement"], statement=statement,
                    metric=metric, **fields)


def _check(entry: Any, paper: Paper, file: str, number: int) -> None:
    if not isinstance(entry, dict):
        raise Problem(f"{file}: claim {number} must hold keys ({', '.join(sorted(COMMON))}).")
    where = f'{file}: claim "{entry.get("id", number)}"'
    _check_keys(entry, where)
    _check_metrics(entry, paper, where)
    _check_values(entry, where)


def _check_keys(entry: dict[str, Any], where: str) -> None:
    kind = entry.get("kind")
    if kind not in KINDS:
        raise Problem(f'{where} has the unknown kind "{kind}"{nearest(str(kind), KINDS)}')
    needed, optional = KINDS[kind]
    allowed = COMMON | OPTIONAL | needed | optional
    for key in entry:
        if key not in allowed:
            raise Problem(f'{where} has the unknown key "{key}"{nearest(key, sorted(allowed))}')
    for key in sorted(COMMON | needed):
        if key not in entry:
            raise Problem(f'{where} lacks the key "{key}", which kind "{kind}" needs.')


def _check_metrics(entry: dict[str, Any], paper: Paper, where: str) -> None:
    known = paper.known_metrics
    metrics = entry["metrics"]
    if not isinstance(metrics, list) or not metrics:
        raise Problem(f"{where}: metrics must be a list such as [ois, ods].")
    for metric in metrics:
        if metric not in known:
            raise Problem(f'{where} has the unknown metric "{metric}"{nearest(str(metric), known)}')
        if known[metric].direction == 0 and entry["kind"] != "share":
            raise Problem(f'{where}: neither more nor less of "{metric}" is better; '
                          'only kind "share" can judge it.')


def _check_values(entry: dict[str, Any], where: str) -> None:
    for key in NUMBERS:
        value = entry.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Problem(f'{where}: {key} must be a number, not "{value}".')
    for key in ROWS:
        if key in entry and not _as_rows(entry[key]):
            raise Problem(f"{where}: {key} must name at least one row.")


def _as_rows(value: Any) -> tuple[str, ...]:
    rows = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(row) for row in rows)
