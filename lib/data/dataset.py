"""The dataset folder: the one form in which every other room meets data (contract in README, "Data")."""
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base.files import sha256
from lib.base.names import Inside, is_inside, is_plain
from lib.base.problem import Problem, nearest, quoted
from lib.data.images import image_size, read_labels, read_rgb
from lib.data.manifest import check_files, read_manifest
from lib.data.rows import Row, read_rows

VOID = 255   # "no truth here" in class masks
MASKS: tuple[str, ...] = ("class_masks", "instance_masks", "saliency")
SAMPLE_COLUMNS: tuple[str, ...] = ("id", "image", "split", "labels")
BOX_COLUMNS: tuple[str, ...] = ("id", "class", "xmin", "ymin", "xmax", "ymax")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True)
class Box:
    """A truth box in pixels, half-open."""
    name: str
    xmin: int
    ymin: int
    xmax: int
    ymax: int


@dataclass(frozen=True)
class Sample:
    """One row of `samples.csv`; images and masks are decoded when asked for.

    decoded   the photograph, where it was decoded ahead
    """
    id: str
    folder: Path
    image: str
    split: str
    labels: tuple[str, ...]
    extra: dict[str, str] = field(default_factory=dict, compare=False)
    decoded: Image.Image | None = field(default=None, compare=False, repr=False)

    def photo(self) -> Image.Image:
        """Decode the photograph, as RGB."""
        if self.decoded is not None:
            return self.decoded
        return read_rgb(self.folder / self.image)

    def mask(self, kind: str) -> np.ndarray:
        """Values `(H, W)` uint8, of the image's size; `kind` is class_masks, instance_masks or saliency."""
        return read_labels(self.folder / kind / f"{self.id}.png", image_size(self.folder / self.image))

    def foreground(self) -> tuple[np.ndarray, np.ndarray]:
        """Foreground, and where it is known: boolean `(H, W)` each.

        Graded saliency counts from 0.5 on; where there is none, any object class counts.
        """
        if (self.folder / "saliency" / f"{self.id}.png").exists():
            saliency = self.mask("saliency")
            return saliency >= 127.5, np.ones(saliency.shape, dtype=bool)
        classes = self.mask("class_masks")
        return (classes > 0) & (classes != VOID), classes != VOID


