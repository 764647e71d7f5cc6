"""The commands that dvc.yaml calls reach their stages, and a problem is one sentence."""
import contextlib
from typing import Any

import pytest
import yaml

from lib.base.paths import ROOT
from lib.params import NOTEBOOKS, TIERS, load_params
from lib.pipeline import __main__ as command, repro, source, stages, times

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
Calls = list[tuple]


def commands() -> list[Any]:
    """(stage, tier, command) of every stage that runs once a tier."""
    cases = []
    for name, stage in STAGES.items():
        for tier in TIERS if "do" in stage else ():
            words = stage["do"]["cmd"].replace("${item}", tier)
            cases.append(pytest.param(name, tier, words, id=f"{name}@{tier}"))
    return cases


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What was called, with its arguments; none of it runs, whatever stages there will be."""
    made: Calls = []

    def kept(*args: str) -> contextlib.AbstractContextManager[None]:
        made.append(("kept", *args))
        return contextlib.nullcontext()

    def noting(name: str) -> Any:
        return lambda params, tier, code_of: made.append((name, tier))

    for name in stages.STAGES:
        monkeypatch.setitem(stages.STAGES, name, noting(name))
    monkeypatch.setattr(stages, "run", lambda *args: made.append(("run", *args)))
    monkeypatch.setattr(source, "kept", kept)
    monkeypatch.setattr(times, "timed", lambda *args: contextlib.nullcontext())
    monkeypatch.setattr(source, "write", lambda *args: made.append(("source", *args)))
    return made


@pytest.fixture(autouse=True)
def mirror_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away again what the suite puts into the environment."""
    monkeypatch.setenv("MIRROR", "")
    monkeypatch.delenv("MIRROR")


@pytest.mark.parametrize("name, tier, words", commands())
def test_every_command_of_the_pipeline_reaches_its_stage(
        name: str, tier: str, words: str, calls: Calls) -> None:
    python, *rest = words.split()
    assert python == ".venv/bin/python"
    assert rest[:2] == ["-m", "lib.pipeline"]
    assert command.main(rest[2:]) == 0
    expected = ("run", name, tier) if name in NOTEBOOKS else (name, tier)
    assert calls == [("kept", name, tier), expected]


def test_the_source_of_every_stage_is_written_at_once(calls: Calls) -> None:
    assert command.main(STAGES["source"]["cmd"].split()[3:]) == 0
    assert calls == [("source", [])]
    assert command.main(["source", "rcam", "dcsm"]) == 0
    assert calls[1:] == [("source", ["rcam", "dcsm"])]


def test_report_without_a_tier_makes_those_that_are_active(calls: Calls) -> None:
    assert command.main(["report"]) == 0
    assert [call for call in calls if call[0] != "kept"] == [("report", tier) for tier in load_params().tiers]


@pytest.mark.parametrize("words, expected", [
    (["repro"], ([], None)),
    (["repro", "--tier", "smoke", "--tier", "collage", "--mirror", "m"], (["smoke", "collage"], "m"))])
def test_repro_passes_its_exit_status_on(words: list[str], expected: tuple,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    made: Calls = []
    monkeypatch.setattr(repro, "repro", lambda *args: made.append(args) or 3)
    assert command.main(words) == 3
    assert made == [expected]


@pytest.mark.parametrize("words, message", [
    (["source", "rcamm"], 'There is no stage "rcamm"; did you mean "rcam"?'),
    (["stale", "smokee"], 'There is no tier "smokee"'),
    (["data", "smokee"], 'There is no tier "smokee"; did you mean "smoke"?'),
    (["dcsm_train", "mirorr"], 'There is no tier "mirorr"; did you mean "mirror"?'),
    (["dcsm_maps", "mirorr"], 'There is no tier "mirorr"; did you mean "mirror"?'),
    (["run", "rcamm", "smoke"], 'There is no notebook "rcamm"; did you mean "rcam"?'),
    (["run", "rcam", "colage"], 'There is no tier "colage"; did you mean "collage"?')])
def test_a_problem_is_one_line_without_a_traceback(words: list[str], message: str,
                                                   capsys: pytest.CaptureFixture) -> None:
    assert command.main(words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_interruption_is_one_line_too(monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "run", stop)
    assert command.main(["run", "rcam", "smoke"]) == 130
    assert capsys.readouterr().err.startswith("Interrupted; ")
