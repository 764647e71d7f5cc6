"""The whole pipeline once, in two lanes, and shared by all processes of a test run."""
import fcntl
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from small_project import Run, checkout, dvc

from lib.params import NOTEBOOKS

TRAININGS: tuple[tuple[str, ...], ...] = (
    ("csoa_train", "dcsm_train", "dcsm_maps"),
    ("proposals", "iam_train", "rcam_scales"))   # rCAM's notebooks start from no training
FIRST_LANE: tuple[str, ...] = ("comparison", "csoa", "csoa_positions", "csoa_thresholds", "rcam")
SECOND_LANE = tuple(name for name in NOTEBOOKS if name not in (*FIRST_LANE, *TRAININGS[1]))
# Stages in the order in which they may run: lanes stand beside each other and take about as long, and no
# stage starts from one of the other lane.
STEPS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("data",),), TRAININGS, (FIRST_LANE, SECOND_LANE), (("report",),))


@dataclass(frozen=True)
class Pipeline:
    """A project in which every stage has run.

    ran       the stages that DVC ran, those of a lane in their order
    failure   what DVC said where a stage failed
    """
    folder: str
    ran: list[str]
    failure: str = ""


def shared_pipeline(folder: Path) -> Pipeline:
    """Run the pipeline in `folder`, or wait for the process that does; what failed is not tried again."""
    note = folder / "pipeline.json"
    with _alone(folder / "pipeline.lock"):
        if not note.is_file():
            note.write_text(json.dumps(asdict(run_pipeline(checkout(folder / "project")))))
    return Pipeline(**json.loads(note.read_text()))


def run_pipeline(project: Path) -> Pipeline:
    """Every stage of the tier smoke, two at a time.

    A single `dvc repro` runs one stage after the other and leaves the second core idle; two beside each other
    are safe.
    """
    runs = [dvc(project, "repro", "source")]
    for lanes in STEPS:
        with ThreadPoolExecutor(len(lanes)) as pool:
            runs += pool.map(lambda names: _run_lane(project, names), lanes)
        if any(run.status for run in runs):
            break
    ran: list[str] = []
    for run in runs:
        ran += run.stages
    failures = [run.output for run in runs if run.status]
    return Pipeline(str(project), ran, "\n".join(failures))


def _run_lane(project: Path, names: Sequence[str]) -> Run:
    """Stages one after the other, all that they start from having run."""
    stages = [f"{name}@smoke" for name in names]
    return dvc(project, "--wait-for-lock", "repro", "--single-item", *stages)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that one process has at a time; it is free again when the process ends, however it does."""
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
