"""Stages beside each other: DVC itself runs one after the other and leaves the other cores idle.

Every stage gets a `dvc repro --single-item` of its own as soon as what it reads has been made. DVC has no
such mode (its issue 755); with `--wait-for-lock` two are safe beside each other, eight are not.
"""
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter

from lib.base.interrupts import Terminated
from lib.base.orphans import end_descendants
from lib.base.paths import ROOT
from lib.base.work import JOBS
from lib.pipeline.lock import stages_of, upstream
from lib.pipeline.times import seconds_of

AT_A_TIME = 2   # stages; cores beyond that work inside of them
UNKNOWN = 30.0   # seconds of a stage that was never timed
DVC: tuple[str, ...] = ("-m", "dvc", "--wait-for-lock", "repro", "--single-item")
CHATTER: tuple[str, ...] = (
    "> ", "Running stage", "Updating lock", "Generating lock", "Stage '", "To track the changes", "\tgit add",
    "To enable auto staging", "\tdvc config", "Use `dvc push`")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ended:
    """A stage that has run: DVC's exit status, what was said, and its seconds, DVC's own start included."""
    stage: str
    status: int
    output: str
    seconds: float

    @property
    def ran(self) -> bool:
        """Whether DVC ran its command; what is up to date is left alone."""
        return re.search("^Running stage ", self.output, re.MULTILINE) is not None


@dataclass
class Queue:
    """Stages in the order in which they may begin.

    before    what must have ended before a stage
    urgency   seconds from a stage's beginning to the end of the last one that waits for it
    """
    before: dict[str, set[str]]
    urgency: Mapping[str, float]
    ended: dict[str, Ended] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)

    def ready(self) -> list[str]:
        """The stages that may begin now, the most urgent first."""
        done = {stage for stage, run in self.ended.items() if run.status == 0}
        able = [stage for stage, needed in self.before.items()
                if needed <= done and stage not in self.ended and stage not in self.running]
        return sorted(able, key=lambda stage: -self.urgency[stage])


def run(tiers: Sequence[str], jobs: int, root: Path = ROOT, say: Say = print) -> list[Ended]:
    """Run every stage of the tiers that is not up to date, `AT_A_TIME` beside each other.

    A stage that fails keeps those from running that wait for it, and no others. What is running when Ctrl-C
    comes has heard of it, too, and is waited for; a request to terminate is passed on.
    """
    queue = _queue(tiers, root)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            return _run_queue(queue, pool, jobs, partial(_run_stage, root=root, say=say), say)
        except Terminated:
            end_descendants(signal.SIGTERM)
            raise


def _run_queue(queue: Queue, pool: ThreadPoolExecutor, jobs: int, run_stage: Callable[[str, int], Ended],
               say: Say) -> list[Ended]:
    runs: dict[Future[Ended], str] = {}
    while True:
        ready = queue.ready()
        for stage in ready[:AT_A_TIME - len(runs)]:
            is_alone = len(ready) + len(runs) == 1
            share = jobs if is_alone else max(1, jobs // AT_A_TIME)
            queue.running.add(stage)
            runs[pool.submit(run_stage, stage, share)] = stage
        if not runs:
            return list(queue.ended.values())
        for done in wait(runs, return_when=FIRST_COMPLETED).done:
            stage = runs.pop(done)
            queue.running.discard(stage)
            queue.ended[stage] = done.result()
            say(_summary(queue, queue.ended[stage]))


def _queue(tiers: Sequence[str], root: Path) -> Queue:
    """All stages of the tiers: a stage that is up to date takes DVC a moment, and no one knows it before."""
    before: dict[str, set[str]] = {"source": set()}
    seconds: dict[str, float] = {"source": UNKNOWN}
    for tier in tiers:
        stages = stages_of(tier, root)
        known = seconds_of(tier, root)
        for name, stage in stages.items():
            makers = {f"{maker}@{tier}" for maker in upstream(stage, stages)}
            before[f"{name}@{tier}"] = {"source"} | makers
            seconds[f"{name}@{tier}"] = known.get(name, UNKNOWN)
    for tier, later in pairwise(tiers):
        before[f"report@{later}"].add(f"report@{tier}")   # both write the front page
    return Queue(before, _urgency(before, seconds))


def _urgency(before: Mapping[str, set[str]], seconds: Mapping[str, float]) -> dict[str, float]:
    """Each stage's own seconds, and those of the longest chain of stages that waits for it."""
    after: dict[str, list[str]] = {stage: [] for stage in before}
    for stage, needed in before.items():
        for maker in needed:
            after[maker].append(stage)
    urgency: dict[str, float] = {}

    def of(stage: str) -> float:
        if stage not in urgency:
            longest = max((of(later) for later in after[stage]), default=0.0)
            urgency[stage] = seconds[stage] + longest
        return urgency[stage]

    for stage in before:
        of(stage)
    return urgency


def _run_stage(stage: str, jobs: int, root: Path, say: Say) -> Ended:
    """One stage by DVC; every line that it says is passed on under its name."""
    start = perf_counter()
    environment = {**os.environ, JOBS: str(jobs), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *DVC, stage], cwd=root, env=environment, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip() and not _is_chatter(line):
            say(f"{stage}: {line.rstrip()}")
    return Ended(stage, process.wait(), "".join(lines), perf_counter() - start)


def _is_chatter(line: str) -> bool:
    """DVC's advice on Git and remotes, which would be given once for every stage."""
    return line.startswith(CHATTER)


def _summary(queue: Queue, run: Ended) -> str:
    """How far the whole is: `[12/30] dcsm_train@collage: done in 95 s; running: csoa_train@collage`."""
    how = _how(run)
    running = f"; running: {', '.join(sorted(queue.running))}" if queue.running else ""
    return f"[{len(queue.ended)}/{len(queue.before)}] {run.stage}: {how}{running}"


def _how(run: Ended) -> str:
    if run.status:
        return "failed"
    return f"done in {run.seconds:.0f} s" if run.ran else "up to date"
