"""Faults by which other work would be lost: commands whose results are to go where it lies."""
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from lib.faults.case import Outcome, refused_command

THESIS = "three years of work"

Judged = Callable[[Path], Outcome]


def what_would_be_lost() -> Iterator[tuple[str, Judged]]:
    commands: dict[str, list[str]] = {
        "a collage": ["data", "collage", "TARGET"],
        "ECSSD": ["data", "official", "ecssd", "TARGET", "--source", "SOURCE"],
        "PASCAL-S": ["data", "official", "pascal_s", "TARGET", "--source", "SOURCE"],
    }
    for what, words in commands.items():
        for place in ("work", ".", "..", "work/..", "link", "file"):
            yield f"{what} into {place}, where other work lies", partial(_into, words, place)
    for place in ("source", "source/inner", ".", "link_to_source", "link_to_source/inner"):
        words = commands["ECSSD"]
        yield f"ECSSD into {place}, which belongs to its source", partial(_into, words, place)


def _into(words: list[str], place: str, folder: Path) -> Outcome:
    """Run a command whose target lies in a folder of other work; nothing of that may go."""
    target = folder / place if place not in (".", "..") else Path(place)
    (folder / "work").mkdir()
    for name in ("images", "ground_truth_mask", "imgs/pascal", "masks/pascal"):
        (folder / "source" / name).mkdir(parents=True)
    for path in (folder / "work" / "thesis.txt", folder / "file", folder / "thesis.txt"):
        path.write_text(THESIS)
    _save_pairs(folder / "source")
    (folder / "link").symlink_to(folder / "work")
    (folder / "link_to_source").symlink_to(folder / "source")
    given = {"TARGET": str(target), "SOURCE": str(folder / "source")}
    before = _contents(folder)
    with contextlib.chdir(folder / "work" if place == ".." else folder):
        found = refused_command([given.get(word, word) for word in words])
    return found if _contents(folder) == before else Outcome.NOT_CLEAR


def _save_pairs(source: Path) -> None:
    for images, masks in (("images", "ground_truth_mask"), ("imgs/pascal", "masks/pascal")):
        Image.new("RGB", (9, 9)).save(source / images / "1.jpg")
        Image.new("L", (9, 9), 255).save(source / masks / "1.png")


def _contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
