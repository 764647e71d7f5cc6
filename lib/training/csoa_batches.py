"""Photographs of single objects as squares: what CSoA trains on."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.data.dataset import Dataset, Sample
from lib.problem import Problem

CROP = 7 / 8   # 224 of 256 pixels


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


def squeezed(photo: Image.Image, side: int) -> Tensor:
    """RGB `(3, side, side)` in 0..1, both sides scaled to the same length, as CAM does."""
    return torch.from_numpy(np.array(photo.resize((side, side), Image.Resampling.BILINEAR))).permute(2, 0, 1).float().div(255)


def training_view(photo: Image.Image, side: int, draw: np.random.Generator) -> Tensor:
    """A random crop of 7/8 of the sides, mirrored half of the time, `(3, side, side)`."""
    width, height = photo.width * CROP, photo.height * CROP
    x, y = draw.uniform(0, photo.width - width), draw.uniform(0, photo.height - height)
    crop = photo.resize((side, side), Image.Resampling.BILINEAR, box=(x, y, x + width, y + height))
    return squeezed(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else crop, side)


def training_batch(samples: Sequence[Sample], side: int, keys: Sequence[tuple[int, ...]]) -> Tensor:
    """`(B, 3, side, side)`; what is random about an image follows from its key alone, whichever process looks at it."""
    return torch.stack([training_view(sample.photo(), side, np.random.default_rng(key)) for sample, key in zip(samples, keys, strict=True)])
