"""What is not whole yet: names for it beside the place where it will lie, and an end to what was left there.

A run that is killed cannot tidy up. A name says which process of which machine writes there, so that the next
run in the same folder removes what no living process owns.
"""
import contextlib
import functools
import hashlib
import itertools
import os
import platform
import re
import shutil
import time
from pathlib import Path

PREFIX = ".part-"
NAME = re.compile(r"\.part-([0-9a-f]{8})-(\d+)-")   # machine, process
LONGEST = 40                 # characters of the final name that are kept
FORGOTTEN = 7 * 24 * 3600    # seconds after which what another machine writes is taken for left

_count = itertools.count()


def part_beside(path: Path) -> Path:
    """A path of the same ending beside `path`, of this process alone."""
    return path.with_name(f"{PREFIX}{_machine()}-{os.getpid()}-{next(_count)}-{path.name[-LONGEST:]}")


@functools.cache
def sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder; once in a process, since folders can be large."""
    with os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _is_left(entry)]
    for path in left:
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def _is_left(entry: os.DirEntry[str]) -> bool:
    if not entry.name.startswith(PREFIX):
        return False
    owner = NAME.match(entry.name)
    if owner and owner[1] == _machine():
        return not _lives(int(owner[2]))
    try:
        written = entry.stat(follow_symlinks=False).st_mtime
    except OSError:   # another process has removed it
        return False
    return time.time() - written > FORGOTTEN


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):   # it is another user's, or no number that a process has
        return True
    return True


@functools.cache
def _machine() -> str:
    """Eight digits for this machine, or for this container, which counts processes of its own."""
    space = Path("/proc/self/ns/pid")
    number = space.stat().st_ino if space.exists() else 0
    return hashlib.sha256(f"{platform.node()} {number}".encode()).hexdigest()[:8]
