"""Photographs of single objects as squares: what CSoA trains on."""
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample


@dataclass(frozen=True)
class SingleObjects:
    """Images of one object each, by split; `dropped` names the classes with too few of them to train on."""
    classes: tuple[str, ...]
    dropped: tuple[str, ...]
    splits: dict[str, list[Sample]]

    def numbers(self, split: str) -> list[int]:
        """The class of every image."""
        return [self.classes.index(sample.labels[0]) for sample in self.splits[split]]


def single_objects(dataset: Dataset, least: int) -> SingleObjects:
    """Images with one label and, where the dataset says so (`single_object`), one object; classes with fewer than `least` of them in
    the training split are left out everywhere."""
    found = {split: [s for s in dataset.split(split) if len(s.labels) == 1 and s.extra.get("single_object", "1") == "1"]
             for split in ("train", "val", "test")}
    images = {name: sum(s.labels == (name,) for s in found["train"]) for name in dataset.classes}
    kept = tuple(name for name in dataset.classes if images[name] >= least)
    if len(kept) < 2:
        raise Problem(f"{dataset.folder}: fewer than two classes have {least} training images of a single object; take another data set.")
    return SingleObjects(kept, tuple(name for name in dataset.classes if name not in kept),
                         {split: [s for s in samples if s.labels[0] in kept] for split, samples in found.items()})


class Squares:
    """Photographs as squares RGB `(3, side, side)` uint8, both sides scaled to the same length, as CAM does; decoded once as long as
    they fit into `limit` bytes."""

    def __init__(self, side: int, limit: int = 4 * 2 ** 30) -> None:
        self.side, self.room = side, limit // (3 * side * side)
        self.kept: dict[str, Tensor] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.workers = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def of(self, samples: Sequence[Sample]) -> list[Tensor]:
        missing = [sample for sample in samples if sample.id not in self.kept]
        fresh = dict(zip((sample.id for sample in missing), self.workers.map(self._decoded, missing)))
        self.kept |= dict(list(fresh.items())[:max(0, self.room - len(self.kept))])
        return [fresh[sample.id] if sample.id in fresh else self.kept[sample.id] for sample in samples]

    def batch(self, samples: Sequence[Sample]) -> Tensor:
        """`(B, 3, side, side)` in 0..1."""
        return torch.stack(self.of(samples)).float().div(255)

    def size_of(self, sample: Sample) -> tuple[int, int]:
        """(width, height) of the photograph."""
        if sample.id not in self.sizes:
            self.of([sample])
        return self.sizes[sample.id]

    def _decoded(self, sample: Sample) -> Tensor:
        photo = sample.photo()
        self.sizes[sample.id] = photo.size
        small = photo.resize((self.side, self.side), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def enlarged(side: int) -> int:
    """The side of which `side` is a crop of 7/8: 256 for 224."""
    return round(side * 8 / 7)


def training_view(square: Tensor, side: int, draw: np.random.Generator) -> Tensor:
    """A random crop `(3, side, side)` in 0..1, mirrored half of the time."""
    y, x = (int(offset) for offset in draw.integers(square.shape[-1] - side + 1, size=2))
    crop = square[:, y:y + side, x:x + side].float().div(255)
    return crop.flip(2) if draw.random() < 0.5 else crop


def training_batch(squares: Squares, samples: Sequence[Sample], side: int, keys: Sequence[tuple[int, ...]]) -> Tensor:
    """`(B, 3, side, side)`; what is random about an image follows from its key alone, whichever process looks at it."""
    found = squares.of(samples)
    return torch.stack([training_view(square, side, np.random.default_rng(key)) for square, key in zip(found, keys, strict=True)])


def balanced_batches(classes: Sequence[int], batch: int, batch_classes: int, names: Sequence[str], draw: np.random.Generator) -> list[list[int]]:
    """An epoch: as many batches as the images fill, each of `batch_classes` classes (or all there are) with the same number of images.

    Classes take turns, and so do the images of a class; a class with fewer images than its share gives some of them again.
    """
    members = {c: np.flatnonzero(np.asarray(classes) == c) for c in sorted(set(classes))}
    if lone := [c for c, rows in members.items() if len(rows) < 2]:
        raise Problem(f'The class "{names[lone[0]]}" has one image to train on; a balanced batch pairs at least two of a class: leave it out or add images.')
    count = min(batch_classes, len(members))
    share = batch // count
    if share < 2:
        raise Problem(f"batch: {batch} images of {count} classes are fewer than two a class; raise batch or lower batch_classes.")
    class_turn = _Turns(list(members), draw)
    image_turns = {c: _Turns(rows.tolist(), draw) for c, rows in members.items()}
    return [[i for c in class_turn.take(count) for i in image_turns[c].take(share)] for _ in range(-(-len(classes) // (count * share)))]


class _Turns:
    """Everybody in random order, then everybody again in another."""

    def __init__(self, members: list[int], draw: np.random.Generator) -> None:
        self.members, self.draw, self.queue = members, draw, []

    def take(self, count: int) -> list[int]:
        """The next `count`, no two alike as long as there are that many."""
        taken: list[int] = []
        while len(taken) < count:
            fresh = [m for m in self.queue if m not in taken] or self._refill(taken)
            taken.append(fresh[0])
            self.queue.remove(fresh[0])
        return taken

    def _refill(self, taken: list[int]) -> list[int]:
        self.queue += self.draw.permutation(self.members).tolist()
        return [m for m in self.queue if m not in taken] or self.queue
