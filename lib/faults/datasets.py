"""Faults of dataset folders: manifest, tables, pictures, links, and folders that importers are given."""
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from lib.base.problem import Problem
from lib.data.manifest import read_manifest
from lib.data.official import OFFICIAL
from lib.faults.case import Case, Outcome, refused_command
from lib.faults.scenes import GROUP, case, whole, write
from lib.faults.tables import tables

NAMES: tuple[str, ...] = ("images/a.png", "images/b.png", "class_masks/a.png", "instance_masks/a.png",
                          "saliency/b.png", "samples.csv", "boxes.csv")
FLIPS = 20   # bits that are flipped at drawn places
CUTS = 10

Manifest = dict[str, Any]


def cases(random: Random) -> list[Case]:
    """The cases of this group, drawn from the seed."""
    manifests = [*_manifests(), *_manifest_values(), *_manifest_entries()]
    return [*manifests, *tables(), *_pictures(), *_files(), *_drawn(random), *_places()]


def _manifests() -> Iterator[Case]:
    contents = {
        "is empty": b"",
        "is cut off": b'{"name": "x',
        "is a list": b"[]",
        "is a number": b"3",
        "is null": b"null",
        "is no text": b"\xff\xfe\x00",
        "has 100,000 brackets": b"[" * 100_000,
        "has 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
        "is an empty mapping": b"{}",
    }
    for name, content in contents.items():
        damage = partial(write, "manifest.json", content)
        yield case(f"a manifest that {name}", damage, sealed=False)


def _manifest_values() -> Iterator[Case]:
    values: dict[str, tuple[str, Any]] = {
        "without a name": ("name", None),
        "with a name that is empty": ("name", ""),
        "with a number for a name": ("name", 3),
        "with unseen characters in its name": ("name", "a\nb"),
        "without classes": ("classes", None),
        "with a word for classes": ("classes", "cat"),
        "with a class twice": ("classes", ["cat", "cat"]),
        "with a class of two words": ("classes", ["a cat"]),
        "with a number for a class": ("classes", [1]),
        "with an empty class": ("classes", [""]),
        "with other classes": ("classes", ["ant"]),
        "with no file": ("files", {}),
        "with a list of files": ("files", []),
        "without files": ("files", None),
    }
    for name, (key, value) in values.items():
        yield case(f"a manifest {name}", partial(_in_manifest, key, value), sealed=False)


def _manifest_entries() -> Iterator[Case]:
    entries: dict[str, tuple[str, Any]] = {
        "lists a file above it": ("../x", None),
        "lists an absolute path": ("/etc/hostname", None),
        "lists a path back up": ("images/../../x", None),
        "lists a path with a NUL": ("a\0b", None),
        "lists a path with a new line": ("a\nb", None),
        "lists an empty path": ("", None),
        "lists a file that is not there": ("images/z.png", None),
        "has a word for a size": ("samples.csv", {"bytes": "9", "sha256": "0" * 64}),
        "has a negative size": ("samples.csv", {"bytes": -1, "sha256": "0" * 64}),
        "has a half for a size": ("samples.csv", {"bytes": 0.5, "sha256": "0" * 64}),
        "has no hash": ("samples.csv", {"bytes": 9}),
        "has a short hash": ("samples.csv", {"bytes": 9, "sha256": "0"}),
        "has a number for a hash": ("samples.csv", {"bytes": 9, "sha256": 0}),
        "has a list for an entry": ("samples.csv", [9]),
    }
    for name, (file, entry) in entries.items():
        yield case(f"a manifest that {name}", partial(_in_files, file, entry), sealed=False)
    for file in ("samples.csv", "boxes.csv", "images/a.png", "class_masks/b.png"):
        yield case(f"a manifest that does not list {file}", partial(_out_of_files, file), sealed=False)


