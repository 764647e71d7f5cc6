"""An executed notebook as readers get it: its outputs under the prose and the code of the notebook today.

Prose is not code: a word changed in it needs no execution. Outputs belong to code, so they are laid under
the same code alone: cells of the same syntax tree, or of the same digest, where only the place of what they
import changed.
"""
from collections.abc import Collection, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode as Node  # a notebook, or one of its cells

from lib.base.files import whole_file
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.pipeline.cells import same_cell
from lib.pipeline.notebook import read, stripped

INJECTED = "injected-parameters"   # papermill's tag of the cell with the tier's values, which no source has


def publish_notebook(executed: Path, source: Path, target: Path, unchanged: Collection[int] = ()) -> None:
    """Write today's notebook with the outputs of the executed one, without what belongs to one machine.

    Left out are timings, warnings on standard error and the project's path. Where a code cell is no longer
    the one that was executed, it is named and nothing is written. `unchanged`: numbers of code cells, from 1
    on, that are known to run the same code.
    """
    ran, notebook = read(executed), stripped(read(source))
    notebook.cells = list(_laid(ran, notebook, source.name, unchanged))
    notebook.metadata = ran.metadata
    notebook.metadata.pop("papermill", None)
    with whole_file(target) as part:
        part.write_text(nbformat.writes(notebook).replace(f"{ROOT}/", ""), encoding="utf-8")


def _laid(ran: Node, notebook: Node, name: str, unchanged: Collection[int]) -> Iterator[Node]:
    """Today's cells with their outputs; the cell with the tier's values stays where it was executed."""
    done = [cell for cell in ran.cells if cell.cell_type == "code" and cell.source.strip()]
    yield from _injected(done)
    number = 0
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip():
            number += 1
            if not done or not (number in unchanged or same_cell(cell, done[0])):
                raise _changed(name, number)
            yield _with_outputs(cell, done.pop(0))
            yield from _injected(done)
        else:
            yield cell
    if done:
        raise _changed(name, number + 1)


def _injected(done: list[Node]) -> Iterator[Node]:
    """Take the cells with the tier's values that come first."""
    while done and INJECTED in done[0].metadata.get("tags", ()):
        cell = done.pop(0)
        shown = nbformat.v4.new_code_cell(cell.source, id=INJECTED, metadata={"tags": [INJECTED]})
        yield _with_outputs(shown, cell)


def _with_outputs(cell: Node, ran: Node) -> Node:
    cell.outputs = [output for output in ran.outputs if output.get("name") != "stderr"]
    cell.execution_count = ran.execution_count
    return cell


def _changed(name: str, number: int) -> Problem:
    return Problem(f"{name}: code cell {number} is not the one that was executed, so its outputs cannot be "
                   "published; run the notebook again (make repro).")
