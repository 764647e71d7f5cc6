"""What a disk has to do with files: that it is full, that it holds what was written, and deep folders."""
import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lib.base.problem import Problem

FULL: tuple[int, ...] = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAID: tuple[str, ...] = ("failed writing", "unexpected pos", "requested and")   # by torch and numpy
NUMBERED = re.compile(r"os error (\d+)")   # by safetensors


@contextlib.contextmanager
def naming_a_full_disk(path: Path) -> Iterator[None]:
    """Turn what libraries raise when the disk is full into an `OSError` that says so and names the file."""
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number not in FULL or _is_named(error):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _is_named(error: Exception) -> bool:
    return isinstance(error, Problem) or getattr(error, "filename", None) is not None


def _number(error: Exception) -> int | None:
    """The system's number of an error, as far as the library that met it lets on."""
    if getattr(error, "errno", None):
        return error.errno
    numbered = NUMBERED.search(str(error))
    if numbered:
        return int(numbered[1])
    return errno.ENOSPC if any(words in str(error) for words in SAID) else None


def make_folder(path: Path) -> None:
    """Make a folder and those above it, however many they are."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path == path.parent:
            break
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)


def sync(path: Path) -> None:
    """Return when the disk holds a file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