class Dataset:
    """A dataset folder, checked against its manifest when opened."""

    def __init__(self, folder: Path, check: bool = True) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self._known = frozenset(self.classes)
        self._inside, self._checked = Inside(self.folder), check
        if check:
            self.check()
        self.samples = self._read_samples()
        if not self.samples:
            raise Problem(f"{self.folder}: samples.csv lists no image; build the dataset again.")

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def classes(self) -> list[str]:
        return self.manifest["classes"]

    @property
    def hash(self) -> str:
        """Identifies the content: the hash of the manifest, which holds the hash of every file."""
        return sha256(self.folder / "manifest.json")

    def check(self) -> None:
        """Compare every file with the manifest, and refuse truth that it does not list."""
        check_files(self.folder, self.manifest)
        for kind in MASKS:
            for path in sorted((self.folder / kind).glob("*.png")):
                self._require_listed(f"{kind}/{path.name}")

    def split(self, name: str) -> list[Sample]:
        """The samples of a split, in file order."""
        chosen = [sample for sample in self.samples if sample.split == name]
        if not chosen:
            known = sorted({sample.split for sample in self.samples})
            raise Problem(f'{self.folder}: no sample in split "{name}"{nearest(name, known)}')
        return chosen

    @cached_property
    def boxes(self) -> dict[str, list[Box]]:
        """Truth boxes by sample id; empty where the dataset has none."""
        by_id: dict[str, list[Box]] = {sample.id: [] for sample in self.samples}
        path = self.folder / "boxes.csv"
        if not path.exists():
            return by_id
        self._require_listed("boxes.csv")
        images = {sample.id: sample.image for sample in self.samples}
        sizes: dict[str, tuple[int, int]] = {}
        for line, row in read_rows(path, BOX_COLUMNS):
            id = row["id"]
            if id not in images:
                raise Problem(f"{path}: line {line} is of an image {quoted(id)}, which samples.csv does not "
                              "list; take it out.")
            if id not in sizes:
                sizes[id] = image_size(self.folder / images[id])
            by_id[id].append(self._box(f"{path}: line {line}", row, sizes[id]))
        return by_id

    def _box(self, where: str, row: Row, size: tuple[int, int]) -> Box:
        corners = [row[side] for side in ("xmin", "ymin", "xmax", "ymax")]
        if not all(WHOLE_NUMBER.fullmatch(corner) for corner in corners):
            raise Problem(f"{where} is not id, class and four whole numbers xmin, ymin, xmax, ymax.")
        box = Box(row["class"], *map(int, corners))
        if box.name not in self._known:
            raise Problem(f'{where}: there is no class {quoted(box.name)}{nearest(box.name, self.classes)}')
        if box.xmin >= box.xmax or box.ymin >= box.ymax:
            raise Problem(f"{where}: the box is empty or reversed; xmax and ymax are the pixels behind it.")
        if min(box.xmin, box.ymin) < 0 or box.xmax > size[0] or box.ymax > size[1]:
            raise Problem(f"{where}: the box leaves its image of {size[0]}x{size[1]} pixels; "
                          "mend or remove it.")
        return box

    def _read_samples(self) -> list[Sample]:
        path = self.folder / "samples.csv"
        listing = str(path)   # there can be a million rows
        samples = []
        lines: dict[str, int] = {}
        for line, row in read_rows(path, SAMPLE_COLUMNS):
            sample = self._sample(f"{listing}: line {line}", row)
            if sample.id in lines:
                raise Problem(f'{path}: line {line}: the id "{sample.id}" is that of line {lines[sample.id]} '
                              "too; give every image an id of its own.")
            lines[sample.id] = line
            samples.append(sample)
        self._require_listed("samples.csv")
        return samples

    def _sample(self, where: str, row: Row) -> Sample:
        id, image, split, words = (row.pop(column) for column in SAMPLE_COLUMNS)
        if not is_plain(id):
            raise Problem(f"{where}: the id {quoted(id)} is no plain name; files are named by it, so it must "
                          "be without folders and unseen characters, and not begin with a full stop.")
        if not is_inside(image) or self._leads_out(image):
            raise Problem(f"{where}: image {quoted(image)} lies outside the dataset folder.")
        self._require_listed(image)
        if not is_plain(split):
            raise Problem(f"{where}: the split {quoted(split)} is no plain word, such as test.")
        labels = tuple(words.split())
        for label in labels:
            if label not in self._known:
                raise Problem(f'{where}: there is no class {quoted(label)}{nearest(label, self.classes)}')
        return Sample(id, self.folder, image, split, labels, row)

    def _leads_out(self, image: str) -> bool:
        """Whether an image lies behind a link out of the folder; of a folder that was checked, none does."""
        return not self._checked and self._inside.leads_out(image)

    def _require_listed(self, name: str) -> None:
        if name not in self.manifest["files"]:
            raise Problem(f"{self.folder / name}: the manifest does not list it; build the dataset again.")


def subset(samples: Sequence[Sample], images: int | None) -> list[Sample]:
    """Choose `images` samples spread evenly over the list, or all where it is None.

    The choice is fixed: a report states it by its number.
    """
    if images is None or images >= len(samples):
        return list(samples)
    return [samples[i * len(samples) // images] for i in range(images)]


def instance_truth(sample: Sample, n_classes: int) -> tuple[np.ndarray, dict[int, int]]:
    """True objects of an image: which pixels are whose, and of which class each is.

    Returns the instance mask `(H, W)` uint8, whose numbers may have gaps, and by number the class
    0 .. n_classes - 1: the one that most of the object's pixels have in the class mask, where 1 is the first.
    """
    numbers, labels = sample.mask("instance_masks"), sample.mask("class_masks")
    classes: dict[int, int] = {}
    for number in np.unique(numbers):
        if number in (0, VOID):
            continue
        counts = np.bincount(labels[numbers == number], minlength=VOID + 1)[1:VOID][:n_classes]
        if not counts.any():
            raise Problem(f'The image "{sample.id}": object {number} of its instance mask has '
                          "no pixel of a class in its class mask; mend one of them.")
        classes[int(number)] = int(counts.argmax())
    return numbers, classes
