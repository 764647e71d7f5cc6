"""What `make stale` says: of a small project, whose dvc.lock is written by hand."""
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_project import git

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.params import NOTEBOOKS
from lib.pipeline import stale
from lib.pipeline.lock import md5_of, read_lock, stages_of
from lib.pipeline.source import NAMES, as_text, code_file
from lib.pipeline.stale import Project, stale_section

TIER = "smoke"


def lookup(params: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        params = params[part]
    return params


class Copy:
    """A checkout whose results were all made by today's code, as DVC would have noted it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("lib", "notebooks"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(ROOT / name, root / name)
        self.entries: dict[str, Any] = {}

    def finish(self) -> None:
        """Write metrics, notes of the code, and dvc.lock."""
        project, params = Project(self.root), yaml.safe_load((self.root / "params.yaml").read_text())
        pipeline = yaml.safe_load((self.root / "dvc.yaml").read_text())["stages"]
        for name, stage in stages_of(TIER, self.root).items():
            kept = code_file(name, TIER, self.root / "reports")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(as_text(project.code[name]))
            hashes = dict.fromkeys(stage.deps, "0") | {f"build/source/{name}.json": md5_of(kept.read_bytes())}
            self.entries[f"{name}@{TIER}"] = {
                "cmd": pipeline[name]["do"]["cmd"].replace("${item}", TIER),
                "deps": [{"path": path, "md5": md5} for path, md5 in hashes.items()],
                "params": {"params.yaml": {key: lookup(params, key) for key in stage.params}},
                "outs": [{"path": path, "md5": self.made(path)} for path in stage.outs]}
        self.write()

    def made(self, path: str) -> str:
        """Metrics are there, since they are committed; all else is in nobody's clone."""
        if not path.endswith(".json"):
            return "0"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(json.dumps({"results": {}, "provenance": self.provenance()}))
        return md5_of((self.root / path).read_bytes())

    def provenance(self, **more: Any) -> dict[str, Any]:
        return {"git": {"revision": "0" * 40, "dirty": True}, "params": {}} | more

    def write(self) -> None:
        (self.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": self.entries}))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert text.count(old) == 1, old
        (self.root / path).write_text(text.replace(old, new))

    def outdated(self) -> dict[str, str]:
        return {name: words for name, words in Project(self.root).verdicts(TIER).items() if words}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    copy = Copy(tmp_path_factory.mktemp("finished") / "project")
    copy.finish()
    return copy


@pytest.fixture
def copy(finished: Copy, tmp_path: Path) -> Copy:
    made = Copy.__new__(Copy)
    made.root, made.entries = tmp_path / "project", json.loads(json.dumps(finished.entries))
    shutil.copytree(finished.root, made.root)
    return made


def test_what_was_just_made_is_up_to_date(finished: Copy) -> None:
    verdicts = Project(finished.root).verdicts(TIER)
    assert list(verdicts) == list(NAMES) and not any(verdicts.values())


def test_a_comment_a_docstring_and_prose_make_nothing_older(copy: Copy) -> None:
    with open(copy.root / "lib" / "base" / "files.py", "a") as stream:
        stream.write("# a word\n")
    copy.edit("lib/base/files.py", '"""Hex SHA-256 of a file."""', '"""The hash of a file."""')
    path = copy.root / "notebooks" / "rcam.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": "words"})
    path.write_text(json.dumps(notebook))
    assert copy.outdated() == {}


def test_a_changed_definition_is_named_where_it_is_run(copy: Copy) -> None:
    copy.edit("lib/papers/rcam/constants.py", "\ndef filter_grid(",
              "\nADDED = 1\n\n\ndef filter_grid(added=ADDED, *, ")
    found = copy.outdated()
    assert found["rcam_constants"] == "code changed: filter_grid; code new: ADDED"
    assert found == {"rcam_constants": found["rcam_constants"],
                     "report": "starts from rcam_constants, which may come out otherwise another time"}


def test_many_definitions_are_counted(copy: Copy) -> None:
    path = copy.root / "lib" / "papers" / "dcsm" / "maps.py"
    path.write_text(path.read_text().replace("    return ", "    return 1 and "))
    found = copy.outdated()
    assert found["dcsm_maps"].startswith("code changed: ") and " more" in found["dcsm_maps"]
    assert "rcam" not in found and {"dcsm", "fcn_gbp", "report"} <= set(found)


def test_a_parameter_is_shown_with_both_values(copy: Copy) -> None:
    copy.edit("params.yaml", "  eps: 0.01\n", "  eps: 0.02\n")
    found = copy.outdated()
    assert found["rcam"] == "parameters: rcam.eps 0.01 -> 0.02"
    assert set(found) == {"rcam", "rcam_scales", "rcam_constants", "comparison", "crf_exactness", "report"}


def test_a_parameter_that_was_not_noted_is_none_of_the_same_value(copy: Copy) -> None:
    del copy.entries[f"comparison@{TIER}"]["params"]["params.yaml"]["csoa_thresholds.chosen"]
    copy.write()
    assert copy.outdated()["comparison"] == "parameters: csoa_thresholds.chosen nothing -> 0.55"


