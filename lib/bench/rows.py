"""Every row of the benchmark by its name; papers bring their own in `races.py`."""
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.base.race import Effort, Race, run
from lib.papers import PAPERS
from lib.params import load_params

Entries = Iterator[dict[str, Any]]
ROWS: tuple[str, ...] = (
    "cam", "guided", "prm", "filling", "guided_filter", "crf", "rcam", "jobs", "methods", "memory")


def measured(row: str, effort: Effort) -> list[dict[str, Any]]:
    """What a row measured: one entry a setting."""
    alone = {"methods": _methods, "memory": _memory}
    if row in alone:
        return list(alone[row](effort))
    if row == "jobs" and not effort.quick:
        from lib.bench.jobs import FEW
        effort = FEW
    return [run(race, effort) for race in progress(_races(row, effort), row)]


def known_rows(names: Sequence[str] | None) -> list[str]:
    """The rows that are asked for, in their order, or all of them."""
    for name in names or ():
        if name not in ROWS:
            raise Problem(f'--rows: there is no row "{name}"{nearest(name, ROWS)}')
    return [row for row in ROWS if not names or row in names]


def _races(row: str, effort: Effort) -> Iterator[Race]:
    """The row's races, shared ones and those of papers; they are made when they are reached."""
    shared = {"cam": _cams, "guided": _guided, "guided_filter": _guided_filter, "crf": _crf, "jobs": _jobs}
    makers = [shared[row]] if row in shared else []
    for make in [*makers, *_of_papers(row)]:
        yield from make(effort)


def _of_papers(row: str) -> list[Callable[[Effort], Iterator[Race]]]:
    """The paper's own maker of the row, which gets the suite's parameters too."""
    params = load_params()
    makers = []
    for paper in PAPERS:
        if find_spec(f"lib.papers.{paper}.races"):
            own = import_module(f"lib.papers.{paper}.races").RACES
            makers += [partial(own[name], params=params) for name in own if name == row]
    return makers


def _cams(effort: Effort) -> Iterator[Race]:
    from lib.bench import cams
    return cams.races(effort)


def _guided(effort: Effort) -> Iterator[Race]:
    from lib.bench import guided
    return guided.races(effort)


def _guided_filter(effort: Effort) -> Iterator[Race]:
    from lib.bench import refiners
    return refiners.guided_races(effort)


def _crf(effort: Effort) -> Iterator[Race]:
    from lib.bench import refiners
    return refiners.crf_races(effort)


def _jobs(effort: Effort) -> Iterator[Race]:
    from lib.bench import jobs
    return jobs.races(effort)


def _methods(effort: Effort) -> Entries:
    from lib.bench import methods
    return methods.measured(effort)


def _memory(effort: Effort) -> Entries:
    from lib.bench import memory
    return memory.measured(effort)
