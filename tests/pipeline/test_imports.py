"""What a notebook reaches in lib, and that dvc.yaml says exactly that."""
import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from lib.base.paths import NOTEBOOKS as FOLDER, ROOT
from lib.params import NOTEBOOKS, STAGES as FIRST, TIERS
from lib.pipeline import imports, stages
from lib.pipeline.imports import BY_VALUE, imported_modules

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
FAKE = {
    "lib/__init__.py": "", "lib/a.py": "import os\nfrom lib.b import thing\n", "lib/b.py": "thing = 1\ndef f():\n    import lib.p.c\n",
    "lib/p/__init__.py": "x = 1\n", "lib/p/c.py": "from lib import a\n", "lib/p/d.py": "from lib.p import x\n",
    "lib/params.py": "from lib.only_for_params import y\n", "lib/only_for_params.py": "y = 1\n", "lib/empty/__init__.py": "",
    "lib/empty/e.py": "z = 1\n", "lib/typing_only.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lib.empty.e import z\n",
    "library/__init__.py": "q = 1\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FAKE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("code, expected", [
    ("import os, json", []), ("import library", []), ("from lib.empty import e", ["lib/empty/e.py"]),   # an empty __init__ changes nothing
    ("import lib.p.d", ["lib/p/__init__.py", "lib/p/d.py"]), ("from lib.p import d", ["lib/p/__init__.py", "lib/p/d.py"]),
    ("from lib.p import x as renamed", ["lib/p/__init__.py"]), ("import lib.p.d as renamed", ["lib/p/__init__.py", "lib/p/d.py"]),
    ("def f():\n    from lib.p.d import x", ["lib/p/__init__.py", "lib/p/d.py"]),
    ("import lib.a", ["lib/a.py", "lib/b.py", "lib/p/__init__.py", "lib/p/c.py"]),   # indirectly, from inside a function, in a circle
    ("from lib.params import load_params", []), ("import lib.params, lib.only_for_params", ["lib/only_for_params.py"]),
    ("import lib.typing_only", ["lib/empty/e.py", "lib/typing_only.py"]), ("import lib.nowhere", [])])
def test_imported_modules(root: Path, code: str, expected: list[str]) -> None:
    (root / "module.py").write_text(code)
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("import lib.b"), nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell(code)])
    nbformat.write(made, root / "notebook.ipynb")
    assert imported_modules(root / "module.py") == expected
    assert imported_modules(root / "notebook.ipynb") == expected


