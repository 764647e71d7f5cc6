"""`python -m lib.faults.filled FOLDER`: fills a folder by several processes, slowly, to be killed."""
from lib.base import early

if __name__ == "__main__":
    early.end_without_a_word()   # by Ctrl-C, while all else is imported

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.base.files import whole_file
from lib.base.problem import exit_status
from lib.base.shards import FilledFolder

FILES = 12
SECONDS = 0.05   # that a file takes


@dataclass(frozen=True)
class Job:
    """One file."""
    path: Path


def filler() -> Callable[[Job], None]:
    """A function that writes the file of a job in two halves."""
    def write(job: Job) -> None:
        with whole_file(job.path) as part:
            np.savez(part, values=np.arange(1000))
            content = part.read_bytes()
            part.write_bytes(content[:len(content) // 2])
            time.sleep(SECONDS)
            part.write_bytes(content)
    return write


def fill(folder: Path) -> None:
    """All files, as a stage makes its own: those that are there are kept."""
    jobs = [Job(folder / f"{number}.npz") for number in range(FILES)]
    filled = FilledFolder(folder, {"files": FILES})
    filled.begin(jobs)
    filled.fill(filler, jobs, "filling")


if __name__ == "__main__":
    sys.exit(exit_status(lambda: fill(Path(sys.argv[1])), "Interrupted; what was finished is kept."))
