"""Photographs of single objects as squares, and mini-batches of few classes with several images each.

A loss over pairs of images needs such batches (CSoA, section 4.1).
"""
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.data.images import image_size, square_tensor
from lib.data.loading import decoders, loaded

# split -> what CSoA does with it
SPLITS = {"train": "learns from", "val": "chooses its threshold on", "test": "is scored on"}
MOST_KEPT = 4 * 2 ** 30   # bytes of decoded photographs that are kept in memory


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
    """Images of a single object, by split, of the classes that have at least `least` of them to train on.

    Rarer classes are left out everywhere. A data set without images for one of the splits is refused.
    """
    single = {split: [] for split in SPLITS}
    for sample in dataset.samples:
        if sample.split in single and shows_single_object(sample):
            single[sample.split].append(sample)
    _check_splits(dataset, single)

    counts = Counter(sample.labels[0] for sample in single["train"])
    kept = tuple(name for name in dataset.classes if counts[name] >= least)
    dropped = tuple(name for name in dataset.classes if name not in kept)
    if len(kept) < 2:
        raise Problem(f"{dataset.folder}: fewer than two classes have {least} training images "
                      "of a single object; take another data set.")
    for split, samples in single.items():
        single[split] = [sample for sample in samples if sample.labels[0] in kept]
    _check_splits(dataset, single)
    return SingleObjects(kept, dropped, single)


def shows_single_object(sample: Sample) -> bool:
    """Whether an image has one label and, where the data set says so (`single_object`), one object."""
    return len(sample.labels) == 1 and sample.extra.get("single_object", "1") == "1"


def _check_splits(dataset: Dataset, single: dict[str, list[Sample]]) -> None:
    for split, purpose in SPLITS.items():
        if not single[split]:
            raise Problem(f'{dataset.folder}: no image of a single object in split "{split}", which CSoA '
                          f"{purpose}; let the data set's options in params.yaml name such images, "
                          "or leave it out of csoa_train.")


def stacked(squares: Sequence[Tensor]) -> Tensor:
    """Squares uint8 as one batch `(B, 3, side, side)` in 0..1, channels last."""
    return torch.stack(list(squares)).float().div(255).contiguous(memory_format=torch.channels_last)


class Squares:
    """The photographs of samples as squares, decoded once as long as they fit into memory (`MOST_KEPT`).

    Processes that read ahead inherit what is kept, and keep nothing for the others: see `keep`.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.room = MOST_KEPT // (3 * side * side)
        self.kept: dict[str, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to a process that does not inherit: gigabytes of squares are not."""
        return vars(self) | {"kept": {}}

    def keep(self, samples: Sequence[Sample]) -> None:
        """Decode as many as fit, before the first batch, where further processes read; else do nothing."""
        if not decoders():
            return
        free = max(0, self.room - len(self.kept))
        missing = [sample for sample in samples if sample.id not in self.kept][:free]
        readings = [partial(_decode, self.side, sample) for sample in missing]
        for sample, square in zip(missing, loaded(readings, pinned=False), strict=True):
            self.kept[sample.id] = square.clone()   # as read, it holds on to memory that is shared

    def decoded(self, samples: Sequence[Sample]) -> list[Tensor]:
        """One square `(3, side, side)` uint8 a sample."""
        missing = [sample for sample in samples if sample.id not in self.kept]
        fresh = {}
        for sample, square in zip(missing, _decode_all(self.side, missing), strict=True):
            fresh[sample.id] = square
        free = max(0, self.room - len(self.kept))
        self.kept |= dict(list(fresh.items())[:free])
        return [fresh[sample.id] if sample.id in fresh else self.kept[sample.id] for sample in samples]

    def batch(self, samples: Sequence[Sample]) -> Tensor:
        """`(B, 3, side, side)` in 0..1, channels last."""
        return stacked(self.decoded(samples))

    def size_of(self, sample: Sample) -> tuple[int, int]:
        """(width, height) of the photograph."""
        return image_size(sample.folder / sample.image)


def _decode_all(side: int, samples: Sequence[Sample]) -> list[Tensor]:
    """Squares of photographs, by several threads unless this process has others beside it for the same."""
    decode = partial(_decode, side)
    if len(samples) < 2 or get_worker_info() is not None:
        return [decode(sample) for sample in samples]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(decode, samples))


def _decode(side: int, sample: Sample) -> Tensor:
    return square_tensor(sample.photo(), side)


def enlarged(side: int) -> int:
    """The side of which `side` is a crop of 7/8: 256 for 224."""
    return round(side * 8 / 7)


def training_view(square: Tensor, side: int, draw: np.random.Generator) -> Tensor:
    """A random crop `(3, side, side)` in 0..1, mirrored half of the time."""
    y, x = (int(offset) for offset in draw.integers(square.shape[-1] - side + 1, size=2))
    crop = square[:, y:y + side, x:x + side].float().div(255)
    return crop.flip(2) if draw.random() < 0.5 else crop


def training_batch(squares: Squares, samples: Sequence[Sample], side: int,
                   keys: Sequence[tuple[int, ...]]) -> Tensor:
    """Training views `(B, 3, side, side)`, one a sample, channels last.

    What is random about an image follows from its key alone, whichever process looks at it.
    """
    views = []
    for square, key in zip(squares.decoded(samples), keys, strict=True):
        views.append(training_view(square, side, np.random.default_rng(key)))
    return torch.stack(views).contiguous(memory_format=torch.channels_last)


def balanced_batches(classes: Sequence[int], batch: int, batch_classes: int, names: Sequence[str],
                     draw: np.random.Generator) -> list[list[int]]:
    """An epoch: as many batches as the images fill, each of `batch_classes` classes (or all there are).

    classes   the class of every image; a batch holds numbers of images
    names     of the classes

    All classes of a batch have as many images in it. Classes take turns, and so do the images of a class; a
    class with fewer images than its share gives some of them again.
    """
    numbers = np.asarray(classes)
    images = {number: np.flatnonzero(numbers == number).tolist() for number in sorted(set(classes))}
    for number, members in images.items():
        if len(members) < 2:
            raise Problem(f'The class "{names[number]}" has one image to train on; a balanced batch pairs '
                          "at least two of a class: leave it out or add images.")
    count = min(batch_classes, len(images))
    share = batch // count
    if share < 2:
        raise Problem(f"batch: {batch} images of {count} classes are fewer than two a class; "
                      "raise batch or lower batch_classes.")
    class_turns = _Turns(list(images), draw)
    image_turns = {number: _Turns(members, draw) for number, members in images.items()}
    batches = []
    for _ in range(-(-len(classes) // (count * share))):   # rounded up
        chosen = []
        for number in class_turns.take(count):
            chosen += image_turns[number].take(share)
        batches.append(chosen)
    return batches


class _Turns:
    """Everybody in random order, then everybody again in another."""

    def __init__(self, members: list[int], draw: np.random.Generator) -> None:
        self.members = members
        self.draw = draw
        self.queue: list[int] = []

    def take(self, count: int) -> list[int]:
        """The next `count`, no two alike as long as there are that many."""
        taken: list[int] = []
        while len(taken) < count:
            waiting = [member for member in self.queue if member not in taken] or self._refill(taken)
            taken.append(waiting[0])
            self.queue.remove(waiting[0])
        return taken

    def _refill(self, taken: list[int]) -> list[int]:
        self.queue += self.draw.permutation(self.members).tolist()
        return [member for member in self.queue if member not in taken] or self.queue
