"""The files of claims, `claims/<paper>.yaml`: one entry per claim, in a form that a program can judge."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lib.base.problem import Problem, nearest
from lib.report.reported import reported
from lib.report.words import METRICS

CLAIMS = Path(__file__).with_name("claims")   # a folder of YAML beside the module claims.py
COMMON = {"id", "kind", "statement", "where", "table", "metrics"}
OPTIONAL = {"notebook", "note", "paper_value"}
# kind -> (keys it needs, keys it may have)
KINDS: dict[str, tuple[set[str], set[str]]] = {
    "ordering": ({"better", "worse"}, set()),                  # better beats each of worse
    "at_least": ({"row", "others", "margin"}, set()),          # row is not worse than the best of others
    "not_better": ({"row", "others"}, {"margin"}),             # row beats none of others
    "gain": ({"row", "base", "minimum"}, set()),               # row / base, relative gain in percent
    "share": ({"row", "minimum", "maximum"}, set()),           # row lies within the bounds
    "worst": ({"row", "others"}, set()),                       # each of others beats row
    "rise": ({"row", "base", "minimum"}, set()),               # row - base, in the metric's unit
    "optimum": ({"row"}, {"margin", "neighbours"}),            # row beats every other setting compared with it, neighbours apart
    "value": ({"row", "tolerance"}, set()),                    # row reaches the paper's value
}
NUMBERS = ("margin", "minimum", "maximum", "tolerance", "paper_value")
RENAMED = {"better": "row", "worse": "others"}


@dataclass(frozen=True)
class Claim:
    """One claim on one metric."""
    id: str
    paper: str
    kind: str
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


def load_claims(folder: Path = CLAIMS) -> list[Claim]:
    """Every claim of every paper, in file order; a claim on several metrics becomes one per metric."""
    claims = [claim for file in sorted(folder.glob("*.yaml")) for claim in _claims_of(file)]
    ids = [(claim.paper, claim.id) for claim in claims]
    if doubled := [id for paper, id in ids if ids.count((paper, id)) > 1]:
        raise Problem(f'{folder.name}: the claim "{doubled[0]}" is listed twice; give one of them another id.')
    return claims


def _claims_of(file: Path) -> list[Claim]:
    reported(file.stem)   # the file is named after a paper
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Problem(f"{file.name}: not YAML ({error}); correct it.") from None
    if not isinstance(entries, list):
        raise Problem(f'{file.name}: must be a list of claims, each starting "- id: ...".')
    return [claim for number, entry in enumerate(entries, 1) for claim in _expand(entry, file, number)]


def _expand(entry: Any, file: Path, number: int) -> list[Claim]:
    where = f"{file.name}: claim {number}"
    if not isinstance(entry, dict):
        raise Problem(f"{where} must hold keys ({', '.join(sorted(COMMON))}).")
    where = f'{file.name}: claim "{entry.get("id", number)}"'
    _check_keys(entry, where)
    _check_values(entry, where)
    fields = {RENAMED.get(key, key): value for key, value in entry.items() if key != "metrics"}
    fields |= {"paper": file.stem, "notebook": entry.get("notebook", file.stem)}
    fields |= {key: tuple(str(other) for other in _as_list(fields.get(key, ()))) for key in ("others", "neighbours")}
    fields |= {"row": str(fields["row"]), "base": str(fields.get("base", ""))}
    several = len(entry["metrics"]) > 1
    return [Claim(**{**fields, "metric": metric, "id": f"{entry['id']}_{metric}" if several else entry["id"],
                     "statement": f"{entry['statement']} ({METRICS[metric][0]})" if several else entry["statement"]})
            for metric in entry["metrics"]]


def _check_keys(entry: dict[str, Any], where: str) -> None:
    kind = entry.get("kind")
    if kind not in KINDS:
        raise Problem(f'{where} has the unknown kind "{kind}"{nearest(str(kind), KINDS)}')
    needed, optional = KINDS[kind]
    allowed = COMMON | OPTIONAL | needed | optional
    if unknown := [key for key in entry if key not in allowed]:
        raise Problem(f'{where} has the unknown key "{unknown[0]}"{nearest(unknown[0], sorted(allowed))}')
    if missing := sorted((COMMON | needed) - set(entry)):
        raise Problem(f'{where} lacks the key "{missing[0]}", which kind "{kind}" needs.')


def _check_values(entry: dict[str, Any], where: str) -> None:
    metrics = entry["metrics"]
    if not isinstance(metrics, list) or not metrics:
        raise Problem(f"{where}: metrics must be a list such as [ois, ods].")
    for metric in metrics:
        if metric not in METRICS:
            raise Problem(f'{where} has the unknown metric "{metric}"{nearest(str(metric), METRICS)}')
        if METRICS[metric][2] == 0 and entry["kind"] != "share":
            raise Problem(f'{where}: neither more nor less of "{metric}" is better; only kind "share" can judge it.')
    for key in NUMBERS:
        if key in entry and (isinstance(entry[key], bool) or not isinstance(entry[key], (int, float))):
            raise Problem(f'{where}: {key} must be a number, not "{entry[key]}".')
    for key in ("worse", "others", "neighbours"):
        if key in entry and not _as_list(entry[key]):
            raise Problem(f"{where}: {key} must name at least one row.")


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
