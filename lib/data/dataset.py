"""The dataset folder: the one form in which every other room meets data (contract in README, "Data")."""
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

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
                raise Problem(f"{path}: damaged, its content differs from the manifest; "
                              "build the dataset again.")

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
        for line, row in enumerate(self._rows("boxes.csv"), start=2):
            try:
                corners = [int(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")]
                by_id.setdefault(row["id"], []).append(Box(row["class"], *corners))
            except (KeyError, TypeError, ValueError):
                raise Problem(f"{path}: line {line} is not id, class and "
                              "four whole numbers xmin, ymin, xmax, ymax.") from None
        return by_id

    def _read_manifest(self) -> dict:
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise Problem(f"{self.folder}: not a dataset folder (no manifest.json); "
                          'build it with "python -m lib data" or "dvc repro".')
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            _require_keys(manifest, "name", "classes")
            for entry in manifest["files"].values():
                _require_keys(entry, "sha256", "bytes")
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
        listing = self.folder / "samples.csv"
        extra = dict(row)
        try:
            id, image, split, labels = (extra.pop(column) for column in ("id", "image", "split", "labels"))
        except KeyError as error:
            raise Problem(f"{listing}: lacks the column {error}.") from None
        if None in (id, image, split, labels) or None in extra:
            raise Problem(f'{listing}: the row of image "{id}" has too few or too many columns.')
        if not (self.folder / image).resolve().is_relative_to(self.folder.resolve()):
            raise Problem(f'{listing}: image "{image}" lies outside the dataset folder.')
        return Sample(id, self.folder, image, split, tuple(labels.split()), extra)


def _require_keys(entry: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if key not in entry:
            raise KeyError(key)


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
