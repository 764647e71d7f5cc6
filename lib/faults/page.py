"""What was tried and how it went, as a page: a line for each group, and every case that is not clear."""
from collections import Counter
from collections.abc import Mapping, Sequence

from lib.faults.case import Outcome
from lib.faults.runner import Tried
from lib.report.tables import markdown_row

HEADER: tuple[str, ...] = ("group", "cases tried", *(outcome.value for outcome in Outcome))
ABOUT = (
    "Everything that can be wrong with photographs, parameters, data sets, weights, files and folders, and "
    "programs that are killed: each is tried, and must end in *one clear sentence*, or be *handled* so that "
    "the result is right. Cases are drawn from the seed.")


def page(groups: Mapping[str, Sequence[Tried]], seed: int) -> str:
    """The page of a run, by group."""
    lines = ["# Faults that were tried", "", f"Made by `python -m lib faults --seed {seed}`. {ABOUT}", ""]
    lines += [markdown_row(HEADER), markdown_row(["---"] * len(HEADER))]
    lines += [_line(group, found) for group, found in groups.items()]
    every = [each for found in groups.values() for each in found]
    unclear = [each for each in every if each.outcome is Outcome.NOT_CLEAR]
    if unclear:
        lines += ["", "## Not clear", "", *map(_detail, unclear)]
    return "\n".join(lines) + "\n"


def _line(group: str, found: Sequence[Tried]) -> str:
    counts = Counter(each.outcome for each in found)
    return markdown_row([group, str(len(found)), *(str(counts[outcome]) for outcome in Outcome)])


def _detail(each: Tried) -> str:
    said = " ".join(each.said.split()) or "nothing was said"
    return f"- {each.case.group}: {each.case.name}: `{said}`"
