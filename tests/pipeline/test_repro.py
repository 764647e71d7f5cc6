"""`make repro`: parameters on the command line are written down and checked; what DVC says is passed on."""
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.params import load_params
from lib.pipeline import repro, stages
from lib.pipeline.repro import set_parameter

TIERS_LINE = "tiers: [collage]          # of: smoke, collage\n"
MIRROR_COMMENT = "# the mirror's folder; the environment variable MIRROR goes before it"


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped params.yaml that the module works on, with tiers of its own."""
    path = tmp_path / "params.yaml"
    shipped = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text, count = re.subn(r"^tiers:.*\n", TIERS_LINE, shipped, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(repro, "ROOT", tmp_path)
    monkeypatch.setattr(repro, "load_params", lambda given=path: load_params(given))
    return path


def differing(path: Path, before: str) -> list[str]:
    now = path.read_text(encoding="utf-8").splitlines()
    return [line for line, old in zip(now, before.splitlines(), strict=True) if line != old]


@pytest.mark.parametrize("key, value, line", [
    ("tiers", "[smoke, collage]", "tiers: [smoke, collage]          # of: smoke, collage"),
    ("seed", "7", "seed: 7"),
    ("mirror", "/data/m", f"mirror: /data/m    {MIRROR_COMMENT}"),
    ("mirror", "'a # b'", f"mirror: 'a # b'    {MIRROR_COMMENT}")])
def test_one_line_changes_and_keeps_its_comment(params: Path, key: str, value: str, line: str) -> None:
    before = params.read_text(encoding="utf-8")
    set_parameter(key, value)
    assert differing(params, before) == [line]
    assert getattr(load_params(params), key) == yaml.safe_load(value)
    once = params.read_bytes()
    set_parameter(key, value)
    assert params.read_bytes() == once
    assert [p.name for p in params.parent.iterdir()] == ["params.yaml"]


def test_a_quoted_value_is_found_again(params: Path) -> None:
    before = params.read_text(encoding="utf-8")
    original = load_params(params).mirror
    set_parameter("mirror", '"a # b"')
    set_parameter("mirror", "'c # d'")
    set_parameter("mirror", original)
    assert params.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("key, value, words", [
    ("tiers", "[smokee]", 'there is no tier "smokee"; did you mean "smoke"?'),
    ("tiers", "[]", "tiers: must be a list"),
    ("tiers", "[smoke", "cannot be read as YAML"),
    ("mirror", "7", "mirror: must be a word"),
    ("seed", "-1", "seed: -1 is out of range"),
    ("sead", "1", 'there is no line "sead: ..."')])
def test_an_invalid_value_leaves_the_file_alone(params: Path, key: str, value: str, words: str) -> None:
    before = params.read_bytes()
    with pytest.raises(Problem) as caught:
        set_parameter(key, value)
    assert words in str(caught.value)
    assert params.read_bytes() == before
    assert [p.name for p in params.parent.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("block", [
    "tiers:\n  - collage\n", "tiers:\n- collage\n- smoke\n", "tiers: [\n  collage]\n"])
def test_a_list_over_several_lines_is_never_garbled(params: Path, block: str) -> None:
    text = params.read_text(encoding="utf-8")
    head, _, rest = text.partition(TIERS_LINE)
    params.write_text(head + block + rest, encoding="utf-8")
    before, expected = params.read_bytes(), load_params(params)
    try:
        set_parameter("tiers", "[mirror]")
    except Problem:
        assert params.read_bytes() == before
    else:
        now = load_params(params)
        assert now.tiers == ["mirror"]
        assert (now.tier, now.rcam) == (expected.tier, expected.rcam)


@pytest.fixture
def calls(params: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What repro does, in order; DVC does not run."""
    done: list[Any] = []

    def run(words: list[str], cwd: Path) -> subprocess.CompletedProcess:
        done.append((words[1:], cwd))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(repro.subprocess, "run", run)
    monkeypatch.setattr("lib.report.compare.print_comparison", lambda tiers: done.append(tiers) or 3)
    monkeypatch.setattr(stages, "ROOT", repro.ROOT)
    monkeypatch.setenv("MIRROR", "")   # so that what the suite puts there is taken away again
    monkeypatch.delenv("MIRROR")
    return done


def test_repro_runs_dvc_then_compares(params: Path, calls: list[Any]) -> None:
    assert repro.repro(["smoke", "collage"], None) == 3
    assert calls == [(["-m", "dvc", "repro"], params.parent), ["smoke", "collage"]]
    assert load_params(params).tiers == ["smoke", "collage"]


def test_repro_without_arguments_writes_nothing(params: Path, calls: list[Any]) -> None:
    before = params.read_bytes()
    assert repro.repro([], None) == 3
    assert params.read_bytes() == before and calls[1] == ["collage"]


def test_a_failed_pipeline_is_not_compared(params: Path, calls: list[Any],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repro.subprocess, "run", lambda words, cwd: subprocess.CompletedProcess(words, 255))
    assert repro.repro([], None) == 255
    assert calls == []


@pytest.mark.parametrize("name", ["mirror copy", "a # b", "it's # here", "12", "null", "[x]", "a: b", "ä"])
def test_any_folder_name_can_be_the_mirror(params: Path, calls: list[Any], name: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    folder = params.parent / name
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    before = params.read_text(encoding="utf-8")
    repro.repro(["mirror"], name)
    assert load_params(params).mirror == name
    assert all("#" in line for line in differing(params, before))   # comments are still there
    monkeypatch.delenv("MIRROR")
    repro.repro(["mirror"], str(folder))
    assert load_params(params).mirror == str(folder)


def test_a_missing_mirror_is_named_before_anything_starts(params: Path, calls: list[Any]) -> None:
    with pytest.raises(Problem, match=r"nowhere: not the mirror \(no manifest.json\)"):
        repro.repro(["mirror"], "nowhere")
    assert calls == []


def test_invalid_parameters_are_named_before_anything_starts(params: Path, calls: list[Any]) -> None:
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("  eps: 0.01\n", "  eps: 0\n"), encoding="utf-8")
    with pytest.raises(Problem, match="rcam.eps: 0.0 is out of range"):
        repro.repro([], None)
    assert calls == []
