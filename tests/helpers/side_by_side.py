"""The whole pipeline once, two stages at a time, and shared by all processes of a test run."""
import fcntl
import json
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from small_project import Run, checkout, python

from lib.pipeline.lock import stages_of, upstream

AT_A_TIME = 2   # as many DVCs beside each other as are safe, and as many cores as any machine has
# Where several stages may begin, these do: what much else waits for, or what takes long itself.
FIRST: tuple[str, ...] = ("csoa_train", "proposals", "dcsm_train", "iam_train", "dcsm_maps", "comparison")


@dataclass(frozen=True)
class Pipeline:
    """A project in which every stage has run.

    ran       the stages that DVC ran, in the order in which they ended
    seconds   for every stage, DVC's own start among them
    """
    folder: str
    ran: list[str]
    seconds: dict[str, float]
    failure: str = ""


def shared_pipeline(folder: Path) -> Pipeline:
    """Run the pipeline in `folder`, or wait for the process that does; what failed is not tried again."""
    note = folder / "pipeline.json"
    with _alone(folder / "pipeline.lock"):
        if not note.is_file():
            note.write_text(json.dumps(asdict(run_pipeline(checkout(folder / "project")))))
    return Pipeline(**json.loads(note.read_text()))


def run_pipeline(project: Path) -> Pipeline:
    """Every stage of the tier smoke in a DVC of its own, as soon as what it reads is there.

    A single `dvc repro` runs one stage after the other and leaves the second core idle.
    """
    ended: dict[str, Run] = {}
    waiting = _in_order(project)
    running: dict[Future[Run], str] = {}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        while (waiting or running) and all(run.status == 0 for run in ended.values()):
            for stage in [name for name, before in waiting.items() if before <= set(ended)]:
                if len(running) < AT_A_TIME:
                    running[pool.submit(_run_stage, project, stage)] = stage
                    del waiting[stage]
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                ended[running.pop(done)] = done.result()
    ran = [name for run in ended.values() for name in run.stages]
    failures = [run.output for run in ended.values() if run.status]
    seconds = {name: round(run.seconds, 1) for name, run in ended.items()}
    return Pipeline(str(project), ran, seconds, "\n".join(failures))


def _in_order(project: Path) -> dict[str, set[str]]:
    """Every stage with those that must have run before it; those that go first stand first."""
    stages = stages_of("smoke", project)
    before = {"source": set[str]()}
    for name in (*FIRST, *stages):
        makers = upstream(stages[name], stages)
        before[f"{name}@smoke"] = {"source", *(f"{maker}@smoke" for maker in makers)}
    return before


def _run_stage(project: Path, stage: str) -> Run:
    return python(project, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", stage)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that one process has at a time; it is free again when the process ends, however it does."""
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
