"""What counts as one clear sentence, and what does not."""
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.base.problem import Problem
from lib.faults import case
from lib.faults.case import Case, Outcome, judged, judged_command
from lib.faults.page import page
from lib.faults.runner import GROUPS, SLOW, cases_of, known_groups, tried


def failing(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error
    return action


@pytest.mark.parametrize("error, outcome", [
    (Problem("params.yaml: there is no such file."), Outcome.CLEAR),
    (OSError(28, "No space left on device", "out"), Outcome.CLEAR),
    (Problem("Failed."), Outcome.NOT_CLEAR),
    (Problem(f"params.yaml: {'long ' * 200}."), Outcome.NOT_CLEAR),
    (KeyError("name"), Outcome.NOT_CLEAR),
    (RecursionError("maximum recursion depth exceeded."), Outcome.NOT_CLEAR),
    (SystemExit("params.yaml: there is no such file."), Outcome.NOT_CLEAR),
])
def test_errors_are_judged(error: BaseException, outcome: Outcome) -> None:
    assert judged(failing(error)) is outcome


def test_a_sentence_names_what_is_wrong() -> None:
    problem = Problem("params.yaml: there is no such file.")
    assert judged(failing(problem), names="params.yaml") is Outcome.CLEAR
    assert judged(failing(problem), names="weights") is Outcome.NOT_CLEAR


@pytest.mark.parametrize("result, outcome", [(3, Outcome.HANDLED), (4, Outcome.NOT_CLEAR)])
def test_results_are_checked(result: int, outcome: Outcome) -> None:
    assert judged(lambda: result, check=lambda found: found == 3) is outcome


def test_what_hangs_is_not_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case, "SECONDS", 0.05)
    assert judged(lambda: time.sleep(5)) is Outcome.NOT_CLEAR


@pytest.mark.parametrize("words, more, outcome", [
    (["params"], {}, Outcome.HANDLED),
    (["params"], {"check": lambda printed: "is valid" in printed}, Outcome.HANDLED),
    (["params"], {"check": lambda printed: not printed}, Outcome.NOT_CLEAR),
    (["data", "check", "/nowhere"], {"names": "/nowhere"}, Outcome.CLEAR),
    (["data", "chekc", "/nowhere"], {"names": "chekc"}, Outcome.CLEAR),
])
def test_commands_are_judged(words: list[str], more: dict[str, Any], outcome: Outcome) -> None:
    assert judged_command(words, **more) is outcome


def test_a_command_runs_apart_where_it_needs_another_environment() -> None:
    words = ["data", "check", "/nowhere"]
    assert judged_command(words, names="/nowhere", environment={"MIRROR": ""}) is Outcome.CLEAR


def test_the_page_counts_outcomes_and_lists_what_is_not_clear() -> None:
    def broken(_: Path) -> Outcome:
        raise ValueError("the case itself is wrong")

    cases = [Case("files", "a file", lambda folder: judged(folder.rmdir)),
             Case("files", "a folder", lambda _: judged(failing(Problem("A folder is in the way here.")))),
             Case("files", "a broken case", broken)]
    text = page({"files": tried(cases, "files")}, seed=3)
    assert "| files | 3 | 1 | 1 | 1 |" in text
    assert "- files: a broken case: `Traceback" in text and "ValueError: the case itself is wrong`" in text
    assert "Not clear" not in page({"files": tried(cases[1:2], "files")}, seed=3)


def test_a_group_that_was_not_tried_again_stays_on_the_page() -> None:
    """Unless the seed is another one, or some of its cases were not clear."""
    fine = [Case("files", "fine", lambda _: Outcome.HANDLED)]
    bad = [Case("weights", "bad", lambda _: Outcome.NOT_CLEAR)]
    before = page({"files": tried(fine, "files"), "weights": tried(bad, "weights")}, seed=3)
    again = page({"images": tried(fine, "images")}, seed=3, before=before)
    assert "| files | 1 | 0 | 1 | 0 |" in again and again.index("| images") < again.index("| files")
    assert "| weights" not in again and "Not clear" not in again
    assert "| files" not in page({"images": tried(fine, "images")}, seed=4, before=before)


def test_slow_groups_are_tried_where_they_are_asked_for() -> None:
    assert not set(known_groups(None)) & set(SLOW)
    assert known_groups(["kills", "images"]) == ["images", "kills"]
    with pytest.raises(Problem, match='there is no group "kill"; did you mean "kills"?'):
        known_groups(["kill"])


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in SLOW])
def test_nothing_is_unclear(group: str) -> None:
    pytest.importorskip(f"lib.faults.{group}")
    found = tried(cases_of(group, seed=0, quick=True), group)
    assert len(found) >= 20
    assert not [f"{each.case.name}: {each.said}" for each in found if each.outcome is Outcome.NOT_CLEAR]
