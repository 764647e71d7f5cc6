"""Files and folders that are whole or not there, and that say what they follow from.

Everything is written under a temporary name first and renamed at the end, so that a run that is killed leaves
nothing half done.
"""
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from lib.base.disk import make_folder, naming_a_full_disk, sync
from lib.base.parts import part_beside, remove, sweep
from lib.base.problem import Problem

FINGERPRINT = "fingerprint.json"   # beside results: the digest of what they follow from


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path of the same ending beside `path`; unless the block raises, it becomes `path`."""
    make_folder(path.parent)
    sweep(path.parent)
    part = part_beside(path)
    try:
        with naming_a_full_disk(path):
            yield part
            sync(part)   # or a machine that stops could leave the name with nothing behind it
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def part_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, for what is not whole yet; afterwards it is gone."""
    make_folder(path.parent)
    sweep(path.parent)
    part = part_beside(path)
    part.mkdir()
    try:
        with naming_a_full_disk(path):
            yield part
    finally:
        remove(part)


@contextlib.contextmanager
def whole_folder(path: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` unless the block raises.

    Nothing is replaced that is not ours: `check` raises a `Problem` where what lies there must stay. It is
    asked before the work, and again after it. An empty folder is always replaced.
    """
    path = Path(os.path.abspath(path))
    check_place(path, check)
    with part_folder(path) as part:
        new, old = part / "new", part / "old"
        new.mkdir()
        yield new
        os.sync()   # once for all: to ask for each of many files takes a hundred times as long
        check_place(path, check)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(new, path)
        except BaseException:
            if old.exists():
                os.replace(old, path)
            raise


def check_place(path: Path, check: Callable[[Path], None]) -> None:
    """Refuse what `whole_folder` would not replace; worth asking before long work."""
    path = Path(os.path.abspath(path))
    if path.is_symlink():
        raise Problem(f"{path}: is a link, which is not replaced; name the folder itself.")
    if path == Path.cwd() or path in Path.cwd().parents:
        raise Problem(f"{path}: is the folder that this runs in, or lies above it; "
                      "name a folder of its own for the result.")
    if path.exists() and not path.is_dir():
        raise Problem(f"{path}: is a file where a folder should be; name another place.")
    if path.is_dir() and any(path.iterdir()):
        check(path)


def move_file(source: Path, target: Path) -> None:
    """Give a file another place, on another disk too; it is whole there or not there."""
    with whole_file(target) as part:
        shutil.move(source, part)


def move_folder(source: Path, target: Path, check: Callable[[Path], None]) -> None:
    """Give a folder another place, on another disk too, like `whole_folder`."""
    with whole_folder(target, check) as part:
        for path in sorted(source.iterdir()):
            shutil.move(path, part / path.name)


def check_apart(source: Path, target: Path) -> None:
    """Refuse a target that is what it is made from, lies in it or holds it."""
    there, here = Path(source).resolve(), Path(target).resolve()
    if there == here or there in here.parents or here in there.parents:
        raise Problem(f"{target}: lies in its own source {source}, or holds it; "
                      "name a folder apart from the source.")


def digest(facts: Any) -> str:
    """Hex SHA-256 of anything that JSON can hold.

    Beside a result it tells later whether the result still follows from the same facts.
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with whole_file(path) as part:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        # A file's name may hold bytes that are no letters: JSON reads their codes back.
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def resume_folder(folder: Path, facts: Any, wanted: Collection[Path]) -> None:
    """Keep the `wanted` files that an earlier run from the same facts left in a folder; remove all others.

    `facts` is anything that JSON can hold. Its digest lies in the folder. Where that is another one, or is
    not there, the whole folder goes, since its files do not follow from these facts.
    """
    path = folder / FINGERPRINT
    fingerprint = {"fingerprint": digest(facts)}
    if not path.is_file() or read_fingerprint(path) != fingerprint:
        if folder.exists():
            shutil.rmtree(folder)
        write_json(path, fingerprint)
    kept = {path, *wanted}
    for file in folder.rglob("*"):
        if file.is_file() and file not in kept:
            file.unlink()


def read_fingerprint(path: Path) -> object:
    """A fingerprint's content; beside a damaged one, what took hours is not thrown away without a word."""
    return read_json(path, "damaged, so it cannot be told what the files beside it follow from; "
                           f"delete {path.parent}, and they are made again")


def read_json(path: Path, fault: str) -> Any:
    """The values of a JSON file; `fault` is what is said of one that is damaged, and what to do about it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise Problem(f"{path}: {fault}.") from None
