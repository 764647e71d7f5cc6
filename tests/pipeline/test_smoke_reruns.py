"""What runs again in the whole pipeline after an edit, and what does not: on copies in which all has run."""
import re
import resource
from pathlib import Path

import nbformat
import pytest
from small_project import (
    FROM_MAPS,
    RCAM,
    changed,
    descendants,
    dvc,
    edit,
    metrics,
    of_smoke,
    python,
    smoke,
)

from lib.params import NOTEBOOKS, STAGES

pytestmark = pytest.mark.slow
NET = "efficientnet_lite0"
SECONDS = 40   # of the processor, in which DVC sees that nothing is to be done


def published(project: Path, name: str) -> nbformat.NotebookNode:
    """A notebook as readers get it."""
    return nbformat.read(project / "reports" / "smoke" / "notebooks" / f"{name}.ipynb", as_version=4)


def processor_seconds() -> float:
    """What all processes took that were started here and have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_a_second_run_has_nothing_to_do(project: Path) -> None:
    reports = project / "reports" / "smoke"
    before = {path: path.stat().st_mtime_ns for path in reports.rglob("*")}
    start = processor_seconds()
    again = dvc(project, "repro")
    assert processor_seconds() - start <= SECONDS   # however busy the machine is
    assert again.status == 0
    assert again.stages == []
    assert "Data and pipelines are up to date." in again.output
    assert {path: path.stat().st_mtime_ns for path in reports.rglob("*")} == before


def test_what_was_made_is_up_to_date_and_says_by_which_code(project: Path) -> None:
    """In words, from what DVC noted and from what the stages left."""
    said = python(project, "-m", "lib.pipeline", "stale", "smoke").output
    others = [*STAGES, *NOTEBOOKS]
    assert said.splitlines() == [f"{name}@smoke: up to date" for name in [*others, "report"]], said
    reports = project / "reports" / "smoke"
    left = {path.name: path.read_bytes() for path in (reports / "code").iterdir()}
    assert left == {path.name: path.read_bytes() for path in (project / "build" / "source").iterdir()}
    page = (reports / "README.md").read_text(encoding="utf-8")
    assert f"- {', '.join(others)}: up to date\n" in page


def test_a_comment_runs_no_stage_but_source(copy: Path) -> None:
    """In a module that every stage uses."""
    path = copy / "lib" / "base" / "files.py"
    with open(path, "a") as stream:
        stream.write("\n# a word\n")
    edit(path, '"""Hex SHA-256 of a file."""', '"""The hash of a file, in hexadecimal."""')
    again = dvc(copy, "repro")
    assert again.status == 0, again.output
    assert again.stages == ["source"]


def test_a_changed_constant_runs_again_what_uses_it(copy: Path) -> None:
    """One of a paper's method: its stages, the comparison of all methods, and the report."""
    edit(copy / "lib" / "papers" / "rcam" / "method.py", r"^MAP_SIDE = 224\b", "MAP_SIDE = 192")
    assert dvc(copy, "repro", "source").stages == ["source"]
    assert changed(copy) == of_smoke(*RCAM, "comparison", "crf_exactness")
    assert descendants(copy, "comparison@smoke") == of_smoke("comparison", "report")
    said = python(copy, "-m", "lib.pipeline", "stale", "smoke").output.splitlines()
    assert "rcam_scales@smoke: code changed: MAP_SIDE" in said
    assert "dcsm@smoke: up to date" in said


def test_a_renamed_file_runs_nothing_again(copy: Path) -> None:
    """Its importers say so anew, a notebook among them, and a function moves to another module."""
    rcam = copy / "lib" / "papers" / "rcam"
    (rcam / "constants.py").rename(rcam / "search.py")
    notebook = copy / "notebooks" / "rcam_constants.ipynb"
    edit(notebook, "import constants, figures, tables", "import figures, search, tables")
    edit(copy / "notebooks" / "crf_exactness.ipynb", "rcam.constants import", "rcam.search import")
    notebook.write_text(re.sub(r"(?<![.\w])constants\.(?=\w+\()", "search.", notebook.read_text()))
    files = copy / "lib" / "base" / "files.py"
    function = "def sha256(" + files.read_text().split("def sha256(")[1].split("\n\n\n")[0]
    head = "import hashlib\nfrom pathlib import Path\n\n\n"
    (copy / "lib" / "base" / "hashes.py").write_text(f"{head}{function}\n")
    edit(files, re.escape(function), "")
    imported = "from pathlib import Path\n\nfrom lib.base.hashes import sha256"
    edit(files, r"^from pathlib import Path$", imported)

    again = dvc(copy, "repro")

    assert again.status == 0, again.output
    assert again.stages == ["source", "report@smoke"]   # which publishes what the notebook says now
    cells = code_cells(published(copy, "rcam_constants"))
    assert any("search.filter_grid" in cell.source for cell in cells)


def test_changed_prose_executes_nothing_and_is_published(copy: Path) -> None:
    """Neither do the outputs and counts that an editor leaves in a notebook, which nobody gets to see."""
    path = copy / "notebooks" / "rcam.ipynb"
    notebook = nbformat.read(path, as_version=4)
    ran = code_cells(published(copy, "rcam"))
    before = metrics(copy)
    prose = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    prose.source += "\n\nA sentence that nobody had written."
    for number, cell in enumerate(code_cells(notebook), start=1):
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", text="of an editor")]
    nbformat.write(notebook, path)

    again = dvc(copy, "repro")

    assert again.status == 0, again.output
    assert again.stages == ["source", "report@smoke"]
    now = published(copy, "rcam")
    assert any("A sentence that nobody had written." in cell.source for cell in now.cells)
    assert code_cells(now) == ran
    assert metrics(copy) == before


def test_a_parameter_runs_again_what_uses_it(copy: Path) -> None:
    edit(copy / "params.yaml", r"radii: \[.*?\]", "radii: [1, 3]")
    assert changed(copy) == of_smoke("rcam_scales")
    maps = descendants(copy, "dcsm_maps@smoke")
    assert maps == of_smoke("dcsm_maps", *FROM_MAPS, "crf_exactness", "report")


def test_raw_maps_resume_where_they_were(copy: Path) -> None:
    """What is lost is computed again, to the bit, and the rest is left as it is.

    Nothing is removed before the stage runs.
    """
    folder = copy / "build" / "smoke" / "dcsm_maps" / NET
    wanted = smoke(copy)["dcsm_maps"]["networks"][NET]
    maps = sorted(folder.rglob("*.npz"))
    contents = {path: path.read_bytes() for path in maps}
    written = {path: path.stat().st_mtime_ns for path in maps}
    for part, images in {"val": "val", "test": "test", "test_ablations": "ablations"}.items():
        assert sum(path.parent.name == part for path in maps) == wanted[images]
    lost = set()
    for part in ("test", "test_ablations"):
        lost.add(next(path for path in maps if path.parent.name == part))
    for path in lost:
        path.unlink()

    done = dvc(copy, "repro", "dcsm_maps@smoke")

    assert done.status == 0, done.output
    assert done.stages == ["dcsm_maps@smoke"]
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*.npz"))} == contents
    assert {path for path in maps if path.stat().st_mtime_ns != written[path]} == lost
