"""dvc.yaml says what every stage reads and writes: code by digests, parameters by name, what others left."""
import ast
import inspect
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from types import FunctionType
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from small_project import FROM_MAPS, RCAM
from used_parameters import TIER, covers, used

from lib.base.paths import NOTEBOOKS as FOLDER, ROOT
from lib.base.runs import FROM_TIER
from lib.params import NOTEBOOKS, STAGES as FIRST, TIERS, USUAL, Params, Tier
from lib.pipeline import stages
from lib.pipeline.cells import Cell, cells_of
from lib.pipeline.code import Reach
from lib.pipeline.library import BY_VALUE, Library, files_here

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
LATER = [name for name in STAGES if name != "source"]
# What classes of params.yaml compute by themselves: for checking it, and for nothing that a stage does.
CHECKS = {
    "Training": {"check"}, "TrainingSettings": {"check"}, "CsoaRuns": {"datasets", "networks"},
    "ProposalRun": {"datasets"}, "IamTransfer": {"others"}, "ConvCrfSettings": {"__post_init__"}}


def deps(stage: str) -> set[str]:
    """What a stage reads beside its code."""
    return set(STAGES[stage]["do"]["deps"]) - {f"build/source/{stage}.json"}


def written(stage: str) -> set[str]:
    paths: set[str] = set()
    for kind in ("outs", "metrics", "plots"):
        for entry in STAGES[stage]["do"].get(kind, []):
            paths |= {entry} if isinstance(entry, str) else set(entry)
    return paths


def listed(stage: str) -> set[str]:
    return set(STAGES[stage]["do"].get("params", []))


def before(stage: str) -> set[str]:
    """Parameters of the stages that this one starts from: where those change, so does what it reads.

    The seed is its own all the same.
    """
    keys: set[str] = set()
    for other in FIRST:
        if written(other) & deps(stage):
            keys |= listed(other)
    return keys - {"seed"}


def lookup(key: str) -> Any:
    value = PARAMS
    for name in key.split("."):
        value = value[name]
    return value


def source_cells(notebook: str) -> list[dict[str, Any]]:
    return cells_of((FOLDER / f"{notebook}.ipynb").read_bytes(), notebook)


def read_by(notebook: str) -> set[str]:
    """Parameters that a notebook's cells read, and its own block, which it is given."""
    statements: list[ast.AST] = []
    for cell in source_cells(notebook):
        statements += Cell(cell).body
    return used(statements) | {f"{TIER}.{notebook}"}


def definitions_below(entry: str, library: Library) -> list[ast.stmt]:
    """What a notebook or a function reaches in lib, in other processes too."""
    reach = Reach(library)
    reach.enter(entry)
    statements: list[ast.stmt] = []
    for link in reach.definitions:
        statements += library.module(link.module).definitions.get(link.name, ())
    return statements


def read_below(entry: str, library: Library) -> set[str]:
    """Parameters that functions read which are reached; only those that are handed `params` can read any."""
    places: set[str] = set()
    for statement in definitions_below(entry, library):
        if "params" in argument_names(statement):
            places |= used([statement])
    return places


def folders_below(notebook: str, library: Library) -> set[str]:
    """Folders of other stages that a notebook's cells name, or what they reach: `BUILD / tier / "..."`."""
    texts = [cell["source"] for cell in source_cells(notebook)]
    texts += map(ast.unparse, definitions_below(f"notebooks/{notebook}.ipynb", library))
    folders = set()
    for root, inner in re.findall(r"""\b(BUILD|REPORTS) / (?:request\.)?tier((?: / ["']\w+["'])+)""",
                                  "\n".join(texts)):
        folders.add(f"{root.lower()}/${{item}}" + re.sub(r"""[ "']""", "", inner))
    return folders


def makers(folders: Collection[str]) -> set[str]:
    """The stages that write some folders."""
    return {stage for stage in FIRST if written(stage) & set(folders)}


def argument_names(statement: ast.stmt) -> set[str]:
    return {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}


def keys_of(place: str) -> set[str]:
    """The keys of params.yaml behind a place that code reads.

    They are those of the draws, those of a tier's block, or the place itself.
    """
    if place.split(".")[0] == "chance":
        return {"seed", "bootstrap"}
    if not place.startswith(f"{TIER}."):
        return {place} if any(covers(name, place) for name in get_type_hints(Params)) else set()
    block = place.removeprefix(f"{TIER}.").split(".")[0]
    kind = get_type_hints(Tier).get(block)
    if kind is None:   # a paper derives it from its other blocks
        source = inspect.getsource(getattr(Tier, block).fget)
        return all_keys(f"{TIER}.{name}" for name in re.findall(r"self\.(\w+)", source))
    own = place if place.count(".") > 2 else f"{TIER}.{block}"
    return {own} | keys_of_tier(kind) | usual_keys(block)


def all_keys(places: Iterable[str]) -> set[str]:
    keys: set[str] = set()
    for place in places:
        keys |= keys_of(place)
    return keys