def test_lib_imports_in_no_way_that_would_be_missed() -> None:
    for path in sorted((ROOT / "lib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not any(name in ("importlib", "runpy") for name in names), f"{path}: imports by name"
            assert not (isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval")), f"{path}: imports by name"


# dvc.yaml


def modules(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["do"]["deps"] if dep.startswith("lib/") and dep.endswith(".py")]


def with_themselves(*names: str) -> list[str]:
    return sorted({m for name in names for m in (name, *imported_modules(ROOT / name))})


def others(stage: str) -> list[str]:
    """Dependencies that are no module."""
    return [dep for dep in STAGES[stage]["do"]["deps"] if dep not in modules(stage)]


def written(stage: str) -> set[str]:
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in STAGES[stage]["do"].get(kind, [])]
    return {name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)}


def code_of(notebook: str) -> str:
    cells = json.loads((FOLDER / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def lookup(key: str) -> Any:
    value = PARAMS
    for name in key.split("."):
        value = value[name]
    return value


def test_every_notebook_has_its_stages() -> None:
    assert sorted(p.stem for p in FOLDER.glob("*.ipynb")) == sorted(NOTEBOOKS) == sorted(STAGES["strip"]["foreach"])
    assert set(STAGES) == {"strip", *FIRST, "report", *NOTEBOOKS}
    assert all(STAGES[name]["foreach"] == "${tiers}" for name in STAGES if name != "strip")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_stage_depends_on_exactly_what_its_notebook_imports(name: str) -> None:
    assert modules(name) == imported_modules(FOLDER / f"{name}.ipynb")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_stage_depends_on_exactly_the_folders_that_its_notebook_reads(name: str) -> None:
    """What other stages wrote is written `BUILD / tier / "..."` in notebooks."""
    read = re.findall(r'\b(BUILD|REPORTS) / tier((?: / "\w+")+)', code_of(name))
    folders = {f"{root.lower()}/${{item}}" + inner.replace(" / ", "/").replace('"', "") for root, inner in read}
    assert "DATA / tier / " in code_of(name) and folders <= set.union(*map(written, FIRST))
    assert sorted(others(name)) == sorted([f"build/source/{name}.ipynb", "data/${item}", *folders])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_stage_depends_on_exactly_the_parameters_that_its_notebook_uses(name: str) -> None:
    """Its own block comes as the notebook's parameters; where those of training or raw maps change, so does the outcome that it reads.

    Of a block that it gives a name, as in `rcam = params.tier[tier].rcam`, a notebook uses the fields that it asks for.
    """
    named = dict(re.findall(r"^(\w+) = params\.tier\[tier\]\.(\w+)$", code_of(name), re.MULTILINE))
    blocks = {f"tier.${{item}}.{key}" for key in [name, *re.findall(r"params\.tier\[tier\]\.(\w+)", code_of(name))] if key not in named.values()}
    blocks |= {f"tier.${{item}}.{key}.{field}" for word, key in named.items() for field in re.findall(rf"\b{word}\.(\w+)", code_of(name))}
    used = blocks | set(re.findall(r"\bparams\.(\w+)", code_of(name))) - {"tier"}
    before = {key for stage in FIRST for key in STAGES[stage]["do"]["params"] if written(stage) & set(others(name))} - {"seed"}
    assert set(STAGES[name]["do"]["params"]) == used - before


@pytest.mark.parametrize("stage, command, module", [
    ("dcsm_train", stages.train_dcsm, "lib/training/networks.py"), ("dcsm_maps", stages.maps_dcsm, "lib/papers/dcsm/maps.py"),
    ("csoa_train", stages.train_csoa, "lib/papers/csoa/networks.py"), ("iam_train", stages.train_iam, "lib/papers/iam/training.py")])
def test_training_and_raw_maps_depend_on_exactly_what_decides_them(stage: str, command: Any, module: str) -> None:
    assert modules(stage) == with_themselves(module)
    source = inspect.getsource(command)
    used = set(re.findall(r"\bparams\.(\w+)", source)) | {f"tier.${{item}}.{key}" for key in re.findall(r"_block\(params, tier\)\.(\w+)", source)}
    assert set(STAGES[stage]["do"]["params"]) == used
    assert others(stage) == ["data/${item}"] + {"dcsm_maps": ["build/${item}/dcsm_train"], "iam_train": ["build/${item}/proposals"]}.get(stage, [])


def test_proposals_depend_on_exactly_what_decides_them() -> None:
    assert modules("proposals") == with_themselves("lib/proposals/store.py") and others("proposals") == ["data/${item}"]
    assert STAGES["proposals"]["do"]["params"] == ["tier.${item}.proposals"]


@pytest.mark.parametrize("stage, kind", [("dcsm_train", "outs"), ("dcsm_train", "plots"), ("dcsm_maps", "outs"),
                                         ("csoa_train", "outs"), ("csoa_train", "plots"), ("proposals", "outs"), ("iam_train", "outs"),
                                         ("iam_train", "plots")])
def test_what_an_interrupted_stage_goes_on_from_is_not_removed_before_it_runs(stage: str, kind: str) -> None:
    (options,) = (options for entry in STAGES[stage]["do"][kind] for options in entry.values())
    assert options["persist"] is True


def test_parameters_of_stages_exist() -> None:
    for name, stage in STAGES.items():
        for key in stage["do"].get("params", []):
            for tier in TIERS:
                lookup(key.replace("${item}", tier))   # KeyError: no such parameter


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_a_stage_writes(name: str) -> None:
    stage = STAGES[name]["do"]
    assert stage["outs"] == [f"build/${{item}}/{name}.ipynb"]   # in no clone, so that committed results never pass for computed ones
    assert [list(entry) for entry in stage["metrics"]] == [[f"reports/${{item}}/metrics/{name}.json"]]
    assert [list(entry) for entry in stage["plots"]] == [[f"reports/${{item}}/figures/{name}"]]


def test_the_report_covers_every_notebook() -> None:
    deps = STAGES["report"]["do"]["deps"]
    for name in NOTEBOOKS:
        assert {f"build/${{item}}/{name}.ipynb", f"reports/${{item}}/metrics/{name}.json", f"reports/${{item}}/figures/{name}"} <= set(deps)
    publishing = {"lib/pipeline/notebook.py"}   # one function of it, which uses nothing else that matters
    assert set(modules("report")) == {*with_themselves("lib/report/render.py", "lib/report/readme.py"), *publishing}


def test_data_depends_on_every_importer() -> None:
    assert modules("data") == with_themselves("lib/data/collage/compose.py", "lib/data/mirror.py", "lib/data/official/__init__.py")


def test_dependencies_exist() -> None:
    outs = {name for stage in STAGES for name in written(stage)} | {f"build/source/{n}.ipynb" for n in NOTEBOOKS}
    for name, stage in STAGES.items():
        for dep in stage["do"]["deps"]:
            sources = [dep.replace("${item}", n) for n in NOTEBOOKS] if name == "strip" else [dep]
            assert all(source in outs or (ROOT / source).exists() for source in sources), dep
    assert all((ROOT / name).is_file() for name in BY_VALUE)
