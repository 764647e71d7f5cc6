"""Files and folders are whole or not there, and are kept only where they follow from the same facts."""
import errno
import hashlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from killed import part_of_a_killed_run
from safetensors.torch import save_file

from lib.base.files import (
    FINGERPRINT,
    check_apart,
    move_file,
    move_folder,
    part_folder,
    resume_folder,
    sha256,
    whole_file,
    whole_folder,
    write_json,
)
from lib.base.parts import FORGOTTEN, part_beside
from lib.base.problem import Problem, exit_status


def ours(_: Path) -> None:
    """Accept that anything is replaced."""


def anothers(folder: Path) -> None:
    raise Problem(f"{folder}: is not ours.")


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
        with whole_folder(target, ours) as part:
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
    with pytest.raises(stop), whole_folder(tmp_path / "data", ours) as part:
        (part / "images").mkdir()
        (part / "images" / "half").write_text("half")
        raise stop
    assert names(tmp_path) == there


def test_a_folder_that_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("three years")
    with pytest.raises(Problem, match="is not ours"), whole_folder(tmp_path / "data", anothers):
        raise AssertionError("not to be reached")
    assert names(tmp_path) == ["data", "data/thesis.txt"]


def test_what_comes_while_the_work_goes_on_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is not ours"), whole_folder(tmp_path / "data", anothers) as part:
        (part / "new").write_text("new")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "thesis.txt").write_text("three years")
    assert names(tmp_path) == ["data", "data/thesis.txt"]


def test_an_empty_folder_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with whole_folder(tmp_path / "data", anothers) as part:
        (part / "new").write_text("new")
    assert names(tmp_path) == ["data", "data/new"]


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_the_working_directory_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               place: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "thesis.txt").write_text("three years")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(Problem, match="is the folder that this runs in, or lies above it"), \
            whole_folder(Path(place), ours):
        raise AssertionError("not to be reached")
    assert names(tmp_path) == ["here", "here/thesis.txt"]


def test_links_and_files_are_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("text")
    for name, words in (("link", "is a link"), ("file", "is a file where a folder should be")):
        with pytest.raises(Problem, match=words), whole_folder(tmp_path / name, ours):
            raise AssertionError("not to be reached")
    assert names(tmp_path) == ["file", "link", "real"]


def test_the_old_folder_is_back_where_the_new_one_cannot_take_its_place(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_text("old")
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(source).name == "new":
            raise OSError(errno.EIO, "Input/output error", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="Input/output error"), whole_folder(tmp_path / "data", ours):
        pass
    assert names(tmp_path) == ["data", "data/old"]


def test_files_and_folders_move_to_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def within_a_disk(move: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def moved(source: Path, target: Path) -> None:
            disks = {Path(path).relative_to(tmp_path).parts[0] for path in (source, target)}
            if len(disks) > 1:
                raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))
            move(source, target)
        return moved

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, within_a_disk(getattr(os, name)))
    (tmp_path / "one" / "figures" / "deep").mkdir(parents=True)
    (tmp_path / "one" / "figures" / "deep" / "a.png").write_text("picture")
    (tmp_path / "one" / "metrics.json").write_text("{}")
    move_folder(tmp_path / "one" / "figures", tmp_path / "two" / "figures", ours)
    move_file(tmp_path / "one" / "metrics.json", tmp_path / "two" / "metrics.json")
    assert names(tmp_path / "two") == ["figures", "figures/deep", "figures/deep/a.png", "metrics.json"]


@pytest.mark.parametrize("source, target", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "link/b"),
                                            ("link", "a"), ("a", "c/../a/b")])
def test_a_source_and_its_target_lie_apart(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(Problem, match="lies in its own source"):
        check_apart(tmp_path / source, tmp_path / target)
    check_apart(tmp_path / "a", tmp_path / "c")
    check_apart(tmp_path / "a", tmp_path / "ab")


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_a_killed_run_left_goes_and_what_lives_stays(tmp_path: Path, is_folder: bool) -> None:
    left, living = part_of_a_killed_run(tmp_path / "a.npz"), part_beside(tmp_path / "b.npz")
    elsewhere, forgotten = tmp_path / ".part-00000000-1-0-c.npz", tmp_path / ".part-7-d.npz"
    for path in (left, living, elsewhere, forgotten):
        if is_folder:
            path.mkdir()
            (path / "half").write_text("half")
        else:
            path.write_text("half")
    week_ago = time.time() - FORGOTTEN - 60
    os.utime(forgotten, (week_ago, week_ago))
    with whole_file(tmp_path / "e.npz") as part:
        part.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {living.name, elsewhere.name, "e.npz"}


def test_two_runs_beside_each_other_have_folders_of_their_own(tmp_path: Path) -> None:
    with part_folder(tmp_path / "smoke-rcam") as first, part_folder(tmp_path / "smoke-rcam") as second:
        assert first != second and first.is_dir() and second.is_dir()
    assert names(tmp_path) == []


def test_long_names_have_room_for_a_temporary_one(tmp_path: Path) -> None:
    name = "ä" * 120 + ".json"   # 245 bytes of the 255 that a name may have
    write_json(tmp_path / name, 3)
    assert names(tmp_path) == [name]


def test_a_folder_may_lie_deep(tmp_path: Path) -> None:
    """Deeper than Python's functions may call each other."""
    deep = tmp_path.joinpath(*["d"] * 1200)
    write_json(deep / "x.json", 3)
    assert (deep / "x.json").is_file()
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)   # which is more than Python's own way can


def save_by_torch(path: Path) -> None:
    torch.save({"weights": torch.zeros(1000)}, path)


def save_by_numpy(path: Path) -> None:
    np.savez(path, weights=np.zeros(1000))


def save_as_text(path: Path) -> None:
    path.write_text("a, b")


@pytest.mark.parametrize("save", [save_by_torch, save_by_numpy, save_as_text])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_disk_is_named(tmp_path: Path, save: Callable[[Path], None],
                              capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        with whole_file(tmp_path / "weights.npz") as part:
            part.symlink_to("/dev/full")
            save(part)

    assert exit_status(command, "Interrupted.") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'weights.npz'}: No space left on device") and said.count("\n") == 1
    assert names(tmp_path) == []


def test_a_file_that_may_not_grow_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        with whole_file(tmp_path / "weights.safetensors") as part:
            save_file({"weights": torch.zeros(100_000)}, part)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        status = exit_status(command, "Interrupted.")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'weights.safetensors'}: File too large")


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    replace = os.replace

    def replaced(source: Path, target: Path) -> None:
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    write_json(tmp_path / "x.json", 3)
    assert done == ["fsync", "replace"]
    monkeypatch.setattr(os, "sync", lambda: done.append("sync"))
    with whole_folder(tmp_path / "data", ours):
        pass
    assert done[2:] == ["sync", "replace"]


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
