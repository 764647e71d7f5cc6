"""What work costs: how long actions take, side by side, and how much memory a program has held.

Measure in a process of its own, where nothing else counts: `answer_of` starts one and reads its answer.
"""
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

ROUNDS = 5   # of timing, after one that warms up


def answer_of(module: str, words: Sequence[str], what: str) -> Any:
    """Run `python -m MODULE WORDS` and return the JSON value in the last line that it prints.

    `what` begins the sentence about a failure.
    """
    command = [sys.executable, "-m", module, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        silent = f"it ended with {done.returncode}, perhaps for want of memory"
        said = done.stderr.strip().splitlines() or [silent]
        raise Problem(f"{what}: {said[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def medians(actions: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds that each action takes: the median of `rounds`, after one more round that warms up."""
    times = rounds_of(actions, rounds)
    return {name: round(median(values), 1) for name, values in times.items()}


def rounds_of(actions: Mapping[str, Callable[[], object]], rounds: int,
              warm_ups: int = 1) -> dict[str, list[float]]:
    """Milliseconds that each action takes in each of `rounds`, after rounds that warm up.

    The actions take turns, in their order, so that a busy moment of the machine meets all of them. One may
    use what an earlier one left in the same round. The time includes work that an action starts on a GPU.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(warm_ups + rounds):
        for name, action in actions.items():
            start = perf_counter()
            action()
            wait_for_gpu()
            times[name].append(1000 * (perf_counter() - start))
    return {name: values[warm_ups:] for name, values in times.items()}


def wait_for_gpu() -> None:
    """Go on when the GPU has done all that it was given; at once where this program uses none.

    A program that has not imported torch has given a GPU nothing, so torch is not imported for this.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_mb() -> float:
    """Megabytes of memory that this program has held at most."""
    return _megabytes("VmHWM")


def held_mb() -> float:
    """Megabytes of memory that this program holds; where only Linux could say, that it has held at most."""
    return _megabytes("VmRSS")


def _megabytes(fact: str) -> float:
    status = Path("/proc/self/status")
    if not status.exists():   # not Linux: this also counts what the parent held when it started this program
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = [line for line in status.read_text().splitlines() if line.startswith(fact)]
    return int(lines[0].split()[1]) / 1024
