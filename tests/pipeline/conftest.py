"""The pipeline in small, run once for all tests of it."""
import os
import shutil
from pathlib import Path

import pytest
from side_by_side import Pipeline, shared_pipeline

# These files take minutes each, so they begin first; the others fill up what is left of two processes.
LONG: tuple[str, ...] = (
    "test_smoke_reruns.py", "test_smoke_notebooks.py", "test_smoke_interrupted.py", "test_smoke_results.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave all else in its order."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """What ran, once; processes that run tests side by side share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"
    folder.mkdir(exist_ok=True)
    made = shared_pipeline(folder)
    assert not made.failure, made.failure
    return made


@pytest.fixture
def project(pipeline: Pipeline) -> Path:
    """The folder in which it ran; tests leave it as it is."""
    return Path(pipeline.folder)


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A copy to be changed, without DVC's locks, which another test may hold."""
    locks = shutil.ignore_patterns("tmp")
    target = tmp_path / "copy"
    shutil.copytree(project, target, symlinks=True, ignore=locks)
    return target
