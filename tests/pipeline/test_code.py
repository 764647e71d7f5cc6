"""Which code a stage runs: what changes a digest, what does not, and what is followed."""
import json
import re
from typing import Any

import pytest

from lib.base.problem import Problem
from lib.pipeline.code import Code, Reach, code_of
from lib.pipeline.library import Library, files_here
from lib.pipeline.names import FUNCTIONS, Link
from lib.pipeline.source import NAMES, stage_code
from lib.pipeline.stages import STAGES

# Definitions that commands, checks of parameters and the pipeline run, and no stage does.
NO_STAGE: tuple[str, ...] = (
    r"lib\.__main__", r"lib\.commands", r"lib\.segment", r"lib\.methods:(evaluate|request_of|decisive)",
    r"lib\.papers\.\w+\.use:", r"lib\.base\.(early|interrupts|orphans):",
    r"lib\.gpu_check", r"lib\.papers\.\w+\.devices:", r"lib\.base\.(batch|memory):",
    r"lib\.base\.problem:(exit_status|_shortened|_print_no_more|_show_every_name)", r"lib\.base\.files:move_",
    r"lib\.report\.compare", r"lib\.pipeline",
    r"lib\.params", r"lib\.base\.(strict|runs):", r"lib\.papers\.\w+\.settings:",
    r"lib\.bench", r"lib\.faults", r"lib\.refine\.crf_speed:", r"lib\.base\.race:",
    r"lib\.nets\.modules:", r"lib\.data\.classes:", r"lib\.base\.yaml_file:",
    r"lib\.data\.drawn:", r"lib\.papers\.\w+\.(races|untrained):")
METHOD = '''"""A paper's method."""
import numpy as np
from dataclasses import dataclass
from lib.tools import scaled

LIMIT = 3
UNUSED = 4


@dataclass
class Settings:
    """Constants."""
    side: int = 5

    def twice(self) -> int:
        """Both sides."""
        return 2 * self.side


def method(values, settings=Settings(), limit=LIMIT):
    """What it does."""
    return np.minimum(scaled(values), limit)


def never(values):
    return values
'''
TOOLS = '''"""Tools."""
def scaled(values):
    return values * 2
'''
FILES = {"lib/__init__.py": "", "lib/method.py": METHOD, "lib/tools.py": TOOLS}
ENTRY = "lib.method:method"


def library(files: dict[str, str] | None = None, **changed: str) -> Library:
    """The files above, some replaced (`method`, `tools`) or others altogether."""
    texts = files or {**FILES, **{f"lib/{name}.py": text for name, text in changed.items()}}
    return Library({path: text.encode() for path, text in texts.items()})


def digests(entry: str = ENTRY, files: dict[str, str] | None = None, **changed: str) -> Code:
    return code_of(entry, library=library(files, **changed))


