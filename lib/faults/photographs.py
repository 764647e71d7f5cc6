"""Folders of photographs that `segment` is given: bad ones among good, places and names of every kind."""
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lib.faults.case import Case, Outcome, judged_command
from lib.faults.pictures import encoded, noise
from lib.nets import load_network

METHOD = "cam1"   # the lightest that needs nothing trained
GOOD = 3          # photographs beside the bad one
RESULTS: tuple[str, ...] = ("heat.png", "mask.png", "overlay.jpg")
Harm = Callable[[Path], object]


def cases(draw: random.Random) -> list[Case]:
    """All of them, as drawn; what takes long to import is imported here, outside of their time."""
    load_network("efficientnet_lite0")
    return [*_bad_among_good(draw), *_stale(), *_names(), *_places()]


def _case(name: str, run: Callable[[Path], Outcome]) -> Case:
    return Case("images", name, run)


def _photographs(folder: Path) -> Path:
    photos = folder / "photos"
    photos.mkdir()
    for number in range(GOOD):
        (photos / f"good{number}.png").write_bytes(encoded(noise(seed=number), "PNG"))
    return photos


def _words(photos: Path, out: Path, *more: str) -> list[str]:
    return ["segment", METHOD, str(photos), "--out", str(out), *more]


def _done(out: Path) -> int:
    return len(list(out.glob("*_overlay.jpg")))


# Bad ones

def _bad_among_good(draw: random.Random) -> list[Case]:
    """The bad one is named, the good ones are done, and nothing is left of the bad one."""
    content = encoded(noise(), "PNG")
    harms: dict[str, Harm] = {
        "is empty": lambda path: path.write_bytes(b""),
        "ends early": lambda path: path.write_bytes(content[:draw.randrange(1, len(content) - 20)]),
        "is text": lambda path: path.write_bytes(b"a cat"),
        "is a folder": lambda path: path.mkdir(),
        "is a pipe": os.mkfifo,
        "is a link to itself": lambda path: path.symlink_to(path),
        "is a link to nothing": lambda path: path.symlink_to("gone"),
        "is too long for a JPEG": lambda path: path.write_bytes(encoded(noise("L", (65_501, 1)), "PNG")),
        "has a folder where its overlay belongs": _in_the_way,
    }
    found = []
    for what, harm in harms.items():
        for place in ("a", "h", "z"):   # before, or behind all others
            found.append(_case(f"a photograph {what}, {place}", partial(_one_bad, place, harm)))
    return found


def _in_the_way(path: Path) -> None:
    path.write_bytes(encoded(noise(), "PNG"))
    (path.parent.parent / "out" / f"{path.stem}_overlay.jpg").mkdir(parents=True)


def _one_bad(place: str, harm: Harm, folder: Path) -> Outcome:
    photos = _photographs(folder)
    out = folder / "out"
    harm(photos / f"{place}.png")
    outcome = judged_command(_words(photos, out), names=f"{place}.png")
    is_clean = len(list(out.glob("good*_overlay.jpg"))) == GOOD and not list(out.glob(f"{place}_heat.png"))
    return outcome if outcome is Outcome.CLEAR and is_clean else Outcome.NOT_CLEAR


# What is there already

def _stale() -> list[Case]:
    """Results that follow from something else, or are damaged, are made again."""
    changes: dict[str, tuple[Harm, tuple[str, ...]]] = {
        "another threshold": (_nothing, ("--threshold", "0.9")),
        "another photograph": (lambda folder: _replace(folder / "photos" / "good0.png"), ()),
        "a heat map that ends early": (lambda folder: _cut(folder / "out" / "good0_heat.png"), ()),
        "an empty mask": (lambda folder: (folder / "out" / "good1_mask.png").write_bytes(b""), ()),
        "no mask": (lambda folder: (folder / "out" / "good1_mask.png").unlink(), ()),
        "an overlay that ends early": (lambda folder: _cut(folder / "out" / "good2_overlay.jpg"), ()),
        "classes of another method": (lambda folder: _replace(folder / "out" / "good2_classes.png"), ()),
    }
    return [_case(f"results from before: {what}", partial(_again, harm, more))
            for what, (harm, more) in changes.items()]


def _nothing(_: Path) -> None:
    pass


