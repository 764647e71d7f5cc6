"""Which modules of `lib` a notebook or module imports, directly or not: what its stage depends on."""
import ast
from pathlib import Path

from lib.base.paths import ROOT

# Stages depend on the values they use (the `params` of dvc.yaml), not on the modules that hold and check all of them.
BY_VALUE = ("lib/params.py", "lib/params.py", "lib/base/strict.py")


def imported_modules(source: Path) -> list[str]:
    """Files below the root, sorted, of every `lib` module that a notebook or module reaches."""
    from lib.pipeline.notebook import read

    cells = read(source).cells if source.suffix == ".ipynb" else []
    code = "\n".join(c.source for c in cells if c.cell_type == "code") if cells else source.read_text(encoding="utf-8")
    found: set[Path] = set()
    _follow(code, found)
    names = sorted(str(path.relative_to(ROOT)) for path in found if path.stat().st_size)
    return [name for name in names if name not in BY_VALUE]


def _follow(code: str, found: set[Path]) -> None:
    for path in _targets(ast.parse(code)):
        if path not in found:
            found.add(path)
            if str(path.relative_to(ROOT)) not in BY_VALUE:
                _follow(path.read_text(encoding="utf-8"), found)


def _targets(tree: ast.AST) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return {path for name in names if name.split(".")[0] == "lib" for path in _files(name)}


def _files(name: str) -> list[Path]:
    """The module's own file and the packages around it."""
    parts = name.split(".")
    candidates = [ROOT.joinpath(*parts).with_suffix(".py"), *(ROOT.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1))]
    return [path for path in candidates if path.is_file()]
