"""A fault that is tried: what is wrong, and how it was met - in one clear sentence, or all went well."""
import io
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from lib.base.paths import ROOT
from lib.base.problem import exit_status

SECONDS = 60          # that a case may take, even on a busy machine; one that hangs is not clear
SHORTEST = 15         # characters of a sentence that names something,
LONGEST = 600         # and of one that can be read, paths included
REFUSED = 2           # exit status of words that argparse does not understand,
REFUSAL = ": error: "  # and what it says then after the name of the program
FRONT_DOOR = "__main__"   # of lib: it stands above this room, which is called from it
PROGRAM: tuple[str, ...] = (sys.executable, "-m", "lib")
ENDS: tuple[str, ...] = (".", "?", ")")   # of a sentence


class Outcome(Enum):
    """How a fault was met."""
    CLEAR = "clear sentence"
    HANDLED = "handled"
    NOT_CLEAR = "not clear"


@dataclass(frozen=True)
class Case:
    """One fault.

    group   images, params, datasets, weights, kills or files
    name    says in words what is wrong, e.g. "a TIFF of floats with one inf"
    run     is given an empty folder; does the thing and judges what happened
    """
    group: str
    name: str
    run: Callable[[Path], Outcome]


class TooLong(BaseException):
    """A case hangs; nothing in the project catches this."""


def judged(action: Callable[[], Any], check: Callable[[Any], bool] | None = None, names: str = "") -> Outcome:
    """Run an action in this process and say how it went.

    It returns: handled, unless `check` finds its result wrong. It raises what command lines turn into one
    sentence: clear, where that is one line that names something (`names`, where that is given). All else is
    not clear, and why is printed on standard error.
    """
    results: list[Any] = []

    def command() -> None:
        results.append(action())

    said = io.StringIO()
    try:
        with within(SECONDS), redirect_stderr(said):
            status = exit_status(command, "Interrupted.")
    except BaseException as error:
        return _not_clear(error)
    if status == 0:
        return _checked(results[0], check)
    return _clear_or_not(said.getvalue(), names)


def refused(action: Callable[[], Any], names: str = "") -> Outcome:
    """Like `judged`, of what must not be accepted."""
    return judged(action, _never, names)


def refused_command(words: Sequence[str], names: str = "",
                    environment: Mapping[str, str] | None = None) -> Outcome:
    """Like `judged_command`, of what must not be accepted."""
    return judged_command(words, _never, names, environment)


def judged_command(words: Sequence[str], check: Callable[[str], bool] | None = None, names: str = "",
                   environment: Mapping[str, str] | None = None) -> Outcome:
    """Run `python -m lib WORDS` and say how it went.

    `check` sees what it printed. In this process, unless `environment` is given: then in one of its own, with
    these variables added.
    """
    if environment is None:
        status, printed, said = _here(words)
    else:
        status, printed, said = _apart(words, environment)
    if status == 0:
        return _checked(printed, check)
    if status == 1:
        return _clear_or_not(said, names)
    if status == REFUSED and REFUSAL in said and names in said:
        return Outcome.CLEAR
    print(f"exit status {status}: {said}", file=sys.stderr)
    return Outcome.NOT_CLEAR


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `TooLong` inside when so much time has passed."""
    def stop(*_: object) -> None:
        raise TooLong(f"still at it after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _here(words: Sequence[str]) -> tuple[int, str, str]:
    """Exit status, and what was printed and said."""
    printed, said = io.StringIO(), io.StringIO()
    status = 0
    before = signal.getsignal(signal.SIGINT)   # the command's own start changes it
    try:
        with within(SECONDS), redirect_stdout(printed), redirect_stderr(said):
            status = import_module(f"lib.{FRONT_DOOR}").main(list(words))
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        return -1, printed.getvalue(), traceback.format_exc()
    finally:
        signal.signal(signal.SIGINT, before)
    return status, printed.getvalue(), said.getvalue()


def _apart(words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    try:
        done = subprocess.run([*PROGRAM, *words], cwd=ROOT, env=variables, capture_output=True, text=True,
                              timeout=3 * SECONDS)
    except subprocess.TimeoutExpired as error:
        return -1, "", str(error)
    return done.returncode, done.stdout, done.stderr


def _checked(result: Any, check: Callable[[Any], bool] | None) -> Outcome:
    if check is None or check(result):
        return Outcome.HANDLED
    print(f"it went on with a wrong result: {result!r}", file=sys.stderr)
    return Outcome.NOT_CLEAR


def _clear_or_not(said: str, names: str) -> Outcome:
    """Every line must be a sentence (items that fail are listed first), and the last one the reason."""
    lines = said.strip().splitlines()
    if lines and all(_is_sentence(line) for line in lines) and names in lines[-1]:
        return Outcome.CLEAR
    print(f"said: {said.strip()!r}", file=sys.stderr)
    return Outcome.NOT_CLEAR


def _never(_: Any) -> bool:
    return False


def _is_sentence(line: str) -> bool:
    return SHORTEST <= len(line) <= LONGEST and line.endswith(ENDS) and line.isprintable()


def _not_clear(error: BaseException) -> Outcome:
    traceback.print_exception(error)
    return Outcome.NOT_CLEAR
