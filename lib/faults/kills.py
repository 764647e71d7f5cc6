"""Programs that are killed, told to terminate, or interrupted at any moment, and called again."""
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.data.images import open_image
from lib.faults.case import Case, Outcome
from lib.faults.pictures import encoded, noise

PHOTOGRAPHS = 4
MARK = "SUITE_FAULT"   # of the environment: which case a process belongs to
GONE = 15.0       # seconds in which all that was started must have ended
PATIENCE = 240.0  # seconds that a program may take if nobody kills it
SIGNALS: tuple[signal.Signals, ...] = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

# Proposals of a folder's photographs, as the stage finds them.
PROPOSALS = """
from lib.base import early
early.end_without_a_word()
import sys
from pathlib import Path
from lib.base.problem import exit_status
from lib.data.dataset import Dataset
from lib.proposals.store import compute
run = lambda: compute(Dataset(Path(sys.argv[1])), {"test": None}, Path(sys.argv[2]), {})
sys.exit(exit_status(run, "Interrupted; what was finished is kept."))
"""


@dataclass(frozen=True)
class Program:
    """A program that reads one folder and fills another, and in how many processes.

    moments   at which each signal is tried
    """
    name: str
    words: Callable[[Path, Path], list[str]]
    jobs: int
    moments: int


def _segment(photos: Path, out: Path) -> list[str]:
    return ["-m", "lib", "segment", "cam1", str(photos / "images"), "--out", str(out), "--batch", "1"]


def _proposals(photos: Path, out: Path) -> list[str]:
    return ["-c", PROPOSALS, str(photos), str(out)]


def _filled(_: Path, out: Path) -> list[str]:
    return ["-m", "lib.faults.filled", str(out)]


PROGRAMS: tuple[Program, ...] = (
    Program("a folder that two processes fill", _filled, 2, 12), Program("segment", _segment, 1, 3),
    Program("segment by two processes", _segment, 2, 2),
    Program("proposals by two processes", _proposals, 2, 4))


def cases(draw: random.Random) -> list[Case]:
    """All of them, at moments as drawn."""
    found = []
    for program in PROGRAMS:
        for by in SIGNALS:
            for number in range(program.moments):
                moment = (number + draw.random()) / program.moments   # of the time that the whole takes
                name = f"{program.name}, {by.name} after {100 * moment:.0f} % of its time"
                found.append(Case("kills", name, partial(_killed, program, by, moment)))
    return found


@cache
def _photographs() -> Path:
    """A data set that all programs read; it goes when this process ends."""
    from lib.data.writer import writing

    holder = TemporaryDirectory(prefix="fault-photographs-")
    _holders.append(holder)
    folder = Path(holder.name) / "noise"
    with writing(folder, "noise", "1", "made for a fault", "none", ["noise"]) as writer:
        for number in range(PHOTOGRAPHS):
            path = writer.path("images", f"{number}.png")
            path.write_bytes(encoded(noise(size=(150, 100), seed=number), "PNG"))
            writer.sample(str(number), f"images/{number}.png", "test", ["noise"])
    return folder


_holders: list[TemporaryDirectory] = []


@cache
def _undisturbed(program: Program) -> tuple[dict[str, bytes], float]:
    """What the program leaves if nobody kills it, and how long it takes."""
    with TemporaryDirectory() as folder:
        start = time.monotonic()
        process = _started(program, Path(folder) / "out", "undisturbed")
        _, said = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise Problem(f"{program.name}: fails without being killed ({said.strip()[-200:]}).")
        return _contents(Path(folder) / "out"), time.monotonic() - start


def _started(program: Program, out: Path, mark: str) -> subprocess.Popen:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "JOBS": str(program.jobs), MARK: mark}
    words = [sys.executable, *program.words(_photographs(), out)]
    return subprocess.Popen(words, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True, preexec_fn=_heed_interruptions)


def _heed_interruptions() -> None:
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _killed(program: Program, by: signal.Signals, moment: float, folder: Path) -> Outcome:
    """No process outlives it, no file is half written, and another call ends as if nothing had been."""
    expected, seconds = _undisturbed(program)
    out = folder / "out"
    mark = uuid.uuid4().hex
    process = _started(program, out, mark)
    time.sleep(moment * seconds)
    if by is signal.SIGINT:   # as a terminal sends it, to all
        with suppress(ProcessLookupError):
            os.killpg(process.pid, by)
    else:
        process.send_signal(by)
    _, said = process.communicate(timeout=PATIENCE)
    faults = []
    if "Traceback" in said and str(ROOT / "lib") in said:   # Python itself is not ours to hush
        faults.append(f"a traceback: {said[-300:]}")
    faults += [f"it leaves a process behind: {command}" for command in _left(mark)]
    faults += [f"{path} is half written" for path in _half_written(out)]
    again = _started(program, out, mark)
    _, said = again.communicate(timeout=PATIENCE)
    if again.returncode or _contents(out) != expected:
        faults.append(f"another call does not end as it should, status {again.returncode}: {said[-300:]}")
    print(*faults, sep="; ", file=sys.stderr)
    return Outcome.NOT_CLEAR if faults else Outcome.HANDLED


def _contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _half_written(folder: Path) -> list[str]:
    """Files under their own name that cannot be read; `.part-` ones say themselves what they are."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".npz":
                np.load(path).close()
            elif path.suffix in (".png", ".jpg"):
                open_image(path)
        except Exception:   # whatever it is that half a file meets
            found.append(path.name)
    return found


def _left(mark: str) -> list[str]:
    """Commands of processes of the case that are still there after a while."""
    end = time.monotonic() + GONE
    while True:
        there = _marked(mark)
        if not there or time.monotonic() > end:
            return there
        time.sleep(0.1)


def _marked(mark: str) -> list[str]:
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                commands.append((process / "cmdline").read_text().replace("\0", " ")[:80])
        except OSError:   # gone, or somebody else's
            continue
    return commands
