"""Running a notebook as a stage: checked parameters, a fresh kernel, and results only when all is well."""
import contextlib
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from lib.base.disk import make_folder
from lib.base.environment import environment
from lib.base.files import move_file, move_folder, part_folder, whole_file
from lib.base.paths import BUILD, REPORTS, ROOT
from lib.base.problem import Problem, nearest
from lib.report.record import OUTPUT

TIMEOUT = 4 * 3600    # seconds a cell may take
LONGEST_CAUSE = 200   # characters of an error that are quoted


def strip(source: Path, target: Path) -> None:
    """Write a notebook without outputs, counts and editor metadata: what is executed."""
    with whole_file(target) as part:
        nbformat.write(stripped(read(source)), part)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook's prose, code and tags alone, changed in place."""
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        cell["id"] = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    notebook.nbformat_minor = 5   # the first with cell ids, whatever the editor wrote
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                         "language_info": {"name": "python"}}
    return notebook


def read(path: Path) -> nbformat.NotebookNode:
    """Parse a notebook; a damaged one is named."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise Problem(f"{path}: there is no such notebook.") from None
    except Exception as error:
        cause = " ".join(str(error).split())[:LONGEST_CAUSE]
        raise Problem(f"{path}: not a notebook ({type(error).__name__}: {cause}).") from None


def run_notebook(source: Path, tier: str, parameters: dict[str, Any], reports: Path = REPORTS,
                 build: Path = BUILD) -> None:
    """Execute a notebook; publish metrics and figures below reports/<tier>, itself below build/<tier>."""
    name = source.stem
    failed = build / "failed" / source.name
    check_parameters(source, parameters)
    with part_folder(build / f"{tier}-{name}") as staging:
        plain = staging / "source" / source.name
        strip(source, plain)
        executed = _execute(plain, staging / source.name, parameters, failed)
        metrics = staging / "metrics" / f"{name}.json"
        if not metrics.is_file():
            _keep(executed, failed)
            raise Problem(f"{source.name}: ended without writing its metrics file, so nothing is published; "
                          f"its last cell must call record.close() (as it ran: {failed}).")
        figures = staging / "figures" / name
        make_folder(figures)   # some notebooks draw none
        move_folder(figures, reports / tier / "figures" / name, _own_figures)
        move_file(executed, build / tier / "notebooks" / source.name)
        move_file(metrics, reports / tier / "metrics" / f"{name}.json")


def _own_figures(_: Path) -> None:
    """Accept that figures are replaced: the project alone writes to that place of its reports."""


def check_parameters(source: Path, parameters: dict[str, Any]) -> None:
    """papermill only warns about a parameter that the notebook does not have; here it is a fault."""
    import papermill

    read(source)
    known = papermill.inspect_notebook(str(source))
    for key in parameters:
        if key not in known:
            raise Problem(f'{source.name}: has no parameter "{key}"{nearest(key, known)}')


def _execute(source: Path, target: Path, parameters: dict[str, Any], failed: Path) -> Path:
    import papermill

    inherited = {
        OUTPUT: str(target.parent), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore::FutureWarning",
        "MPLBACKEND": None}   # a kernel shows figures in its own way, unless this says otherwise
    try:
        with environment(inherited), _without_grumbling():
            papermill.execute_notebook(
                str(source), str(target), parameters=parameters, kernel_name="python3", cwd=str(ROOT),
                progress_bar=sys.stderr.isatty(), execution_timeout=TIMEOUT, log_output=False,
                # An interrupted kernel would grumble at errors (40) of its own.
                extra_arguments=["--IPKernelApp.log_level=50"])
        check_complete(target)
    except Exception as error:
        if target.exists():
            _keep(target, failed)
        raise Problem(f"{source.name}: failed, nothing is published; {_cause(error)} "
                      f"(as far as it came: {failed}).") from None
    return target


@contextlib.contextmanager
def _without_grumbling() -> Iterator[None]:
    """Keep papermill, its client and asyncio from logging what a sentence says when all has ended.

    After an interruption they stay silent: what they leave undone complains when the program ends.
    """
    logging.disable(logging.CRITICAL)
    try:
        yield
    except Exception:
        logging.disable(logging.NOTSET)
        raise
    logging.disable(logging.NOTSET)


def _cause(error: Exception) -> str:
    """The cause of a failure in one line; for an error in a cell, its own name and words."""
    if hasattr(error, "ename"):
        words = f"{error.ename}: {error.evalue}"
    else:
        words = str(error) or type(error).__name__
    return " ".join(words.split())[:2 * LONGEST_CAUSE]


def _keep(notebook: Path, failed: Path) -> None:
    make_folder(failed.parent)
    shutil.copyfile(notebook, failed)


def check_complete(path: Path) -> None:
    """Refuse a notebook in which a code cell was not counted, or ended in an error.

    A killed kernel can leave one that claims to be complete.
    """
    cells = [c for c in read(path).cells if c.cell_type == "code" and c.source.strip()]
    for number, cell in enumerate(cells, start=1):
        if cell.execution_count != number:
            raise Problem(f"{path.name}: the kernel died before code cell {number} of {len(cells)} "
                          "was finished.")
        if any(output.output_type == "error" for output in cell.outputs):
            raise Problem(f"{path.name}: code cell {number} ended in an error.")