def keys_of_tier(kind: Any) -> set[str]:
    """What a block leaves to its tier."""
    fields = getattr(kind, "__dataclass_fields__", {}).values()
    return {f"{TIER}.{field.metadata[FROM_TIER]}" for field in fields if FROM_TIER in field.metadata}


def usual_keys(block: str) -> set[str]:
    """Blocks of usual values that complete a block of the tier."""
    return {name for name, places in USUAL.items() if is_covered(block, places)}


def uncovered(keys: Iterable[str], others: Collection[str]) -> list[str]:
    """Keys that are neither part of another nor the other way round."""
    return [key for key in sorted(keys) if not is_covered(key, others)]


def is_covered(key: str, others: Collection[str]) -> bool:
    return any(covers(other, key) for other in others)


def is_part_of_one(key: str, others: Collection[str]) -> bool:
    return any(f"{key}.".startswith(f"{other}.") for other in others)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(files_here())


def test_every_notebook_has_its_stage() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NOTEBOOKS)
    assert list(STAGES) == ["source", *FIRST, *NOTEBOOKS, "report"]
    assert all(STAGES[name]["foreach"] == "${tiers}" for name in LATER)


def test_code_comes_from_one_stage() -> None:
    assert STAGES["source"]["deps"] == ["lib", "notebooks"] and STAGES["source"]["outs"] == ["build/source"]
    ignored = (ROOT / ".dvcignore").read_text(encoding="utf-8").split("\n")
    assert {"__pycache__/", ".ipynb_checkpoints/", ".part-*"} <= set(ignored)   # else a run changes lib/
    for name in LATER:
        assert STAGES[name]["do"]["deps"][0] == f"build/source/{name}.json"
        assert not any(dep.startswith(("lib", "notebooks")) for dep in deps(name)) or name == "report"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_stage_depends_on_exactly_the_folders_that_its_notebook_reads(name: str, library: Library) -> None:
    """On no other, and on those of every stage that wrote what it reads."""
    folders = folders_below(name, library)
    assert folders <= set.union(*map(written, FIRST))
    assert deps(name) <= {"data/${item}", *folders}
    assert makers(deps(name)) == makers({"data/${item}", *folders})


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_stage_depends_on_the_parameters_that_its_notebook_reads(name: str, library: Library) -> None:
    """In its cells and below: one that is used and not listed would let results go stale unseen."""
    read = all_keys(read_by(name) | read_below(f"notebooks/{name}.ipynb", library))
    upstream = before(name)
    assert uncovered(read, listed(name) | upstream) == []
    own = [key for key in read if not is_part_of_one(key, upstream)]
    assert uncovered(listed(name), own) == []   # needless ones


def test_the_comparison_reads_parameters_in_processes_of_their_own(library: Library) -> None:
    below = read_below("notebooks/comparison.ipynb", library)
    for place in ("csoa_thresholds.chosen", f"{TIER}.dcsm_maps.side", f"{TIER}.csoa.dataset"):
        assert place in below and any(covers(key, place) for key in listed("comparison"))


@pytest.mark.parametrize("code, expected", [
    ("settings = params.rcam\nf(settings)", {"rcam"}), ("settings = params.rcam\nsettings.eps", {"rcam.eps"}),
    ("a, b = params.rcam, params.tier[tier].csoa\nprint(b.dataset)", {f"{TIER}.csoa.dataset"}),
    ("block = tier_of(load_params(), name)\nblock.iam.images[0]", {f"{TIER}.iam.images"}),
    ("load_params().iam", {"iam"}),
    ("params.tier[args.tier].dcsm.networks[0]", {f"{TIER}.dcsm.networks"}),
    ("params = load_params()\nother.rcam", set())])
def test_how_parameters_are_read(code: str, expected: set[str]) -> None:
    assert used([ast.parse(code)]) == expected


@pytest.mark.parametrize("stage, command", [(name, stages.STAGES[name]) for name in FIRST])
def test_other_stages_depend_on_exactly_what_decides_them(stage: str, command: Any, library: Library) -> None:
    below = read_below(f"{command.__module__}:{command.__qualname__}", library)
    read = all_keys(below - {"mirror"})   # where the mirror lies changes nothing
    if stage == "iam_rows":
        read.discard("tier.${item}.networks")   # of the notebooks it asks the number of images alone
    assert uncovered(read, listed(stage)) == []
    assert uncovered(listed(stage), read) == []
    more = {"data": set(), "dcsm_maps": {"data/${item}", "build/${item}/dcsm_train"},
            "iam_train": {"data/${item}", "build/${item}/proposals"},
            "iam_rows": {"data/${item}", "build/${item}/iam_train", "build/${item}/proposals"}}
    assert deps(stage) == more.get(stage, {"data/${item}"})


