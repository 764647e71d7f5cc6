"""A folder with one file for each of many items, and shares of it that several machines make.

A shard is a stable slice of the items: every N-th from the I-th on. When its files are there it leaves a
note, written last: how many there are, which failed and why, and what all of them follow from.
"""
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lib.base.environment import whole_number
from lib.base.files import FINGERPRINT, digest, read_fingerprint, read_json, resume_folder, write_json
from lib.base.problem import Problem
from lib.base.work import Failures, each

T = TypeVar("T")

NOTES = "shards"   # the folder of the notes
# Who starts many processes says so in the environment: (number, how many, what the first number is).
STARTERS: tuple[tuple[str, str, str | int], ...] = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("RANK", "WORLD_SIZE", 0),                        # torchrun
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", 0))   # Kubernetes; the second has to be set in the job's file
FROM_STARTER = "auto"
HELP = "this process's share, such as 2/8; without I/N as Slurm, torchrun or Kubernetes says"


@dataclass(frozen=True)
class Shard:
    """One of several shares of a list of items; `number` counts from 1 on."""
    number: int
    of: int

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """The items of this share."""
        return items[self.number - 1::self.of]

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Shard(1, 1)


def shard(text: str | None) -> Shard:
    """A share as the command line names it, `2/8`; `auto`: what Slurm, torchrun or Kubernetes says."""
    if text is None:
        return WHOLE
    if text == FROM_STARTER:
        return _from_starter()
    words = re.fullmatch(r"(\d+)/(\d+)", text)
    if words is None or not 1 <= int(words[1]) <= int(words[2]):
        raise Problem(f'--shard: must be I/N with I from 1 to N, such as 2/8, not "{text}".')
    return Shard(int(words[1]), int(words[2]))


def _from_starter() -> Shard:
    for number, many, first in STARTERS:
        if number in os.environ and many in os.environ:
            lowest = whole_number(first, 0) if isinstance(first, str) else first
            return shard(f"{whole_number(number) - lowest + 1}/{os.environ[many]}")
    names = ", ".join(f"{number} and {many}" for number, many, _ in STARTERS)
    raise Problem(f"--shard: nothing says which share is this process's ({names} are not set); write I/N.")


class FileJob(Protocol):
    """An item whose result is a file."""

    @property
    def path(self) -> Path: ...


Job = TypeVar("Job", bound=FileJob)


@dataclass(frozen=True)
class FilledFolder:
    """A folder of files that all follow from the same facts, anything that JSON can hold.

    further   files that lie there beside those of the jobs
    is_done   whether the file of a job is there and whole
    """
    folder: Path
    facts: Any
    further: Sequence[Path] = ()
    is_done: Callable[[Path], bool] = field(default=Path.is_file)

    def begin(self, jobs: Sequence[Job], share: Shard = WHOLE) -> None:
        """Keep the files of an earlier run from the same facts; all others go, or are refused by a share."""
        if share.of > 1:
            self._join(share)
        else:
            wanted = [job.path for job in jobs] + list(self.further) + list(self._notes.glob("*.json"))
            resume_folder(self.folder, self.facts, wanted)

    def fill(self, make: Callable[[], Callable[[Job], Any]], jobs: Sequence[Job], label: str,
             share: Shard = WHOLE) -> None:
        """Make the files that are not there, this share of them; an item that fails is named at the end."""
        own = share.part(jobs)
        todo = [job for job in own if not self.is_done(job.path)]
        try:
            for _ in each(make, todo, label):
                pass
        except Failures as problem:
            self._note(share, label, len(own), problem.reasons)
            raise
        self._note(share, label, len(own), {})

    @property
    def _notes(self) -> Path:
        return self.folder / NOTES

    def _join(self, share: Shard) -> None:
        """Shares run beside each other: none may clear away what another one makes."""
        path = self.folder / FINGERPRINT
        fingerprint = {"fingerprint": digest(self.facts)}
        if not path.is_file():
            write_json(path, fingerprint)
        elif read_fingerprint(path) != fingerprint:
            raise _other_facts(share, self.folder)
        check(self.folder, share, digest(self.facts))

    def _note(self, share: Shard, label: str, count: int, failures: Mapping[str, str]) -> None:
        """Say that a share is done; the whole is done when its files are there."""
        if share.of > 1:
            note(self.folder, share, {label: Done(count, failures, digest(self.facts))})


@dataclass(frozen=True)
class Done:
    """What a share says of itself when it is done."""
    count: int
    failures: Mapping[str, str]
    fingerprint: str


def check(folder: Path, share: Shard, fingerprint: str) -> None:
    """Refuse a share that does not belong to those that were done in a folder before."""
    if share.of == 1:
        return
    notes = folder / NOTES
    for path in sorted(notes.glob("*-of-*.json")):
        if path.name.startswith("."):   # another share is writing its note
            continue
        if not re.fullmatch(r"\d+-of-\d+", path.stem):
            raise Problem(f"{path}: is no note of a share; take it away.")
        others = int(path.stem.split("-of-")[1])
        if others != share.of:
            raise Problem(f"--shard {share}: {folder} was divided by {others} before; "
                          f"go on with {others} shares, or delete {notes}.")
        if any(done["fingerprint"] != fingerprint for done in _read_note(path).values()):
            raise _other_facts(share, folder)


def _read_note(path: Path) -> dict[str, dict[str, Any]]:
    """What a share said of itself, by label."""
    fault = f"a damaged note of a share; delete it, and run share {path.stem.replace('-of-', '/')} again"
    note = read_json(path, fault)
    entries = list(note.values()) if isinstance(note, dict) else [None]
    if not all(isinstance(entry, dict) and "fingerprint" in entry for entry in entries):
        raise Problem(f"{path}: {fault}.")
    return note


def _other_facts(share: Shard, folder: Path) -> Problem:
    return Problem(f"--shard {share}: what lies in {folder} follows from other settings, data or code; "
                   "delete it, or take another folder.")


def note(folder: Path, share: Shard, done: Mapping[str, Done]) -> None:
    """Add to the note of a share, by what was done."""
    path = folder / NOTES / f"{share.number}-of-{share.of}.json"
    known = _read_note(path) if path.is_file() else {}
    write_json(path, known | {label: asdict(each) for label, each in done.items()})
