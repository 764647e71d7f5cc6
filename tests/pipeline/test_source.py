"""The code of stages as files: one for each stage, and a note of what its results were made by."""
import json
from pathlib import Path

import pytest
import yaml

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.pipeline import source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where reports/ and build/ lie in this test."""
    monkeypatch.setattr(source, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(source, "BUILD", tmp_path / "build")
    monkeypatch.setattr(source.code_file, "__defaults__", (tmp_path / "reports",))
    return tmp_path


def test_every_stage_has_its_code() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert set(source.NAMES) == set(stages) - {"source"}


def test_a_stage_that_ends_well_leaves_the_code_it_ran(folder: Path) -> None:
    """The text that DVC compares, as it was when the stage began; one that fails leaves what was there."""
    source.write(["proposals", "rcam"])
    left = folder / "reports" / "smoke" / "code" / "rcam.json"
    with pytest.raises(KeyboardInterrupt), source.kept("rcam", "smoke"):
        raise KeyboardInterrupt
    assert not left.exists()
    with source.kept("rcam", "smoke"):
        assert not left.exists()
    assert left.read_bytes() == (folder / "build" / "source" / "rcam.json").read_bytes()
    assert json.loads(left.read_text()) == source.stage_code("rcam")


def test_a_misspelt_stage_leaves_no_code(folder: Path) -> None:
    """Its name is a problem for the stage itself."""
    with source.kept("rcamm", "smoke"):
        pass
    assert not (folder / "reports").exists()
    with pytest.raises(Problem, match='There is no stage "rcamm"; did you mean "rcam"?'):
        source.stage_code("rcamm")


def test_unchanged_cells_are_those_of_the_same_digest(tmp_path: Path) -> None:
    kept = tmp_path / "rcam.json"
    code = {"cell 1": "a", "cell 2": "b", "cell 10": "c", "f": "d", "cells": "e"}
    assert source.unchanged_cells(code, kept) == set()
    kept.write_text(json.dumps({**code, "cell 2": "other"}))
    assert source.unchanged_cells(code, kept) == {1, 10}
