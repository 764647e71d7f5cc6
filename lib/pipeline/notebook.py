"""Running a notebook as a stage: checked parameters, a fresh kernel, and results published only when all of it is well."""
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from lib.files import whole_file
from lib.paths import BUILD, REPORTS, ROOT
from lib.problem import Problem, nearest
from lib.report.record import OUTPUT

TIMEOUT = 4 * 3600   # seconds a cell may take


def strip(source: Path, target: Path) -> None:
    """A notebook without outputs, counts and editor metadata: what stages depend on."""
    notebook = read(source)
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        cell["id"] = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                         "language_info": {"name": "python"}}
    with whole_file(target) as part:
        nbformat.write(notebook, part)


def read(path: Path) -> nbformat.NotebookNode:
    """Parse a notebook; a damaged one is named."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise Problem(f"{path}: there is no such notebook.") from None
    except Exception as error:
        raise Problem(f"{path}: not a notebook ({type(error).__name__}: {' '.join(str(error).split())[:200]}).") from None


def run_notebook(source: Path, tier: str, parameters: dict[str, Any], reports: Path = REPORTS, build: Path = BUILD) -> None:
    """Execute a stripped notebook; publish its metrics and figures below reports/<tier> and the notebook below build/<tier>."""
    name = source.stem
    check_parameters(source, parameters)
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".part-{name}-", dir=build) as folder:
        staging = Path(folder)
        executed = _execute(source, staging / f"{name}.ipynb", parameters, build / "failed" / f"{name}.ipynb")
        metrics = staging / "metrics" / f"{name}.json"
        if not metrics.is_file():
            raise Problem(f"{source.name}: ended without writing its metrics file, so nothing is published; its last cell must call save().")
        _publish(staging / "figures" / name, reports / tier / "figures" / name)
        _publish(executed, build / tier / f"{name}.ipynb")
        _publish(metrics, reports / tier / "metrics" / f"{name}.json")


def check_parameters(source: Path, parameters: dict[str, Any]) -> None:
    """papermill only warns about a parameter that the notebook does not have; here it is a fault."""
    import papermill

    known = papermill.inspect_notebook(str(source))
    for key in parameters:
        if key not in known:
            raise Problem(f'{source.name}: has no parameter "{key}"{nearest(key, known)}')


def _execute(source: Path, target: Path, parameters: dict[str, Any], failed: Path) -> Path:
    import papermill

    environment = {OUTPUT: str(target.parent), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore::FutureWarning"}
    os.environ.update(environment)
    try:
        papermill.execute_notebook(str(source), str(target), parameters=parameters, kernel_name="python3", cwd=str(ROOT),
                                   progress_bar=sys.stderr.isatty(), execution_timeout=TIMEOUT, log_output=False,
                                   extra_arguments=["--IPKernelApp.log_level=40"])
        check_complete(target)
    except Exception as error:
        if target.exists():
            failed.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target, failed)
        cause = f"{error.ename}: {error.evalue}" if hasattr(error, "ename") else str(error) or type(error).__name__
        raise Problem(f"{source.name}: failed, nothing is published; {' '.join(cause.split())[:400]} (as far as it came: {failed}).") from None
    _clean(target)
    return target


def check_complete(path: Path) -> None:
    """A killed kernel can leave a notebook that claims to be complete: every code cell must have been counted, without an error."""
    cells = [c for c in read(path).cells if c.cell_type == "code" and c.source.strip()]
    for number, cell in enumerate(cells, start=1):
        if cell.execution_count != number:
            raise Problem(f"{path.name}: the kernel died before code cell {number} of {len(cells)} was finished.")
        if any(output.output_type == "error" for output in cell.outputs):
            raise Problem(f"{path.name}: code cell {number} ended in an error.")


def _clean(path: Path) -> None:
    """Timings and paths of one machine do not belong into a published notebook."""
    notebook = read(path)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)


def _publish(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() or not source.exists():
        shutil.rmtree(target, ignore_errors=True)
        source.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