def test_data_and_upstream_results_that_were_made_again_are_named(copy: Copy) -> None:
    (out,) = copy.entries[f"proposals@{TIER}"]["outs"]
    out["md5"] = "1"
    copy.write()
    found = copy.outdated()
    assert found["iam_train"] == f"build/{TIER}/proposals was made again since" and "csoa" not in found
    assert found["iam"] == f"build/{TIER}/proposals was made again since"
    del copy.entries[f"proposals@{TIER}"]
    copy.write()
    assert copy.outdated()["iam_train"] == f"build/{TIER}/proposals has no entry in dvc.lock"


def test_what_dvc_did_not_make_says_from_which_revision_it_is(copy: Copy) -> None:
    del copy.entries[f"rcam@{TIER}"], copy.entries[f"data@{TIER}"]
    copy.write()
    found = copy.outdated()
    assert found["data"] == "no entry in dvc.lock, and nothing here says what it was made by"
    assert found["rcam"] == (
        "no entry in dvc.lock: made at revision 000000000000 with uncommitted changes outside the pipeline; "
        "this clone does not have that revision to compare with")


def test_results_that_were_replaced_do_not_pass_for_those_that_dvc_made(copy: Copy) -> None:
    path = copy.root / "reports" / TIER / "metrics" / "rcam.json"
    provenance = copy.provenance(params={"rcam": {"eps": 0.5}, "csoa": 3})
    path.write_text(json.dumps({"results": {}, "provenance": provenance}))
    words = copy.outdated()["rcam"]
    assert words.startswith("replaced since DVC made it: made at revision 000000000000")
    assert "rcam.eps 0.5 -> 0.01" in words and "csoa" not in words   # a part of a block is no block


def test_a_revision_is_compared_with(copy: Copy) -> None:
    """With what Git has of it."""
    git(copy.root, "init", "--quiet")
    git(copy.root, "add", "lib", "notebooks")
    git(copy.root, "-c", "user.name=t", "-c", "user.email=t", "commit", "--quiet", "--message=all")
    revision = git(copy.root, "rev-parse", "HEAD").strip()
    provenance = copy.provenance(git={"revision": revision, "dirty": False})
    path = copy.root / "reports" / TIER / "metrics" / "rcam_constants.json"
    path.write_text(json.dumps({"results": {}, "provenance": provenance}))
    assert copy.outdated()["rcam_constants"].endswith("outside the pipeline; the code is the same today")
    copy.edit("lib/papers/rcam/constants.py", "\ndef filter_grid(", "\ndef filter_grid(added=1, *, ")
    assert copy.outdated()["rcam_constants"].endswith("outside the pipeline; code changed: filter_grid")


def test_a_note_that_is_gone_leaves_open_what_changed(copy: Copy) -> None:
    code_file("rcam_constants", TIER, copy.root / "reports").unlink()
    assert copy.outdated() == {}
    copy.edit("lib/papers/rcam/constants.py", "\ndef filter_grid(", "\ndef filter_grid(added=1, *, ")
    said = copy.outdated()["rcam_constants"]
    assert said.startswith("code changed; where is not known, reports/smoke/code/rcam_constants.json")


@pytest.mark.parametrize("text, words", [
    ("stages: [", "dvc.lock: damaged"), ("", "dvc.lock: damaged"),
    ("stages:\n  rcam@smoke: {deps: 3}\n", "dvc.lock: damaged"),
    ("stages:\n  rcam@smoke: {cmd: .venv/bin/python -m lib.pipeline run rcam smoke, deps: [{md5: 1}]}\n",
     "dvc.lock: damaged"),
    ("stages:\n  strip@rcam: {cmd: x}\n", 'dvc.lock: its stage "strip@rcam" is not as dvc.yaml has it'),
    ("stages:\n  rcam@smoke: {cmd: other}\n", 'dvc.lock: its stage "rcam@smoke" is not as dvc.yaml has it')])
def test_a_lock_of_another_layout_is_one_sentence(copy: Copy, text: str, words: str) -> None:
    (copy.root / "dvc.lock").write_text(text)
    with pytest.raises(Problem, match=f"^{words}") as caught:
        read_lock(copy.root)
    assert "\n" not in str(caught.value)
    assert str(caught.value) in stale_section(TIER, Project(copy.root))   # a page is written all the same


def test_without_a_lock_nothing_is_known(copy: Copy) -> None:
    (copy.root / "dvc.lock").unlink()
    assert set(copy.outdated()) == set(NAMES)


def test_the_section_of_a_page_is_short(copy: Copy, finished: Copy) -> None:
    """Nothing about the page itself, which is being made."""
    others = ", ".join(name for name in NAMES if name != "report")
    expected = f"## What is older than the code\n\n- {others}: up to date\n"
    assert stale_section(TIER, Project(finished.root)) == expected
    copy.edit("lib/papers/rcam/constants.py", "\ndef filter_grid(", "\ndef filter_grid(added=1, *, ")
    lines = stale_section(TIER, Project(copy.root)).splitlines()
    assert lines[3] == "- rcam_constants: code changed: filter_grid" and len(lines) == 4
    assert "rcam_constants" not in lines[2].split(", ") and lines[2].endswith(": up to date")


def test_every_stage_is_a_line(finished: Copy, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(stale, "Project", lambda: Project(finished.root))
    stale.print_stale([TIER])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}@{TIER}: up to date" for name in NAMES] and len(lines) == len(NOTEBOOKS) + 8
    stale.print_stale()   # tiers that are active, and those with results
    tiers = {line.split(":")[0].split("@")[1] for line in capsys.readouterr().out.splitlines()}
    assert tiers == {*Project(finished.root).params["tiers"], TIER}
