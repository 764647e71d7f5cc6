"""Work that is measured in a process of its own, so that its time and memory are its own."""
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from lib.base.paths import ROOT
from lib.base.problem import Problem


def answer_of(module: str, words: Sequence[str], what: str) -> Any:
    """The JSON in the last line that `python -m MODULE WORDS` prints; `what` begins the sentence about a failure."""
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}, perhaps for want of memory"]
        raise Problem(f"{what}: {said[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_mb() -> float:
    """The most memory this program has held; getrusage would also count what its parent held when it was started."""
    status = Path("/proc/self/status")
    if not status.exists():   # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


ROUNDS = 5


def medians(actions: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds, of so many rounds after one that warms up; the actions take turns, so that a busy moment meets all of them.

    An action that starts work on a GPU waits for it.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(1 + ROUNDS):
        for name, action in actions.items():
            start = perf_counter()
            action()
            times[name].append(1000 * (perf_counter() - start))
    return {name: round(median(values[1:]), 1) for name, values in times.items()}
