"""Where the time goes: CPU seconds of this program, and of all that it starts, by kind of work.

Functions say what they do with `spends`; a stage reads what all of its processes spent with `accounts`.
"""
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from multiprocessing.util import Finalize
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import ParamSpec, TypeVar

from lib.base.environment import environment
from lib.base.files import whole_file

P = ParamSpec("P")
R = TypeVar("R")

KINDS: tuple[str, ...] = ("training", "forward", "backward", "crf", "proposals", "decoding")
WITHIN_TRAINING: tuple[str, ...] = ("forward", "backward")   # of a training they are the training itself
FOLDER = "SUITE_SPENT"   # names the folder where every process leaves its account

_seconds = dict.fromkeys(KINDS, 0.0)
_open: list[str] = []   # kinds of the work in hand, the innermost last
_since = [0.0]          # when the innermost began, or went on


@contextmanager
def spending(kind: str) -> Iterator[None]:
    """Count the CPU seconds inside as this kind of work; work of another kind within it counts as that."""
    if kind in WITHIN_TRAINING and "training" in _open:
        yield
        return
    _book()
    _open.append(kind)
    try:
        yield
    finally:
        _book()
        _open.pop()


def spends(kind: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function whose CPU seconds are this kind of work."""
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            with spending(kind):
                return function(*args, **kwargs)
        return counted
    return decorate


def account() -> dict[str, float]:
    """CPU seconds of this process by kind so far, and `cpu`, all that it has used."""
    _book()
    return {"cpu": process_time(), **_seconds}


def leave_account() -> None:
    """Write this process's account where the stage that it belongs to looks for it, if there is one."""
    folder = os.environ.get(FOLDER)
    if folder and Path(folder).is_dir():
        with whole_file(Path(folder) / f"{os.getpid()}.json") as part:
            part.write_text(json.dumps(account()))


@contextmanager
def accounts() -> Iterator[dict[str, float]]:
    """Sum what this process and all that it starts spend inside; complete when the block has ended.

    Beside the kinds of work: `wall`, seconds on the clock, and `cpu`, seconds on all processors.
    """
    total: dict[str, float] = {}
    before = account()
    start = perf_counter()
    with TemporaryDirectory() as folder:
        with environment({FOLDER: folder}):
            yield total
        parts = [json.loads(path.read_text()) for path in Path(folder).glob("[0-9]*.json")]
    here = account()
    parts.append({kind: here[kind] - before[kind] for kind in here})
    total["wall"] = perf_counter() - start
    for kind in ("cpu", *KINDS):
        total[kind] = sum(part[kind] for part in parts)


def _book() -> None:
    """Book the time since the last change to the work in hand."""
    now = process_time()
    if _open:
        _seconds[_open[-1]] += now - _since[0]
    _since[0] = now


if os.environ.get(FOLDER):
    Finalize(None, leave_account, exitpriority=0)
