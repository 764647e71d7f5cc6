"""Whether `segment` over many photographs ends with the memory that it had after the first ones."""
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.base.race import OURS, Effort, quartiles
from lib.data.drawn import drawn_photo

METHOD = "rcam"
PHOTOGRAPHS = 1000
FIRST = 50             # photographs after which memory is compared
SIZES: tuple[tuple[int, int], ...] = ((96, 72), (72, 96), (112, 84), (80, 80))
PAUSE = 0.1            # seconds between two looks
LARGEST_GROWTH = 1.05   # of the memory after the first photographs: noise of the allocator


@dataclass(frozen=True)
class Moment:
    """How many photographs were done, after how many seconds, and the megabytes that were held then."""
    done: int
    seconds: float
    mb: float


def measured(effort: Effort) -> Iterator[dict[str, Any]]:
    """Small photographs of several sizes through the command line, watched from outside."""
    number = 2 * len(SIZES) if effort.quick else PHOTOGRAPHS
    first = len(SIZES) if effort.quick else FIRST
    with tempfile.TemporaryDirectory() as folder:
        photographs = draw_into(Path(folder) / "photographs", number)
        moments = watch(photographs, Path(folder) / "maps")
    yield entry(moments, number, first)


def draw_into(folder: Path, number: int) -> Path:
    """So many drawn photographs."""
    folder.mkdir()
    for i in range(number):
        drawn_photo(i, SIZES[i % len(SIZES)]).save(folder / f"{i:04d}.png")
    return folder


def watch(photographs: Path, out: Path, options: Sequence[str] = ()) -> list[Moment]:
    """Run `segment` in a process of its own and look at it until it ends."""
    command = [sys.executable, "-m", "lib", "segment", METHOD, str(photographs), "--out", str(out), *options]
    start = time.perf_counter()
    moments = []
    with tempfile.TemporaryFile("w+") as said:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said) as process:
            while process.poll() is None:
                done = len(list(out.glob("*_overlay.jpg")))
                mb = held_mb(process.pid)
                if mb:
                    moments.append(Moment(done, time.perf_counter() - start, mb))
                time.sleep(PAUSE)
        if process.returncode:
            said.seek(0)
            lines = said.read().splitlines() or [f"it ended with {process.returncode}"]
            raise Problem(f"bench: memory of segment {METHOD} could not be measured: {lines[-1]}")
    return moments


def entry(moments: Sequence[Moment], number: int, first: int) -> dict[str, Any]:
    """The most that was held while the photographs after the first ones, and while the last ones were done.

    Both are spans of `first` photographs: within a batch memory goes up and down. The time is what one
    photograph took between the spans' beginnings.
    """
    early = [moment for moment in moments if first <= moment.done < 2 * first]
    late = [moment for moment in moments if moment.done >= number - first]
    if not early or not late:
        raise Problem(f"bench: memory of segment {METHOD} was not seen after {first} of {number} "
                      "photographs; this row needs Linux and more than an instant.")
    early_mb = max(moment.mb for moment in early)
    late_mb = max(moment.mb for moment in late)
    growth = late_mb / early_mb
    ms = 1000 * (late[0].seconds - early[0].seconds) / max(late[0].done - early[0].done, 1)
    curve = [[moment.done, round(moment.seconds, 1), round(moment.mb)] for moment in thinned(moments)]
    return {"setting": f"segment {METHOD}, {number} photographs", "images": 1, "front": True,
            "ms": {OURS: quartiles([ms])}, "against": {}, "peak_mb": round(late_mb),
            "growth": {"after": first, "mb": round(early_mb), "times": round(growth, 3),
                       "most": LARGEST_GROWTH, "met": growth <= LARGEST_GROWTH},
            "curve": curve}


def thinned(moments: Sequence[Moment], most: int = 100) -> Sequence[Moment]:
    """About so many of them, and the last."""
    step = max(len(moments) // most, 1)
    return [*moments[:-1:step], moments[-1]]


def held_mb(pid: int) -> float:
    """Megabytes that a process and those that it started hold now; 0 where that cannot be told."""
    return sum(_resident_mb(one) for one in (pid, *_descendants(pid)))


def _resident_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:   # it has ended, or this is not Linux
        return 0.0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
    return sizes[0] / 1024 if sizes else 0.0


def _descendants(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in path.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found
