"""A process that is killed while it works, and what it leaves."""
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lib.base.parts import part_beside


class Killed(BaseException):
    """Killed as from outside: nothing in the project catches it."""


@contextmanager
def killed_in_a_file(save: str, after: int) -> Iterator[None]:
    """Whole files by numpy's function of that name, then half of one, at which the work in here is killed."""
    written: list[Path] = []
    whole: Callable[..., None] = getattr(np, save)

    def dying(path: Path, **arrays: np.ndarray) -> None:
        if len(written) == after:
            Path(path).write_bytes(b"PK half a file")
            raise Killed
        written.append(path)
        whole(path, **arrays)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(np, save, dying)
        yield


def part_of_a_killed_run(path: Path) -> Path:
    """The name beside `path` under which a process wrote that lives no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    here = part_beside(path)
    return here.with_name(here.name.replace(f"-{os.getpid()}-", f"-{process.pid}-", 1))
