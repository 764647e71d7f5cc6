"""Faults of files and folders: what would be overwritten, full disks, names, what killed runs left."""
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from lib.base.files import FINGERPRINT, resume_folder, whole_file, write_json
from lib.base.parts import FORGOTTEN, part_beside
from lib.base.shards import NOTES, Done, Shard, check, note
from lib.faults.case import Case, Outcome, judged, refused
from lib.faults.lost import THESIS, Judged, what_would_be_lost
from lib.faults.words import variables, words

DEEP = 1200   # folders in each other: more than Python's functions may call each other
FULL = Path("/dev/full")


def cases(_: Random) -> list[Case]:
    """The cases of this group; nothing in them is drawn."""
    found: dict[str, Judged] = {}
    for part in (what_would_be_lost, _targets, _full_disks, _left_parts, _damaged_notes, words, variables):
        found |= dict(part())
    return [Case("files", name, run) for name, run in found.items()]


# Where results cannot be written

def _targets() -> Iterator[tuple[str, Judged]]:
    yield "a file below a file", _below_a_file
    yield "a name of 300 letters", lambda folder: refused(partial(write_json, folder / ("x" * 300), 1))
    yield "a name of 250 bytes", lambda folder: judged(partial(write_json, folder / ("ä" * 125), 1))
    yield "a path of 5,000 letters", _too_deep
    yield f"{DEEP} folders in each other", _deep
    yield "a folder that links to itself", _loop
    yield "a folder where the file should be", _a_folder_in_the_way
    yield "a folder of the system", lambda _: refused(partial(write_json, Path("/proc/x/y.json"), 1))
    yield "a number that JSON has not", _not_a_number


def _below_a_file(folder: Path) -> Outcome:
    (folder / "file").write_text(THESIS)
    return refused(partial(write_json, folder / "file" / "x.json", 1), names="file")


def _too_deep(folder: Path) -> Outcome:
    return refused(partial(write_json, folder.joinpath(*["d" * 50] * 100) / "x.json", 1))


def _deep(folder: Path) -> Outcome:
    path = folder.joinpath(*["d"] * DEEP, "x.json")
    found = judged(partial(write_json, path, 1), check=lambda _: path.is_file())
    subprocess.run(["rm", "-r", folder / "d"], check=True)   # Python's own way does not go so deep
    return found


def _loop(folder: Path) -> Outcome:
    (folder / "loop").symlink_to("loop")
    return refused(partial(write_json, folder / "loop" / "x.json", 1), names="loop")


def _a_folder_in_the_way(folder: Path) -> Outcome:
    (folder / "x.json").mkdir()
    return refused(partial(write_json, folder / "x.json", 1), names="x.json")


def _not_a_number(folder: Path) -> Outcome:
    """A metric without a value: the file that is there stays."""
    write_json(folder / "x.json", 1)
    with contextlib.suppress(ValueError):
        write_json(folder / "x.json", float("nan"))
    return judged((folder / "x.json").read_text, check=lambda text: text == "1\n")


# Full disks

def _full_disks() -> Iterator[tuple[str, Judged]]:
    for name, save in {"torch": _by_torch, "safetensors": _by_safetensors, "numpy": _by_numpy,
                       "Pillow": _by_pillow, "text": _as_text}.items():
        yield f"a file that may not grow, written by {name}", partial(_may_not_grow, save)
        if FULL.exists() and name != "safetensors":   # which writes beside it, and not through a link
            yield f"a full disk, written to by {name}", partial(_on_a_full_disk, save)


def _by_torch(path: Path) -> None:
    import torch
    torch.save({"weights": torch.rand(100_000)}, path)


def _by_safetensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    save_file({"weights": torch.rand(100_000)}, path)


def _by_numpy(path: Path) -> None:
    np.savez(path, weights=np.random.default_rng(0).random(100_000))


def _by_pillow(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="PNG")


def _as_text(path: Path) -> None:
    path.write_text("x" * 100_000)


def _on_a_full_disk(save: Callable[[Path], None], folder: Path) -> Outcome:
    def write() -> None:
        with whole_file(folder / "result.npz") as part:
            part.symlink_to(FULL)
            save(part)

    return _nothing_left(folder, refused(write, names="result.npz: No space left"))


def _may_not_grow(save: Callable[[Path], None], folder: Path) -> Outcome:
    def write() -> None:
        with whole_file(folder / "result.npz") as part:
            save(part)

    with _small_files():
        found = refused(write, names="result.npz: ")
    return _nothing_left(folder, found)


@contextlib.contextmanager
def _small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _nothing_left(folder: Path, found: Outcome) -> Outcome:
    left = [path.name for path in folder.iterdir() if path.name.startswith((".part-", "result"))]
    print(f"left: {left}", file=sys.stderr)
    return Outcome.NOT_CLEAR if left else found


# What killed runs left

def _left_parts() -> Iterator[tuple[str, Judged]]:
    yield "a file that a killed run left", partial(_swept, is_folder=False)
    yield "a folder that a killed run left", partial(_swept, is_folder=True)
    yield "a file that is being written", _stays
    yield "a file of another machine", partial(_of_another_machine, 0, True)
    yield "a forgotten file of another machine", partial(_of_another_machine, FORGOTTEN + 60, False)


def _swept(folder: Path, is_folder: bool) -> Outcome:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = part_beside(folder / "a.npz")
    left = here.with_name(here.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-", 1))
    if is_folder:
        left.mkdir()
        left = left / "half.png"
    left.write_bytes(b"half")
    return judged(partial(write_json, folder / "b.json", 1), check=lambda _: not left.exists())


def _stays(folder: Path) -> Outcome:
    living = part_beside(folder / "a.npz")
    living.write_bytes(b"half")
    return judged(partial(write_json, folder / "b.json", 1), check=lambda _: living.exists())


def _of_another_machine(age: float, stays: bool, folder: Path) -> Outcome:
    other = folder / ".part-00000000-1-0-a.npz"
    other.write_bytes(b"half")
    then = time.time() - age
    os.utime(other, (then, then))
    return judged(partial(write_json, folder / "b.json", 1), check=lambda _: other.exists() == stays)


# Notes beside results

def _damaged_notes() -> Iterator[tuple[str, Judged]]:
    contents: dict[str, bytes] = {
        "is empty": b"",
        "is cut off": b'{"finger',
        "is no text": b"\xff\xfe",
        "has 100,000 brackets": b"[" * 100_000,
    }
    for name, content in contents.items():
        yield f"a fingerprint that {name}", partial(_fingerprint, content)
        yield f"a share's note that {name}", partial(_note, content)
    for name, value in {"is a list": [1], "is a number": 3, "has no fingerprint": {"x": {}}}.items():
        yield f"a share's note that {name}", partial(_note, json.dumps(value).encode())


def _fingerprint(content: bytes, folder: Path) -> Outcome:
    """What took hours is not thrown away for a few bytes."""
    (folder / FINGERPRINT).write_bytes(content)
    (folder / "result.npz").write_bytes(b"hours")
    found = refused(partial(resume_folder, folder, {"data": 1}, []), names=FINGERPRINT)
    return found if (folder / "result.npz").exists() else Outcome.NOT_CLEAR


def _note(content: bytes, folder: Path) -> Outcome:
    share = Shard(1, 2)
    note(folder, share, {"maps": Done(1, {}, "facts")})
    (folder / NOTES / "2-of-2.json").write_bytes(content)
    return refused(partial(check, folder, share, "facts"), names="2-of-2.json")
