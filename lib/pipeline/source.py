"""The code of every stage as a file, for DVC to compare and for people to read later.

`build/source/<stage>.json` holds name and digest of each definition that the stage runs, a notebook's code
cells among them. Stages depend on that file and on no module and no notebook, and notebooks are executed from
where they lie: so a stage runs again exactly when a definition or a cell changed, and neither prose nor a
comment can make it. A stripped notebook beside it would change with every comment in a cell, and would say
nothing that the digests do not.

A stage that ends leaves the same text as `reports/<tier>/code/<stage>.json`, which is committed: what its
results were made by. It is no output of dvc.yaml: DVC makes anew what lacks an output, and no network is to
be trained again because a note is missing. Whether a note belongs to the results, its hash in dvc.lock tells.
"""
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lib.base.files import whole_file
from lib.base.paths import BUILD, REPORTS
from lib.base.problem import Problem, nearest
from lib.params import NOTEBOOKS
from lib.pipeline.code import Code, code_of
from lib.pipeline.library import Library, files_here
from lib.pipeline.stages import STAGES
from lib.report.results import read_json

# Every stage whose code is told, in the order of running.
NAMES: tuple[str, ...] = (*(name for name in STAGES if name != "report"), *NOTEBOOKS, "report")


def write(names: Sequence[str] = ()) -> None:
    """The code of these stages, or of all, below build/source."""
    library = Library(files_here())
    for name in names or NAMES:
        _store(BUILD / "source" / f"{name}.json", stage_code(name, library))


def stage_code(name: str, library: Library | None = None) -> Code:
    """What a stage runs: a notebook's cells or a function, and all that they reach."""
    if name not in NAMES:
        raise Problem(f'There is no stage "{name}"{nearest(name, NAMES)}')
    return code_of(f"notebooks/{name}.ipynb" if name in NOTEBOOKS else STAGES[name], library=library)


def code_file(name: str, tier: str, reports: Path = REPORTS) -> Path:
    """Where the code lies that the results of a stage were made by."""
    return reports / tier / "code" / f"{name}.json"


def unchanged_cells(code: Code, kept: Path) -> set[int]:
    """Numbers of a notebook's code cells that say the same as when it left this file."""
    before = read_json(kept.read_text(encoding="utf-8"), str(kept)) if kept.is_file() else {}
    cells = {key: digest for key, digest in code.items() if re.fullmatch(r"cell \d+", key)}
    return {int(key.split()[1]) for key, digest in cells.items() if before.get(key) == digest}


@contextmanager
def kept(name: str, tier: str) -> Iterator[None]:
    """Write that file when what is done inside has ended well: with the code as it was when it began."""
    code = stage_code(name) if name in NAMES else None   # one that is misspelt is named inside
    yield
    if code is not None:
        _store(code_file(name, tier), code)


def as_text(code: Code) -> str:
    """The text of such a file: one definition a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(digests)}" for name, digests in code.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _store(path: Path, code: Code) -> None:
    with whole_file(path) as part:
        part.write_text(as_text(code), encoding="utf-8")