def _replace(path: Path) -> None:
    path.write_bytes(encoded(noise(seed=99), "PNG"))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _again(harm: Harm, more: tuple[str, ...], folder: Path) -> Outcome:
    """What is left in the end is what a fresh folder would hold."""
    photos = _photographs(folder)
    judged_command(_words(photos, folder / "out"))
    harm(folder)
    fresh = judged_command(_words(photos, folder / "fresh", *more))
    outcome = judged_command(_words(photos, folder / "out", *more))
    is_same = _contents(folder / "out") == _contents(folder / "fresh")
    return outcome if outcome is fresh is Outcome.HANDLED and is_same else Outcome.NOT_CLEAR


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Names and places

def _names() -> list[Case]:
    names = {
        "umlauts": "größe".encode(), "bytes that are no letters": b"caf\xe9", "spaces": b" a  b ",
        "a line break": b"a\nb", "an escape sequence": b"a\x1b[31mb", "quotation marks": b"'\"`",
        "a percent sign": b"%s%d{0}", "a leading hyphen": b"--out", "180 letters": b"a" * 180,
        "240 letters": b"a" * 240, "another script": "写真".encode(), "a dot": b"a.b.c",
    }
    found = []
    for what, name in names.items():
        found.append(_case(f"a name with {what}", partial(_named, name, True)))
        found.append(_case(f"a damaged photograph whose name has {what}", partial(_named, name, False)))
    return found


def _named(name: bytes, good: bool, folder: Path) -> Outcome:
    photos = folder / "photos"
    photos.mkdir()
    (photos / os.fsdecode(name + b".png")).write_bytes(encoded(noise(), "PNG") if good else b"")
    outcome = judged_command(_words(photos, folder / "out"))
    is_right = _done(folder / "out") == 1 if outcome is Outcome.HANDLED else True
    return outcome if is_right else Outcome.NOT_CLEAR


def _places() -> list[Case]:
    runs: dict[str, Callable[[Path], Outcome]] = {
        "results into the folder of the photographs": lambda folder: _into(folder, "photos", 0),
        "results into a folder of it": lambda folder: _into(folder, "photos/out", GOOD),
        "results where a file is": _onto_a_file,
        "no photograph in the folder": lambda folder: judged_command(_words(folder, folder / "out")),
        "no such folder": lambda folder: judged_command(
            _words(folder / "gone", folder / "out"), names="gone"),
        "hidden files of a Mac": _with_hidden,
        "two photographs of one name": _of_one_name,
        "weights that are not there": lambda folder: judged_command(
            _words(_photographs(folder), folder / "out", "--weights", str(folder / "w"))),
        "a network that is not there": lambda folder: judged_command(
            _words(_photographs(folder), folder / "out", "--network", "vgg16_convv"), names="vgg16_convv"),
        "a tier that is not there": lambda folder: judged_command(
            _words(_photographs(folder), folder / "out", "--tier", "colage"), names="colage"),
        "a threshold of 0": lambda folder: judged_command(
            _words(_photographs(folder), folder / "out", "--threshold", "0")),
        "a threshold that is no number": lambda folder: judged_command(
            _words(_photographs(folder), folder / "out", "--threshold", "nan")),
    }
    return [_case(what, run) for what, run in runs.items()]


def _into(folder: Path, place: str, expected: int) -> Outcome:
    photos = _photographs(folder)
    for _ in range(2):   # the second call must not take results for photographs
        outcome = judged_command(_words(photos, folder / place))
    is_right = _done(folder / place) == expected
    return outcome if is_right else Outcome.NOT_CLEAR


def _onto_a_file(folder: Path) -> Outcome:
    (folder / "out").write_text("mine")
    outcome = judged_command(_words(_photographs(folder), folder / "out"), names="out")
    return outcome if (folder / "out").read_text() == "mine" else Outcome.NOT_CLEAR


def _with_hidden(folder: Path) -> Outcome:
    photos = _photographs(folder)
    (photos / "._good0.png").write_bytes(b"\0\5\x16\7")
    return judged_command(_words(photos, folder / "out"), lambda _: _done(folder / "out") == GOOD)


def _of_one_name(folder: Path) -> Outcome:
    photos = _photographs(folder)
    (photos / "good0.jpg").write_bytes(encoded(noise(), "JPEG"))
    return judged_command(_words(photos, folder / "out"), names="share a name")
