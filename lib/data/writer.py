"""Writing a dataset folder: whole or not at all, with a manifest of every file's hash."""
import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.base.files import sha256, whole_folder, write_json
from lib.base.problem import Problem
from lib.data.dataset import Box
from lib.data.manifest import read_manifest


def _voc_palette() -> list[int]:
    """Red, green and blue of 256 values: 0 black, 255 nearly white, the others far apart.

    As in VOC, each channel gets every third bit of the value, the lowest as its highest.
    """
    palette = []
    for value in range(256):
        for channel in range(3):
            bits = [(value >> (3 * place + channel)) & 1 for place in range(3)]
            palette.append(sum(bit << (7 - place) for place, bit in enumerate(bits)))
    return palette


PALETTE: list[int] = _voc_palette()


class DatasetWriter:
    """Collects samples; `writing` turns what it holds into a dataset folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: list[dict[str, str]] = []
        self.boxes: list[dict[str, str | int]] = []

    def path(self, kind: str, name: str) -> Path:
        """Where a file of a kind (images, class_masks, ...) goes; its folder is made."""
        (self.folder / kind).mkdir(exist_ok=True)
        return self.folder / kind / name

    def mask(self, kind: str, id: str, values: np.ndarray) -> None:
        """Store `(H, W)` uint8 as PNG: grey for saliency, with a palette otherwise."""
        image = Image.fromarray(np.ascontiguousarray(values, dtype=np.uint8))
        if kind != "saliency":
            image = image.convert("L")
            image.putpalette(PALETTE)
        image.save(self.path(kind, f"{id}.png"), optimize=False)

    def sample(self, id: str, image: str, split: str, labels: Sequence[str], boxes: Sequence[Box] = (),
               **extra: object) -> None:
        """Add a row (and its boxes); `image` is relative to the folder. Class names hold no spaces."""
        row = {"id": id, "image": image, "split": split, "labels": " ".join(labels)}
        for column, value in extra.items():
            row[column] = str(value)
        self.samples.append(row)
        for box in boxes:
            self.boxes.append({"id": id, "class": box.name, "xmin": box.xmin, "ymin": box.ymin,
                               "xmax": box.xmax, "ymax": box.ymax})


@contextlib.contextmanager
def writing(folder: Path, name: str, version: str, source: str, licence: str,
            classes: Sequence[str]) -> Iterator[DatasetWriter]:
    """Fill a temporary folder that takes its final name, manifest included, at the end.

    with writing(...) as writer: writer.path(...), writer.mask(...), writer.sample(...).
    """
    spaced = [class_name for class_name in classes if " " in class_name]
    if spaced:
        raise Problem(f'class name "{spaced[0]}" holds a space; '
                      "class names in samples.csv are separated by spaces.")
    with whole_folder(Path(folder), check_is_ours) as part:
        writer = DatasetWriter(part)
        yield writer
        if not writer.samples:
            raise Problem(f"{source}: no image found; is this the right folder for {name}?")
        _write_csv(part / "samples.csv", writer.samples)
        if writer.boxes:
            _write_csv(part / "boxes.csv", writer.boxes)
        manifest = {"name": name, "version": version, "source": source, "licence": licence,
                    "classes": list(classes), "files": listing(part)}
        write_json(part / "manifest.json", manifest)


def check_is_ours(folder: Path) -> None:
    """Refuse to replace a folder with anything in it that no dataset's manifest lists."""
    try:
        listed = {"manifest.json", *read_manifest(folder)["files"]}
    except Problem:
        raise Problem(f"{folder}: is there and is no dataset folder, so it is not replaced; "
                      "name another folder, or move what is in it away.") from None
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in listed:
            raise Problem(f"{path}: is in a dataset folder that is to be replaced, and its manifest does not "
                          "list it; move it away first.")


def listing(folder: Path) -> dict[str, dict[str, Any]]:
    """Hash and size of every file, by its path in the folder."""
    listing = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder))
            listing[name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
    return listing


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
