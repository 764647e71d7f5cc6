"""Runs the cases of the groups that are asked for, each in an empty folder of its own."""
import io
import random
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.faults.case import Case, Outcome

GROUPS: tuple[str, ...] = ("images", "params", "datasets", "weights", "kills", "files")
SLOW: tuple[str, ...] = ("kills",)   # tried only where they are asked for
QUICK = 25                           # cases of a group, of a quick run
DETAIL = 400                         # characters that are kept of what an unclear case said


@dataclass(frozen=True)
class Tried:
    """A case and how it went; `said` is the end of what it printed."""
    case: Case
    outcome: Outcome
    said: str


def known_groups(asked: Sequence[str] | None) -> list[str]:
    """The groups that are asked for, in their order; all but the slow ones where none is."""
    if not asked:
        return [group for group in GROUPS if group not in SLOW]
    for group in asked:
        if group not in GROUPS:
            raise Problem(f'--groups: there is no group "{group}"{nearest(group, GROUPS)}')
    return [group for group in GROUPS if group in asked]


def cases_of(group: str, seed: int, quick: bool = False) -> list[Case]:
    """The cases of a group as the seed draws them; of a quick run, some of them."""
    cases = import_module(f"lib.faults.{group}").cases(random.Random(f"{group} {seed}"))
    if quick and len(cases) > QUICK:
        return random.Random(f"quick {group} {seed}").sample(cases, QUICK)
    return cases


def tried(cases: Sequence[Case], label: str) -> list[Tried]:
    """Try every case."""
    return [_tried(case) for case in progress(cases, label)]


def _tried(case: Case) -> Tried:
    printed = io.StringIO()
    with TemporaryDirectory(prefix="fault-") as folder, redirect_stdout(printed), redirect_stderr(printed):
        try:
            outcome = case.run(Path(folder))
        except Exception:   # the case itself is at fault, and so it is not clear either
            traceback.print_exc()
            outcome = Outcome.NOT_CLEAR
    return Tried(case, outcome, printed.getvalue().strip()[-DETAIL:])
