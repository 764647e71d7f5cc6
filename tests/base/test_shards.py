"""Shares of a folder of files: put together they are what one process makes, and they do not get mixed up."""
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from folders import contents
from sentences import is_one_sentence

from lib.base.parts import part_beside
from lib.base.problem import Problem
from lib.base.shards import FROM_STARTER, NOTES, WHOLE, FilledFolder, Shard, check, shard

FACTS = {"data": "abc"}


@dataclass(frozen=True)
class Text:
    """A number to write into a file."""
    number: int
    path: Path

    @property
    def name(self) -> str:
        return f"item {self.number}"


def writer(bad: int = -1) -> Callable[[Text], None]:
    def write(text: Text) -> None:
        if text.number == bad:
            raise Problem("it cannot be decoded.")
        text.path.parent.mkdir(parents=True, exist_ok=True)
        text.path.write_text(f"{text.number}")
    return write


def jobs(folder: Path, number: int = 7) -> list[Text]:
    return [Text(i, folder / f"{i}.txt") for i in range(number)]


def fill(folder: Path, share: Shard = WHOLE, bad: int = -1, facts: object = FACTS) -> None:
    filled = FilledFolder(folder, facts)
    filled.begin(jobs(folder), share)
    filled.fill(partial(writer, bad), jobs(folder), "texts", share)


def files(folder: Path) -> dict[str, bytes]:
    found = contents(folder)
    return {name: content for name, (_, content) in found.items() if not name.startswith(NOTES)}


def test_every_item_is_in_one_share() -> None:
    shares = [Shard(number, 3).part(range(10)) for number in (1, 2, 3)]
    assert shares == [range(0, 10, 3), range(1, 10, 3), range(2, 10, 3)]
    assert list(Shard(5, 8).part(range(3))) == []
    assert list(WHOLE.part(range(3))) == [0, 1, 2]


def test_shares_put_together_are_the_whole(tmp_path: Path) -> None:
    fill(tmp_path / "whole")
    for number in (2, 1):
        fill(tmp_path / "shared", Shard(number, 2))
    assert files(tmp_path / "shared") == files(tmp_path / "whole")
    note = json.loads((tmp_path / "shared" / NOTES / "2-of-2.json").read_text())
    assert note["texts"]["count"] == 3 and note["texts"]["failures"] == {}
    fill(tmp_path / "shared")   # finds nothing left to do, and leaves the notes
    assert (tmp_path / "shared" / NOTES / "1-of-2.json").is_file()


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    fill(tmp_path, Shard(1, 2))
    (tmp_path / "0.txt").write_text("kept")
    fill(tmp_path, Shard(1, 2))
    fill(tmp_path)
    assert (tmp_path / "0.txt").read_text() == "kept" and (tmp_path / "6.txt").read_text() == "6"


def test_a_share_ends_with_what_failed_on_its_note(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="1 of 4 failed, all others are done"):
        fill(tmp_path, Shard(1, 2), bad=2)
    note = json.loads((tmp_path / NOTES / "1-of-2.json").read_text())
    assert note["texts"]["failures"] == {"item 2": "it cannot be decoded."}
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["0.txt", "4.txt", "6.txt"]


def test_an_interrupted_share_leaves_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lib.base.shards.each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, Shard(1, 2))
    assert not (tmp_path / NOTES).exists()


def test_shares_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, Shard(1, 2))
    before = contents(tmp_path)
    with pytest.raises(Problem, match="was divided by 2 before") as other_number:
        fill(tmp_path, Shard(2, 3))
    with pytest.raises(Problem, match="follows from other settings") as other_facts:
        fill(tmp_path, Shard(2, 2), facts={"data": "other"})
    assert is_one_sentence(str(other_number.value)) and is_one_sentence(str(other_facts.value))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", ""])
def test_a_share_that_cannot_be(text: str) -> None:
    with pytest.raises(Problem, match="I from 1 to N") as caught:
        shard(text)
    assert is_one_sentence(str(caught.value))


@pytest.mark.parametrize(("variables", "expected"), [
    ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}, Shard(3, 4)),
    ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"}, Shard(1, 4)),
    ({"RANK": "1", "WORLD_SIZE": "2"}, Shard(2, 2)),
    ({"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "3"}, Shard(3, 3)),
])
def test_the_share_that_a_starter_says(variables: dict[str, str], expected: Shard,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert shard(FROM_STARTER) == expected
    assert shard(None) == WHOLE   # who does not ask for a share gets the whole


def test_no_starter_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "RANK", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Problem, match="write I/N"):
        shard(FROM_STARTER)


@pytest.mark.parametrize("number, many", [
    ("x", "4"), ("-1", "4"), ("1", "x"), ("", "4"), ("9" * 20, "4"), ("4", "4")])
def test_a_starter_that_says_nonsense_is_named(monkeypatch: pytest.MonkeyPatch, number: str,
                                               many: str) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", number)
    monkeypatch.setenv("WORLD_SIZE", many)
    with pytest.raises(Problem) as caught:
        shard(FROM_STARTER)
    assert is_one_sentence(caught.value)


def test_a_note_that_is_being_written_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / NOTES).mkdir()
    part_beside(tmp_path / NOTES / "2-of-3.json").write_text("{")
    check(tmp_path, Shard(1, 2), "facts")


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '{"maps": {}}', "[" * 100_000])
def test_a_damaged_note_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / NOTES).mkdir()
    (tmp_path / NOTES / "2-of-2.json").write_text(content)
    words = "2-of-2.json: a damaged note of a share; delete it, and run share 2/2 again"
    with pytest.raises(Problem, match=words) as caught:
        check(tmp_path, Shard(1, 2), "facts")
    assert is_one_sentence(caught.value)
