"""Where the time of a tier goes: what every stage spent when it last ran, by kind of work.

A stage that ends leaves `reports/<tier>/times/<stage>.json`, which is no output of dvc.yaml: a stage is not
to run again because a note about its time is missing.
"""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.base.files import write_json
from lib.base.paths import REPORTS, ROOT
from lib.base.problem import Problem
from lib.base.spent import KINDS, accounts
from lib.base.work import jobs
from lib.report.results import read_json
from lib.report.tables import markdown_row

Times = dict[str, float]   # wall, cpu, every kind of work, jobs
TITLES = {"training": "training", "forward": "forward", "backward": "backward", "crf": "CRF",
          "proposals": "proposals", "decoding": "decoding"}
HEAD: tuple[str, ...] = ("stage", "seconds", "CPU seconds", *TITLES.values(), "other work", "waiting")


@contextmanager
def timed(stage: str, tier: str, reports: Path = REPORTS) -> Iterator[None]:
    """Write what the stage spends inside, when it has ended well."""
    with accounts() as spent:
        yield
    rounded = {kind: round(seconds, 1) for kind, seconds in spent.items()}
    write_json(_folder(tier, reports) / f"{stage}.json", {**rounded, "jobs": jobs()})


def seconds_of(tier: str, root: Path = ROOT) -> dict[str, float]:
    """Seconds on the clock of every stage that was ever timed."""
    return {stage: times["wall"] for stage, times in times_of(tier, root / "reports").items()}


def times_of(tier: str, reports: Path = REPORTS) -> dict[str, Times]:
    """What every stage of a tier spent, the longest first."""
    known: dict[str, Any] = {}
    for path in sorted(_folder(tier, reports).glob("*.json")):
        known[path.stem] = read_json(path.read_text(encoding="utf-8"), str(path))
    return dict(sorted(known.items(), key=lambda item: -item[1]["wall"]))


def table(tier: str, reports: Path = REPORTS) -> str:
    """Every stage of a tier as a line of a markdown table, and their sums."""
    known = times_of(tier, reports)
    if not known:
        raise Problem(f"{_folder(tier, reports)}: no stage of the tier {tier} was timed; run make repro.")
    total = dict.fromkeys(("wall", "cpu", *KINDS), 0.0)
    for times in known.values():
        for key in total:
            total[key] += times[key]
    lines = [markdown_row(HEAD), markdown_row(["---", *["---:"] * (len(HEAD) - 1)])]
    for name, times in (*known.items(), ("all", total)):
        lines.append(markdown_row([name, *map(_seconds, _columns(times))]))
    return "\n".join(lines) + "\n"


def print_times(tiers: Sequence[str]) -> None:
    """The tables of these tiers."""
    for tier in tiers:
        print(f"{tier}: seconds of every stage when it last ran, by kind of work\n\n{table(tier)}")


def _columns(times: Times) -> list[float]:
    """Waiting is what a stage's own process would have had on one core: for disks, for other stages."""
    kinds = [times[kind] for kind in KINDS]
    wall, cpu = times["wall"], times["cpu"]
    return [wall, cpu, *kinds, cpu - sum(kinds), max(0.0, wall - cpu)]


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 0.5 else "·"


def _folder(tier: str, reports: Path) -> Path:
    return reports / tier / "times"
