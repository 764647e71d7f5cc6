"""What was tried and how it went, as a page: a line for each group, and every case that is not clear."""
from collections import Counter
from collections.abc import Mapping, Sequence

from lib.faults.case import Outcome
from lib.faults.runner import GROUPS, Tried
from lib.report.tables import markdown_row

HEADER: tuple[str, ...] = ("group", "cases tried", *(outcome.value for outcome in Outcome))
ABOUT = (
    "Everything that can be wrong with photographs, parameters, data sets, weights, files and folders, and "
    "programs that are killed: each is tried, and must end in *one clear sentence*, or be *handled* so that "
    "the result is right. Cases are drawn from the seed.")


def page(groups: Mapping[str, Sequence[Tried]], seed: int, before: str = "") -> str:
    """The page of a run; groups that were not tried again stay as in the seed's page from before."""
    made_by = f"Made by `python -m lib faults --seed {seed}`. {ABOUT}"
    rows = _rows(before) if made_by in before else {}
    rows |= {group: _line(group, found) for group, found in groups.items()}
    lines = ["# Faults that were tried", "", made_by, ""]
    lines += [markdown_row(HEADER), markdown_row(["---"] * len(HEADER))]
    lines += [rows[group] for group in GROUPS if group in rows]
    every = [each for found in groups.values() for each in found]
    unclear = [each for each in every if each.outcome is Outcome.NOT_CLEAR]
    if unclear:
        lines += ["", "## Not clear", "", *map(_detail, unclear)]
    return "\n".join(lines) + "\n"


def _rows(text: str) -> dict[str, str]:
    """The rows of a page by group; of those with a case that is not clear the details would be lost."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(HEADER) and cells[0] in GROUPS and cells[-1] == "0":
            rows[cells[0]] = line
    return rows


def _line(group: str, found: Sequence[Tried]) -> str:
    counts = Counter(each.outcome for each in found)
    return markdown_row([group, str(len(found)), *(str(counts[outcome]) for outcome in Outcome)])


def _detail(each: Tried) -> str:
    said = " ".join(each.said.split()) or "nothing was said"
    return f"- {each.case.group}: {each.case.name}: `{said}`"