def _changed(folder: Path, change: Callable[[Manifest], Any]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def _in_manifest(key: str, value: Any, folder: Path) -> None:
    _changed(folder, lambda manifest: manifest.update({key: value}))


def _in_files(name: str, entry: Any, folder: Path) -> None:
    """Add an entry to the manifest; None: that of another file."""
    given = read_manifest(folder)["files"]["samples.csv"] if entry is None else entry
    _changed(folder, lambda manifest: manifest["files"].update({name: given}))


def _out_of_files(name: str, folder: Path) -> None:
    _changed(folder, lambda manifest: manifest["files"].pop(name))


def _pictures() -> Iterator[Case]:
    """Pictures that the manifest lists as they are, and that are not what they should be."""
    grey = Image.new("L", (12, 10))
    pictures: dict[str, Image.Image] = {
        "of another size": Image.new("L", (10, 12)),
        "of one pixel": Image.new("L", (1, 1)),
        "in colours": Image.new("RGB", (12, 10)),
        "with transparency": Image.new("LA", (12, 10)),
        "of 16 bits": Image.new("I;16", (12, 10)),
    }
    for kind in ("class_masks", "instance_masks", "saliency"):
        for name, picture in pictures.items():
            yield case(f"{kind} {name}", partial(_save, picture, f"{kind}/a.png"))
        yield case(f"{kind} that hold a text", partial(write, f"{kind}/a.png", b"no picture"))
    yield case("a photograph that holds a text", partial(write, "images/a.png", b"no picture"))
    yield case("a photograph that is empty", partial(write, "images/a.png", b""))
    yield case("a mask beside the listed ones", partial(_save, grey, "saliency/c.png"), sealed=False)
    yield case("notes beside the listed files", partial(write, "notes.txt", b"seen"), whole, sealed=False)


def _save(picture: Image.Image, name: str, folder: Path) -> None:
    picture.save(folder / name)


def _files() -> Iterator[Case]:
    damages: dict[str, Callable[[Path], Any]] = {
        "gone": Path.unlink,
        "empty": lambda path: path.write_bytes(b""),
        "a folder": _as_folder,
        "a pipe": _as_pipe,
        "a link to nothing": _as_dead_link,
        "a link to itself": _as_loop,
        "a link out": _as_link_out,
    }
    for name in NAMES:
        for what, damage in damages.items():
            yield case(f"{name} is {what}", partial(_on_file, name, damage), sealed=False)
    yield case("a folder of masks is a link out", _masks_elsewhere, sealed=False)
    for name, damage in damages.items():
        if name != "a link out":   # what it links to is a manifest, and as good as one
            yield case(f"manifest.json is {name}", partial(_on_file, "manifest.json", damage), sealed=False)


def _on_file(name: str, damage: Callable[[Path], Any], folder: Path) -> None:
    damage(folder / name)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_dead_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _as_link_out(path: Path) -> None:
    """The same content, behind a link that leaves the dataset folder."""
    outside = path.parent.parent.parent / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


def _masks_elsewhere(folder: Path) -> None:
    shutil.move(folder / "saliency", folder.parent / "saliency")
    (folder / "saliency").symlink_to(folder.parent / "saliency")


def _drawn(random: Random) -> Iterator[Case]:
    for _ in range(FLIPS):
        name, share, bit = random.choice(NAMES), random.random(), random.randrange(8)
        flip = partial(_flip, share, bit)
        yield case(f"bit {bit} flipped at {share:.0%} of {name}", partial(_on_file, name, flip), sealed=False)
    for _ in range(CUTS):
        name, share = random.choice((*NAMES, "manifest.json")), random.random()
        damage = partial(_on_file, name, partial(_cut, share))
        yield case(f"{name} cut off at {share:.0%}", damage, sealed=False)


def _flip(share: float, bit: int, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    path.write_bytes(content)


def _cut(share: float, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])


def _places() -> Iterator[Case]:
    """What importers and checks are given."""
    yield Case(GROUP, "a folder that is not there", _check_nowhere)
    yield Case(GROUP, "a folder without a manifest", _check_empty)
    yield Case(GROUP, "an unknown data set of the mirror", _unknown_of_mirror)
    yield Case(GROUP, "a mirror that is not there", _no_mirror)
    for name in OFFICIAL:
        yield Case(GROUP, f"{name} from a folder that is not there", partial(_official, name, "nowhere"))
        yield Case(GROUP, f"{name} from an empty folder", partial(_official, name, "."))


def _check_nowhere(folder: Path) -> Outcome:
    return refused_command(["data", "check", str(folder / "nowhere")], names="nowhere")


def _check_empty(folder: Path) -> Outcome:
    return refused_command(["data", "check", str(folder)], names="manifest.json")


def _unknown_of_mirror(folder: Path) -> Outcome:
    return refused_command(["data", "mirror", "vco", str(folder / "x"), "--source", str(folder)], names="vco")


def _no_mirror(folder: Path) -> Outcome:
    words = ["data", "mirror", "voc", str(folder / "x"), "--source", str(folder / "nowhere")]
    return refused_command(words, names="nowhere")


def _official(name: str, source: str, folder: Path) -> Outcome:
    (folder / "source").mkdir()
    words = ["data", "official", name, str(folder / "x"), "--source", str(folder / "source" / source)]
    found = refused_command(words)
    if (folder / "x").exists():
        raise Problem(f"{folder / 'x'}: is there although nothing could be made of {source}.")
    return found
