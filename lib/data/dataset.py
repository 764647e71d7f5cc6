"""The dataset folder: the one form in which every other room meets data (contract in README, "Data")."""
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base.files import sha256
from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.images import image_size, read_labels, read_rgb

VOID = 255   # "no truth here" in class masks


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
    """One row of `samples.csv`; images and masks are decoded when asked for."""
    id: str
    folder: Path
    image: str
    split: str
    labels: tuple[str, ...]
    extra: dict[str, str] = field(default_factory=dict, compare=False)

    def photo(self) -> Image.Image:
        return read_rgb(self.folder / self.image)

    def mask(self, kind: str) -> np.ndarray:
        """`kind` is class_masks, instance_masks or saliency; `(H, W)` uint8 of the image's size."""
        return read_labels(self.folder / kind / f"{self.id}.png", image_size(self.folder / self.image))

    def foreground(self) -> tuple[np.ndarray, np.ndarray]:
        """(truth, valid), boolean `(H, W)`: graded saliency at >= 0.5, else any object class against background."""
        if (self.folder / "saliency" / f"{self.id}.png").exists():
            saliency = self.mask("saliency")
            return saliency >= 127.5, np.ones(saliency.shape, dtype=bool)
        classes = self.mask("class_masks")
        return (classes > 0) & (classes != VOID), classes != VOID


class Dataset:
    """A dataset folder, checked against its manifest when opened."""

    def __init__(self, folder: Path, check: bool = True) -> None:
        self.folder = Path(folder)
        self.manifest = self._read_manifest()
        if check:
            self.check()
        self.samples = [self._sample(row) for row in self._rows("samples.csv")]
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
        """Compare every file with the manifest; the first damaged, truncated or missing one is named."""
        for name, entry in progress(self.manifest["files"].items(), f"checking {self.name}"):
            path = self.folder / name
            if not path.is_file():
                raise Problem(f"{path}: listed in the manifest but missing; build the dataset again.")
            if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
                raise Problem(f"{path}: damaged, its content differs from the manifest; build the dataset again.")

    def split(self, name: str) -> list[Sample]:
        """The samples of a split, in file order."""
        chosen = [s for s in self.samples if s.split == name]
        if not chosen:
            raise Problem(f'{self.folder}: no sample in split "{name}"{nearest(name, sorted({s.split for s in self.samples}))}')
        return chosen

    @cached_property
    def boxes(self) -> dict[str, list[Box]]:
        """Truth boxes by sample id; empty where the dataset has none."""
        found: dict[str, list[Box]] = {s.id: [] for s in self.samples}
        if (self.folder / "boxes.csv").exists():
            for number, row in enumerate(self._rows("boxes.csv"), start=2):
                try:
                    box = Box(row["class"], *(int(row[k]) for k in ("xmin", "ymin", "xmax", "ymax")))
                    found.setdefault(row["id"], []).append(box)
                except (KeyError, TypeError, ValueError):
                    raise Problem(f"{self.folder / 'boxes.csv'}: line {number} is not id, class and four whole numbers xmin, ymin, xmax, ymax.") from None
        return found

    def _read_manifest(self) -> dict:
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise Problem(f'{self.folder}: not a dataset folder (no manifest.json); build it with "python -m lib data" or "dvc repro".')
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            manifest["name"], manifest["classes"], [(entry["sha256"], entry["bytes"]) for entry in manifest["files"].values()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Problem(f"{path}: damaged ({error!r}); build the dataset again.") from None
        return manifest

    def _rows(self, name: str) -> list[dict[str, str]]:
        path = self.folder / name
        if not path.is_file():
            raise Problem(f"{path}: missing; every dataset folder needs it.")
        try:
            with open(path, newline="", encoding="utf-8") as stream:
                return list(csv.DictReader(stream))
        except (UnicodeDecodeError, csv.Error) as error:
            raise Problem(f"{path}: cannot be read as CSV in UTF-8 ({error}); save it so.") from None

    def _sample(self, row: dict[str, str]) -> Sample:
        row = dict(row)
        try:
            fields = [row.pop(k) for k in ("id", "image", "split", "labels")]
        except KeyError as error:
            raise Problem(f"{self.folder / 'samples.csv'}: lacks the column {error}.") from None
        if None in fields or None in row:
            raise Problem(f'{self.folder / "samples.csv"}: the row of image "{fields[0]}" has too few or too many columns.')
        path = (self.folder / fields[1]).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise Problem(f'{self.folder / "samples.csv"}: image "{fields[1]}" lies outside the dataset folder.')
        return Sample(fields[0], self.folder, fields[1], fields[2], tuple(fields[3].split()), row)


def subset(samples: Sequence[Sample], images: int | None) -> list[Sample]:
    """`images` samples spread evenly over the list, or all: a fixed choice, stated in the report by its number."""
    if images is None or images >= len(samples):
        return list(samples)
    return [samples[i * len(samples) // images] for i in range(images)]


def instance_truth(sample: Sample, n_classes: int) -> tuple[np.ndarray, dict[int, int]]:
    """(instance mask `(H, W)` uint8, number -> class 0 .. n_classes - 1) of an image with class and instance masks.

    Numbers may have gaps. An object's class is the one that most of its pixels have in the class mask, where 1 is the first class.
    """
    numbers, labels = sample.mask("instance_masks"), sample.mask("class_masks")
    found = {}
    for number in np.unique(numbers):
        if number not in (0, VOID):
            counts = np.bincount(labels[numbers == number], minlength=VOID + 1)[1:VOID]
            if not counts[:n_classes].any():
                raise Problem(f'The image "{sample.id}": object {number} of its instance mask has no pixel of a class in its class mask; mend one of them.')
            found[int(number)] = int(counts[:n_classes].argmax())
    return numbers, found
