"""Writing a dataset folder: whole or not at all, with a manifest of every file's hash."""
import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base.files import sha256, whole_folder, write_json
from lib.base.problem import Problem
from lib.data.dataset import Box

FOLDERS = ("images", "class_masks", "instance_masks", "saliency")
# 0 black, then well separated colours (the VOC palette: bits of the index spread over the channels), 255 near white
PALETTE = [sum(((i >> (3 * j + c)) & 1) << (7 - j) for j in range(3)) for i in range(256) for c in range(3)]


class DatasetWriter:
    """Collects samples; `writing` below turns what it holds into a dataset folder."""

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

    def sample(self, id: str, image: str, split: str, labels: Sequence[str], boxes: Sequence[Box] = (), **extra: object) -> None:
        """Add a row (and its boxes); `image` is relative to the folder. Class names hold no spaces."""
        self.samples.append({"id": id, "image": image, "split": split, "labels": " ".join(labels), **{k: str(v) for k, v in extra.items()}})
        self.boxes += [{"id": id, "class": b.name, "xmin": b.xmin, "ymin": b.ymin, "xmax": b.xmax, "ymax": b.ymax} for b in boxes]


@contextlib.contextmanager
def writing(folder: Path, name: str, version: str, source: str, licence: str, classes: Sequence[str]) -> Iterator[DatasetWriter]:
    """`with writing(...) as writer:` fills a temporary folder that takes its final name, manifest included, at the end."""
    if spaced := [c for c in classes if " " in c]:
        raise Problem(f'class name "{spaced[0]}" holds a space; class names in samples.csv are separated by spaces.')
    with whole_folder(Path(folder)) as part:
        writer = DatasetWriter(part)
        yield writer
        if not writer.samples:
            raise Problem(f"{source}: no image found; is this the right folder for {name}?")
        _write_csv(part / "samples.csv", writer.samples)
        if writer.boxes:
            _write_csv(part / "boxes.csv", writer.boxes)
        files = {str(p.relative_to(part)): {"sha256": sha256(p), "bytes": p.stat().st_size}
                 for p in sorted(part.rglob("*")) if p.is_file()}
        write_json(part / "manifest.json", {"name": name, "version": version, "source": source, "licence": licence,
                                            "classes": list(classes), "files": files})


def _write_csv(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