def test_training_of_csoa_reads_one_threshold_list_alone() -> None:
    """Another `chosen` trains nothing again: it is a matter of `segment` and of the comparison."""
    assert "csoa_thresholds.tried" in listed("csoa_train") and "csoa_thresholds" not in listed("csoa_train")


@pytest.mark.parametrize("keys, stages", [
    ({"seed"}, {"data", "dcsm_train", "iam_train", *NOTEBOOKS}),
    ({"rcam.eps", "dcsm_top_n.numbers"}, {*RCAM, "dcsm_top_n", "comparison", "crf_exactness"}),
    ({"dcsm.alpha_simonyan"}, {*FROM_MAPS, "comparison", "crf_exactness"}),
    ({"tier.smoke.dcsm_train.networks.efficientnet_lite0.side"}, {"dcsm_train"}),
    ({"csoa.gamma"}, {"csoa_train"}),   # notebooks go by what it leaves
    ({"csoa_thresholds.chosen"}, {"comparison"}),   # which reads it in a process of its own
    ({"dcsm_maps.wide"}, {"dcsm_maps", "comparison"}),
    ({"tier.smoke.rcam.box_images"}, {"rcam", "dcsm", "comparison"}),   # dcsm stands in rCAM's table 2
    ({"tier.collage.data.collage.train", "mirror"}, set())])
def test_a_parameter_runs_again_what_lists_it(keys: set[str], stages: set[str]) -> None:
    """In the tier smoke; stages after those follow by what they read."""
    affected = set()
    for name in LATER:
        own = {key.replace("${item}", "smoke") for key in listed(name)}
        if any(is_covered(key, own) for key in keys):
            affected.add(name)
    assert affected == stages


@pytest.mark.parametrize("stage, kind", [
    ("dcsm_train", "outs"), ("dcsm_train", "plots"), ("dcsm_maps", "outs"), ("csoa_train", "outs"),
    ("csoa_train", "plots"), ("proposals", "outs"), ("iam_train", "outs"), ("iam_train", "plots"),
    ("iam_rows", "outs")])
def test_what_an_interrupted_stage_goes_on_from_is_not_removed_before_it_runs(stage: str, kind: str) -> None:
    (entry,) = STAGES[stage]["do"][kind]
    (options,) = entry.values()
    assert options["persist"] is True


def test_parameters_of_stages_exist() -> None:
    for name in LATER:
        for key in listed(name):
            for tier in TIERS:
                lookup(key.replace("${item}", tier))   # KeyError: no such parameter


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_a_stage_writes(name: str) -> None:
    stage = STAGES[name]["do"]
    # In no clone, so that committed results never pass for computed ones.
    assert stage["outs"] == [f"build/${{item}}/notebooks/{name}.ipynb"]
    assert [list(entry) for entry in stage["metrics"]] == [[f"reports/${{item}}/metrics/{name}.json"]]
    assert [list(entry) for entry in stage["plots"]] == [[f"reports/${{item}}/figures/{name}"]]


def test_the_report_covers_every_notebook_and_todays_prose() -> None:
    folders = {"build/${item}/notebooks", "reports/${item}/metrics", "reports/${item}/figures"}
    assert deps("report") == {*folders, "notebooks", "lib/report/claims"}
    for name in NOTEBOOKS:
        assert {str(Path(path).parent) for path in written(name)} == folders


def test_dependencies_exist() -> None:
    outs = set.union(*map(written, LATER))
    folders = {str(Path(name).parent) for name in outs}
    for name in LATER:
        for dep in deps(name):
            assert dep in outs | folders or (ROOT / dep).exists(), dep


def test_what_comes_by_value_is_there_and_computes_nothing() -> None:
    """Modules that are not followed; and methods of what they hold, which no digest would show."""
    there = Library(files_here()).paths
    assert "lib.params" in BY_VALUE
    assert sum(name in there for name in BY_VALUE) >= 6
    for kind in classes(Params):
        computed = [name for name, value in vars(kind).items() if isinstance(value, (FunctionType, property))]
        own = {name for name in computed if not name.startswith("__") or name == "__post_init__"}
        assert own <= CHECKS.get(kind.__name__, set()), f"{kind.__name__} computes what stages may use"


def classes(whole: type) -> list[type]:
    """The dataclasses that params.yaml is made of."""
    kinds: list[type] = []
    waiting: list[Any] = [whole]
    while waiting:
        hint = waiting.pop()
        waiting += get_args(hint)
        if hasattr(hint, "__dataclass_fields__") and hint not in kinds:
            kinds.append(hint)
            waiting += get_type_hints(hint).values()
    return kinds


def test_lib_imports_in_no_way_that_would_be_missed() -> None:
    """By name only where an f-string spells the module, which the digests follow."""
    for path in sorted((ROOT / "lib").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "import_module":
                spelt = isinstance(node.args[0], ast.JoinedStr)
                assert spelt, f"{path}: imports by a name that nobody can follow"
            called = isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval", "runpy")
            assert not called, f"{path}: imports in a way that nobody can follow"
