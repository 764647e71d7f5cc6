"""Files and folders that are whole or not there, and that say what they follow from.

Everything is written under a temporary name first and renamed at the end, so that a run that is killed leaves
nothing half done.
"""
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lib.base.problem import Problem

FINGERPRINT = "fingerprint.json"   # beside results: the digest of what they follow from


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path of the same ending beside `path`; unless the block raises, it becomes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place unless the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".part-{path.name}-", dir=path.parent))
    try:
        yield part
        part.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise Problem(f"{path}: damaged, so it cannot be told what the files beside it follow from; "
                      f"delete {path.parent}, and they are made again.") from None
