"""The published notebooks of the whole pipeline, run once more: tables come out the same to the letter."""
import re
from pathlib import Path

import nbformat
import pytest
from small_project import metrics, python

pytestmark = pytest.mark.slow
# One of every paper: the pipeline has executed all of them before, by the same code.
VALIDATED: tuple[str, ...] = (
    "rcam_constants", "dcsm_layers", "fcn_gbp", "csoa", "iam_transfer", "comparison")


def test_the_executed_notebooks_are_reproduced(copy: Path) -> None:
    """By nbval, which compares the output of the cells that are marked."""
    before = metrics(copy)
    names = [f"reports/smoke/notebooks/{name}.ipynb" for name in VALIDATED]
    words = ["-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", *names]
    done = python(copy, *words, PYTHONPATH=str(copy))
    assert done.status == 0, done.output
    count = 0
    for name in names:
        cells = nbformat.read(copy / name, as_version=4).cells
        count += sum(cell.cell_type == "code" for cell in cells)
    assert re.search(rf"^{count} passed", done.output, re.MULTILINE), done.output
    assert metrics(copy) == before   # what a notebook writes outside of the pipeline replaces nothing
