"""The rule between the rooms of lib: a room imports only what stands below it, and a paper no other paper."""
import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.base.paths import ROOT
from lib.papers import PAPERS

# A room imports from lower floors, and from itself.
FLOORS = {
    "base": 0,
    "data": 1, "maps": 1, "refine": 1, "report": 1,
    "nets": 2,
    "metrics": 3,
    "proposals": 4, "training": 4,
    "papers": 5,
    "params": 6,
    "methods": 7, "pipeline": 8, "bench": 8, "segment": 8,
    "commands": 9, "comparison": 9, "crf_exactness": 9, "gpu_check": 9,
    "faults": 10,
    "__main__": 11,
}
FLAT = {"__init__", "__main__", "commands", "methods", "params", "comparison", "crf_exactness",
        "gpu_check"}
# The poster starts from DCSM's raw maps, and IAM's transfer names classes by CSoA's networks.
BETWEEN_PAPERS = {("fcn_gbp", "dcsm"), ("iam", "csoa")}
# The list of papers and what every method answers lie in lib/papers itself.
SHARED_BY_PAPERS = {"lib.papers", "lib.papers.found"}

FILES = sorted((ROOT / "lib").rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Modules of lib that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lib")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "base"


def paper_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "papers" and parts[2] in PAPERS else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_back_up(path: Path) -> None:
    own = room_of(module_of(path))
    for module in imported(path):
        room = room_of(module)
        below = room == own or FLOORS[room] < FLOORS[own]
        assert below, f"{module_of(path)} imports {module}, which does not stand below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_paper_imports_no_other_paper(path: Path) -> None:
    own = paper_of(module_of(path))
    for module in imported(path):
        other = paper_of(module)
        if own and other and own != other:
            assert (own, other) in BETWEEN_PAPERS, f"{module_of(path)} imports {module}"


def test_what_papers_share_knows_no_paper() -> None:
    """Shared code reaches papers by their list: no import outside lib/papers names one."""
    for path in FILES:
        if paper_of(module_of(path)) is None:
            assert not [module for module in imported(path) if paper_of(module)], module_of(path)


def test_nothing_lies_flat_in_lib() -> None:
    assert {path.stem for path in (ROOT / "lib").glob("*.py")} == FLAT
    rooms = {path.name for path in (ROOT / "lib").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(FLOORS) - FLAT


def test_every_paper_has_its_folder() -> None:
    folders = {path.name for path in (ROOT / "lib" / "papers").iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(PAPERS)
    for paper in PAPERS:
        names = {path.name for path in (ROOT / "lib" / "papers" / paper).iterdir()}
        assert {"settings.py", "method.py", "tables.py", "use.py", "paper.yaml"} <= names


def test_no_import_goes_round_in_a_circle() -> None:
    """At the level of files, imports inside functions left out: those run when all is loaded."""
    graph = {module_of(path): set(top_level(path)) for path in FILES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' -> '.join((*way, module))}"
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def top_level(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else node.module
