"""Faults of the command line: words and variables of the environment that cannot be meant."""
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from lib.faults.case import Outcome, judged_command, refused_command

Judged = Callable[[Path], Outcome]


def words() -> Iterator[tuple[str, Judged]]:
    given: dict[str, tuple[list[str], str]] = {
        "a seed below 0": (["data", "collage", "TARGET", "--seed", "-1"], "-1"),
        "images below 0": (["data", "collage", "TARGET", "--train", "-5"], "-5"),
        "a seed of 5,000 digits": (["data", "collage", "TARGET", "--seed", "9" * 5000], "whole number"),
        "half an image": (["data", "collage", "TARGET", "--val", "0.5"], "0.5"),
        "a NUL in a path": (["data", "check", "a\0b"], "a\\x00b"),
        "no path": (["data", "check", ""], "no name"),
        "a name of 5,000 letters": (["data", "check", "x" * 5000], "xxx"),
        "no photograph of that name": (["segment", "rcam", "TARGET", "--out", "TARGET"], "target"),
        "a misspelt action": (["data", "chekc", "TARGET"], "chekc"),
        "a misspelt command": (["segmnt", "rcam", "TARGET", "--out", "TARGET"], "segmnt"),
        "a misspelt group": (["faults", "--groups", "fils"], "files"),
        "a misspelt row": (["bench", "--rows", "cma"], "cam"),
    }
    for name, (command, says) in given.items():
        yield name, partial(_refused_words, command, says)


def _refused_words(words: list[str], says: str, folder: Path) -> Outcome:
    given = {"TARGET": str(folder / "target")}
    return refused_command([given.get(word, word) for word in words], names=says)


def variables() -> Iterator[tuple[str, Judged]]:
    yield "a mirror that is not there", partial(
        _with_variables, {"MIRROR": "/nowhere"}, ["data", "mirror", "voc", "TARGET"], "/nowhere")
    yield "packages that are not there", partial(
        _with_variables, {"DEBS": "/nowhere"}, ["data", "collage", "TARGET"], "/nowhere")
    starters = {
        "WORLD_SIZE without torchrun": {"WORLD_SIZE": "2"},
        "a rank that is no number": {"WORLD_SIZE": "2", "RANK": "x"},
        "jobs that are no number": {"JOBS": "x"},
    }
    for name, given in starters.items():
        command = ["segment", "rcam", "PHOTO", "--out", "TARGET", "--shard"]
        yield name, partial(_with_variables, given, command, "")
    yield "a backend of matplotlib that is not there", _nonsense_backend


def _with_variables(environment: dict[str, str], words: list[str], says: str, folder: Path) -> Outcome:
    photo = folder / "photo.png"
    Image.new("RGB", (40, 30), "red").save(photo)
    given = {"TARGET": str(folder / "target"), "PHOTO": str(photo)}
    return refused_command([given.get(word, word) for word in words], names=says, environment=environment)


def _nonsense_backend(folder: Path) -> Outcome:
    photo, out = folder / "photo.png", folder / "out"
    Image.effect_mandelbrot((60, 50), (-2, -1, 1, 1), 50).convert("RGB").save(photo)
    words = ["segment", "rcam", str(photo), "--out", str(out)]
    overlay = out / "photo_overlay.jpg"
    return judged_command(words, check=lambda _: overlay.is_file(), environment={"MPLBACKEND": "nonsense"})
