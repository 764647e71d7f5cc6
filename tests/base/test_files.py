"""Files and folders are whole or not there, and are kept only where they follow from the same facts."""
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.base.files import FINGERPRINT, resume_folder, sha256, whole_file, whole_folder, write_json
from lib.base.problem import Problem

STOPS = [ValueError, KeyboardInterrupt, SystemExit]


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    example = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"   # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "b") == example


def test_whole_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "table.json"
    with whole_file(target) as part:
        assert part.parent == target.parent and part.suffix == ".json" and part.name != target.name
        part.write_text("new")
        assert not target.exists()
    assert names(tmp_path) == ["deep", "deep/er", "deep/er/table.json"] and target.read_text() == "new"


@pytest.mark.parametrize("stop", STOPS)
def test_whole_file_keeps_the_old_one(tmp_path: Path, stop: type[BaseException]) -> None:
    target = tmp_path / "table.json"
    target.write_text("old")
    with pytest.raises(stop), whole_file(target) as part:
        part.write_text("half")
        raise stop
    assert names(tmp_path) == ["table.json"] and target.read_text() == "old"


def test_whole_file_that_was_never_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_text() == "old"


def test_whole_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "data"
    for round in ("first", "second"):
        with whole_folder(target) as part:
            (part / round).mkdir()
            (part / round / "file").write_text(round)
            assert not (target / round).exists()
    assert names(tmp_path) == ["deep", "deep/data", "deep/data/second", "deep/data/second/file"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("before", [True, False])
def test_whole_folder_leaves_nothing_behind(tmp_path: Path, stop: type[BaseException], before: bool) -> None:
    if before:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "old").write_text("old")
    there = names(tmp_path)
    with pytest.raises(stop), whole_folder(tmp_path / "data") as part:
        (part / "images").mkdir()
        (part / "images" / "half").write_text("half")
        raise stop
    assert names(tmp_path) == there


def unserialisable(path: Path) -> None:
    write_json(path, {"a": object()})


def circular(path: Path) -> None:
    value: list = []
    value.append(value)
    write_json(path, value)


@pytest.mark.parametrize("write", [unserialisable, circular])
def test_write_json_is_whole_or_not(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"ä": [1, None, 0.5]})
    before = path.read_bytes()
    assert json.loads(before) == {"ä": [1, None, 0.5]}
    assert "ä".encode() in before and before.endswith(b"}\n")
    with pytest.raises((TypeError, ValueError)):
        write(path)
    assert path.read_bytes() == before and names(tmp_path) == ["x.json"]


FACTS = {"data": "abc", "constants": [1, 2.5]}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of two results that follow from FACTS."""
    folder = tmp_path / "results"
    resume_folder(folder, FACTS, [])
    (folder / "test").mkdir()
    for name in ("a.npz", "test/b.npz"):
        (folder / name).write_text(name)
    return folder


def test_results_from_the_same_facts_are_kept(results: Path) -> None:
    resume_folder(results, dict(reversed(FACTS.items())), [results / "a.npz", results / "test" / "b.npz"])
    assert names(results) == ["a.npz", FINGERPRINT, "test", "test/b.npz"]
    assert (results / "test" / "b.npz").read_text() == "test/b.npz"


def test_what_is_not_wanted_any_more_goes(results: Path) -> None:
    (results / "test" / ".part-1-c.npz").write_text("what a killed run left")
    resume_folder(results, FACTS, {results / "test" / "b.npz", results / "test" / "d.npz"})
    assert names(results) == [FINGERPRINT, "test", "test/b.npz"]


def alter(path: Path) -> None:
    write_json(path, {"fingerprint": "0"})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def garble(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut, garble])
def test_results_beside_a_damaged_fingerprint_are_kept_and_named(
        results: Path, damage: Callable[[Path], None]) -> None:
    """Hours of work are not thrown away for a few bytes: that is for the user to say."""
    damage(results / FINGERPRINT)
    before = names(results)
    with pytest.raises(Problem, match=f"{FINGERPRINT}: damaged.*; delete .*, and they are made again"):
        resume_folder(results, FACTS, [])
    assert names(results) == before


@pytest.mark.parametrize("damage", [alter, remove])
def test_results_whose_facts_are_not_known_go(results: Path, damage: Callable[[Path], None]) -> None:
    before = (results / FINGERPRINT).read_bytes()
    damage(results / FINGERPRINT)
    resume_folder(results, FACTS, [results / "a.npz", results / "test" / "b.npz"])
    assert names(results) == [FINGERPRINT] and (results / FINGERPRINT).read_bytes() == before


def test_results_from_other_facts_go(results: Path) -> None:
    before = (results / FINGERPRINT).read_bytes()
    resume_folder(results, {**FACTS, "data": "abd"}, [results / "a.npz", results / "test" / "b.npz"])
    assert names(results) == [FINGERPRINT] and (results / FINGERPRINT).read_bytes() != before
