"""The whole pipeline once, by the command that people use, and shared by all processes of a test run."""
import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from small_project import checkout, python

JOBS = 2   # as many cores as any machine has


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
    """Every stage of the tier smoke."""
    done = python(project, "-m", "lib.pipeline", "repro", "--jobs", str(JOBS))
    ended = re.findall(r"^\[\d+/\d+\] (\S+): done in (\d+) s", done.output, re.MULTILINE)
    seconds = {stage: float(number) for stage, number in ended}
    return Pipeline(str(project), list(seconds), seconds, done.output if done.status else "")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that one process has at a time; it is free again when the process ends, however it does."""
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