def edited(old: str, new: str, text: str = METHOD) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def notebook(*cells: str, tags: tuple[str, ...] = ()) -> str:
    """A notebook of code cells, prose before each."""
    made: list[dict[str, Any]] = []
    for source in cells:
        made.append({"cell_type": "markdown", "metadata": {}, "source": "words"})
        made.append({"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source, "outputs": []})
    return json.dumps({"cells": made})


def of_cells(*cells: str, files: dict[str, str] = FILES, tags: tuple[str, ...] = ()) -> Code:
    return digests("notebooks/a.ipynb", {**files, "notebooks/a.ipynb": notebook(*cells, tags=tags)})


def test_a_function_reaches_what_it_names_and_no_more() -> None:
    found = digests()
    assert list(found) == ["LIMIT", "Settings", "method", "scaled"]
    assert all(len(digest) == 12 for digest in found.values())


@pytest.mark.parametrize("old, new", [
    ('"""What it does."""', '"""Said in another way."""'), ('"""What it does."""\n    ', ""),
    ('"""A paper\'s method."""', '"""Another."""'),
    ('"""Both sides."""', '"""Twice."""'), ("LIMIT = 3", "LIMIT = 3   # a word"),
    ("LIMIT = 3", "LIMIT: int = 3"),
    ("values, settings=", "values: np.ndarray, settings: Settings ="),
    ("limit=LIMIT):", "limit=LIMIT) -> np.ndarray:"),
    ("np.minimum(scaled(values), limit)", "np.minimum(\n        scaled(values), limit,\n    )"),
    ("UNUSED = 4", "UNUSED = 5"),
    ("    return values\n", "    return None\n"), ("twice(self) -> int", "twice(self)")])
def test_what_changes_no_digest(old: str, new: str) -> None:
    assert digests(method=edited(old, new)) == digests()


@pytest.mark.parametrize("old, new, name", [
    ("LIMIT = 3", "LIMIT = 4", "LIMIT"), ("limit=LIMIT)", "limit=7)", "method"),
    ("minimum", "maximum", "method"),
    ("side: int = 5", "side: int = 6", "Settings"), ("side: int", "side: float", "Settings"),
    ("2 * self", "3 * self", "Settings"),
    ("@dataclass", "@dataclass(frozen=True)", "Settings"),
    ("import numpy as np", "import torch as np", "method"),
    ("def method", "@staticmethod\ndef method", "method")])
def test_what_changes_one(old: str, new: str, name: str) -> None:
    before, after = digests(), digests(method=edited(old, new))
    assert before[name] != after[name]
    assert {key for key in before if before[key] != after.get(key)} - {"LIMIT"} == {name} - {"LIMIT"}


def test_what_is_imported_is_followed_by_its_definition() -> None:
    assert digests(tools=TOOLS.replace("* 2", "* 3"))["scaled"] != digests()["scaled"]
    assert digests(tools=TOOLS + "\n\ndef other():\n    return 1\n") == digests()


def test_moving_and_renaming_change_nothing() -> None:
    """The helper in a package, the method's file renamed, and both in one file."""
    moved = {"lib/__init__.py": "", "lib/p/__init__.py": "", "lib/p/tools2.py": TOOLS,
             "lib/method.py": METHOD.replace("lib.tools", "lib.p.tools2")}
    alone = METHOD.replace("from lib.tools import scaled\n", "")
    merged = {"lib/__init__.py": "", "lib/one.py": f"{alone}\n\n{TOOLS}"}
    assert digests(files=moved) == digests()
    assert digests("lib.one:method", merged) == digests()


@pytest.mark.parametrize("statement, call", [
    ("from lib.tools import scaled", "scaled"), ("from lib.tools import scaled as larger", "larger"),
    ("from lib import tools", "tools.scaled"),
    ("import lib.tools", "lib.tools.scaled"), ("import lib.tools as t", "t.scaled"),
    ("from .tools import scaled", "scaled"),
    ("from . import tools", "tools.scaled"), ("from lib.passing import scaled", "scaled"),
    ("from lib import passing", "passing.scaled")])
def test_every_way_to_import_leads_to_the_same_definition(statement: str, call: str) -> None:
    text = METHOD.replace("from lib.tools import scaled", statement).replace("scaled(values)",
                                                                             f"{call}(values)")
    assert digests(method=text, passing="from lib.tools import scaled\n") == digests()


def test_imports_inside_a_function_are_followed() -> None:
    inside = "    from lib.tools import scaled\n    return np.min"
    text = METHOD.replace("from lib.tools import scaled\n", "").replace("    return np.min", inside)
    assert digests(method=text) == digests()


@pytest.mark.parametrize("statement", [
    "from lib.p import tools", "from . import tools", "import lib.p.tools as tools"])
def test_a_package_that_imports_a_module_of_its_own_is_followed(statement: str) -> None:
    known = f"{statement}\nKNOWN = {{'a': tools.scaled}}\n"
    files = {"lib/__init__.py": "", "lib/p/__init__.py": known, "lib/p/tools.py": TOOLS,
             "lib/use.py": "from lib.p import KNOWN\n\n\ndef f():\n    return KNOWN['a']\n"}
    assert set(digests("lib.use:f", files)) == {"KNOWN", "f", "scaled"}


def test_packages_pass_definitions_on() -> None:
    files = {**FILES, "lib/p/__init__.py": "from lib.tools import scaled\n",
             "lib/method.py": METHOD.replace("lib.tools", "lib.p")}
    assert digests(files=files) == digests()


@pytest.mark.parametrize("use", [
    "from lib.tools import *\ndef f():\n    return scaled",
    "from lib import tools\ndef f(name):\n    return getattr(tools, name)",
    "from lib import tools\ndef f():\n    return vars(tools)",
    "from lib import tools\ndef f():\n    return tools.nowhere",
    "from lib.tools import nowhere\ndef f():\n    return nowhere",
    "def f():\n    from lib import tools\n    return g(tools)"])
def test_in_doubt_all_of_a_module_counts(use: str) -> None:
    tools = TOOLS + "\n\ndef other():\n    return 1\n"
    files = {"lib/__init__.py": "", "lib/tools.py": tools, "lib/use.py": use}
    found = digests("lib.use:f", files)
    if "*" in use:
        assert "scaled" in found
    else:
        assert {"scaled", "other"} <= set(found)
        changed = digests("lib.use:f", {**files, "lib/tools.py": tools.replace("return 1", "return 2")})
        assert changed["other"] != found["other"] and changed["f"] != found["f"]


def test_a_name_of_its_own_hides_that_of_the_module() -> None:
    """Arguments, assignments and names of a comprehension are no definitions; what is outside of it is."""
    head = "from lib.tools import scaled\n"
    for body in ("def f(scaled):\n    return scaled", "def f():\n    scaled = 1\n    return scaled",
                 "def f():\n    return [scaled for scaled in ()]",
                 "f = lambda scaled: scaled",
                 "def f():\n    with open('x') as scaled:\n        return scaled",
                 "def f(x):\n    for y, scaled in x:\n        print(scaled)",
                 "def f(x):\n    return {scaled: 1 for scaled, _ in x if scaled}"):
        assert "scaled" not in digests("lib.use:f", {**FILES, "lib/use.py": head + body}), body
    for body in ("def f():\n    [scaled for scaled in ()]\n    return scaled(1)",
                 "def f():\n    return [scaled for scaled in scaled(1)]",
                 "def f():\n    global scaled\n    scaled = scaled(1)", "def f(scaled=scaled):\n    return 1",
                 "class f:\n    def scaled(self):\n        return scaled(1)",
                 "def f():\n    return lambda x: scaled(x)"):
        assert "scaled" in digests("lib.use:f", {**FILES, "lib/use.py": head + body}), body


def test_two_definitions_of_a_name_are_told_apart() -> None:
    """Both are listed; which of them a function means is part of the function."""
    table = "def table():\n    return {}\n"
    files = {"lib/__init__.py": "", "lib/a.py": table.format(1), "lib/b.py": table.format(2)}
    head = "from lib import a, b\n\n\n"
    use = head + "def f():\n    return {}.table()\n\n\ndef g():\n    return {}.table(), f()\n"
    found = digests("lib.use:g", {**files, "lib/use.py": use.format("a", "b")})
    swapped = digests("lib.use:g", {**files, "lib/use.py": use.format("b", "a")})
    assert len(found["table"]) == 2 and found["table"] == swapped["table"]
    assert found["f"] != swapped["f"] and found["g"] != swapped["g"]


def test_statements_that_do_something_count_with_every_module_that_is_imported() -> None:
    main = "if __name__ == '__main__':\n    print(scaled(2))\n"
    tools = f"import os\n{TOOLS}\nos.environ['A'] = '1'\n{main}"
    found = digests(tools=tools)
    assert found["module statements"] != digests(tools=tools.replace("'1'", "'2'"))["module statements"]
    assert digests(tools=tools.replace("print(", "repr(")) == found   # nobody runs it as a process
    package = {"lib/__init__.py": "print('imported')\n"}
    assert "module statements" in digests(files={**FILES, **package})
    typing = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lib.method import never\n"
    assert digests(tools=typing + TOOLS) == digests()


def test_a_definition_that_a_decorator_of_ours_may_register_counts() -> None:
    registry = "\n\nKNOWN = []\n\n\ndef known(f):\n    KNOWN.append(f)\n    return f\n\n\n"
    tools = f"{TOOLS}{registry}@known\ndef extra():\n    return 1\n"
    found = digests(tools=tools)
    assert "module statements" in found and found != digests(tools=tools.replace("return 1", "return 2"))


def test_a_module_that_is_run_as_a_process_counts_whole() -> None:
    tools = TOOLS + "\n\ndef here():\n    return 1\n\n\nif __name__ == '__main__':\n    print(here())\n"
    files = {**FILES, "lib/tools.py": tools, "lib/use.py": 'def f():\n    return run("lib.tools")\n'}
    found = digests("lib.use:f", files)
    assert {"scaled", "here", "__main__"} <= set(found)
    moved = {"lib/__init__.py": "", "lib/p/__init__.py": "", "lib/p/tools.py": tools,
             "lib/use.py": files["lib/use.py"].replace("lib.tools", "lib.p.tools")}
    assert digests("lib.use:f", moved) == found
    words = 'def f():\n    """lib.tools"""\n    return run("in lib.tools")\n'
    assert "scaled" not in digests("lib.use:f", {**files, "lib/use.py": words})


def test_yaml_that_is_read_counts_by_its_bytes() -> None:
    head = "from pathlib import Path\nFILE = Path(__file__).with_name('paper.yaml')\n\n\n"
    use = head + "def f():\n    return FILE.read_text()\n"
    files = {"lib/__init__.py": "", "lib/p/use.py": use, "lib/p/paper.yaml": "a: 1",
             "lib/q/paper.yaml": "b: 1", "lib/other.yaml": "c: 1"}
    found = digests("lib.p.use:f", files)
    assert set(found) == {"FILE", "f", "paper.yaml"}
    assert digests("lib.p.use:f", {**files, "lib/p/paper.yaml": "a: 2"})["paper.yaml"] != found["paper.yaml"]
    assert digests("lib.p.use:f", {**files, "lib/q/paper.yaml": "b: 2"}) == found
    elsewhere = {**files, "lib/r/use.py": use}   # none beside it: all of that name
    assert len(digests("lib.r.use:f", elsewhere)["paper.yaml"]) == 2


def test_where_a_file_lies_changes_nothing() -> None:
    root = "from pathlib import Path\nROOT = Path(__file__).resolve().parent.parent\n"
    files = {"lib/__init__.py": "", "lib/paths.py": root}
    deeper = {"lib/__init__.py": "", "lib/base/paths.py": root.replace(".parent", ".parent.parent")}
    assert digests("lib.paths:ROOT", files) == digests("lib.base.paths:ROOT", deeper)
    elsewhere = {**files, "lib/paths.py": f"{root}ROOT = ROOT / 'x'\n"}
    assert digests("lib.paths:ROOT", elsewhere) != digests("lib.paths:ROOT", files)


def test_parameters_count_by_value() -> None:
    params = "from lib.tools import scaled\n\n\ndef load_params():\n    return scaled(1)\n"
    files = {**FILES, "lib/params.py": params,
             "lib/use.py": "from lib.params import load_params\n\n\ndef f():\n    return load_params()\n"}
    assert set(digests("lib.use:f", files)) == {"f"}


# cells

IMPORT = "from lib.method import method"


@pytest.mark.parametrize("cell", [
    "x = method(1)   # a word", "# NBVAL_CHECK_OUTPUT\nx = method(1)", "x = method(\n    1,\n)",
    "x = (method(1))\n\n"])
def test_comments_and_formatting_of_a_cell_change_nothing(cell: str) -> None:
    assert of_cells(IMPORT, cell) == of_cells(IMPORT, "x = method(1)")


@pytest.mark.parametrize("cell", [
    "x = method(2)", "y = method(1)", "x = method(1);", "%time x = method(1)", "!ls\nx = method(1)",
    "x = method(1", "x"])
def test_other_code_in_a_cell_changes_that_cell(cell: str) -> None:
    before, after = of_cells(IMPORT, "x = method(1)"), of_cells(IMPORT, cell)
    assert before["cell 1"] == after["cell 1"] and before["cell 2"] != after["cell 2"]


def test_cells_reach_what_any_of_them_imports() -> None:
    found = of_cells(IMPORT, "", "def f():\n    return method(1)")
    assert set(found) == {"cell 1", "cell 2", *digests()}   # an empty cell is none
    assert {name: found[name] for name in digests()} == digests()
    assert of_cells(IMPORT, "%matplotlib inline\nmethod(1)") != of_cells(IMPORT,
                                                                         "%matplotlib widget\nmethod(1)")
    assert "method" in of_cells("%%time\n" + IMPORT + "\nmethod(1)", IMPORT + "\nmethod(2)")
    assert of_cells("x = 1", tags=("parameters",)) != of_cells("x = 1") == of_cells("x = 1", tags=("other",))


def test_a_cell_follows_a_module_by_another_name() -> None:
    """A paper's module may be renamed with all its files; cells that say so anew are the same."""
    renamed = {**FILES, "lib/p/__init__.py": "", "lib/p/tables.py": METHOD}
    assert of_cells("from lib import method as m", "m.method(1)") == of_cells("from lib.p import tables",
                                                                              "tables.method(1)",
                                                                              files=renamed)


# problems, and the project itself


@pytest.mark.parametrize("entry, files, words", [
    ("lib.nowhere:f", FILES, "lib.nowhere:f: there is no such function"),
    ("lib.method:g", FILES, "lib.method:g: there is no such function"),
    ("notebooks/a.ipynb", FILES, "notebooks/a.ipynb: there is no such notebook"),
    ("notebooks/a.ipynb", {**FILES, "notebooks/a.ipynb": "{"}, "notebooks/a.ipynb: not a notebook"),
    (ENTRY, {**FILES, "lib/tools.py": "def ("}, "lib/tools.py: not Python")])
def test_what_cannot_be_read_is_named(entry: str, files: dict[str, str], words: str) -> None:
    with pytest.raises(Problem, match=f"^{words}"):
        digests(entry, files)


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_of_the_project_has_code(name: str, here: Library) -> None:
    found = stage_code(name, here)
    assert len(found) > 20 and list(found) == sorted(found)
    assert not {"load_params", "Params", "code_of"} & set(found)


def test_what_no_stage_runs_is_known(here: Library) -> None:
    """Commands, checks of parameters, pipeline and benchmark; any more, and an import is not followed."""
    reach = Reach(here)
    for name in NAMES:
        command = STAGES.get(name)
        entry = f"{command.__module__}:{command.__qualname__}" if command else f"notebooks/{name}.ipynb"
        reach.enter(entry)
    left = []
    for module in here.paths:
        for name, statements in here.module(module).definitions.items():
            if isinstance(statements[0], FUNCTIONS) and Link(module, name) not in reach.definitions:
                left.append(f"{module}:{name}")
    unused = [each for each in left if not re.match("|".join(NO_STAGE), each)]
    assert len(unused) <= 10, unused


@pytest.fixture(scope="module")
def here() -> Library:
    return Library(files_here())


def test_a_misspelt_stage_is_named() -> None:
    with pytest.raises(Problem, match='There is no stage "rcamm"; did you mean "rcam"?'):
        stage_code("rcamm")


def test_an_f_string_reaches_every_module_that_it_can_spell() -> None:
    """Shared code reaches papers by their list: what it imports by name counts as if it were written out."""
    shared = ("from importlib import import_module\n\n\n"
              "def use(paper):\n    return import_module(f'lib.papers.{paper}.use')\n")
    files = {"lib/__init__.py": "", "lib/methods.py": shared, "lib/papers/__init__.py": "",
             "lib/papers/a/__init__.py": "", "lib/papers/a/use.py": "def segmenter():\n    return 1\n",
             "lib/papers/b/__init__.py": "", "lib/papers/b/use.py": "def segmenter():\n    return 2\n",
             "lib/papers/b/tables.py": "def rows():\n    return 3\n"}
    before = digests("lib.methods:use", files)
    assert len(before["segmenter"]) == 2 and "rows" not in before
    changed = {**files, "lib/papers/b/use.py": "def segmenter():\n    return 20\n"}
    assert digests("lib.methods:use", changed) != before
