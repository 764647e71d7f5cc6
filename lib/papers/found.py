"""What is asked of a method and what it answers: for every `use.py`, the command line and the comparison."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lib.base.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor

USUAL_THRESHOLD = 0.5   # from which value of a heat map on a pixel is foreground


@dataclass(frozen=True)
class Request:
    """A method, and what it is to run with; None is what the tier has.

    tier        whose networks, sizes and batches
    network     one of lib.nets
    weights     the file of a trained network
    batch       images at a time; "auto": as many as are worth it, which is tried
    threshold   from which value of a heat map on a pixel is foreground
    split       of the data set that is scored, and how many `images` of it, spread evenly
    """
    method: str
    tier: str = "collage"
    network: str | None = None
    weights: Path | None = None
    batch: Batch = None
    threshold: float | None = None
    split: str = "test"
    images: int | None = None


@dataclass(frozen=True)
class Found:
    """The maps of one photograph.

    heat      foreground `(1, h, w)` in 0..1
    labels    where the method tells classes apart: `(H, W)` uint8, 0 for the background
    classes   what the numbers of `labels` from 1 on stand for
    names     a few words on what was found
    """
    heat: "Tensor"
    labels: np.ndarray | None = None
    classes: Sequence[str] = ()
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Evaluated:
    """The scores of a method on a data set.

    rows   {row: {metric: interval}}
    note   what was left out
    """
    network: str
    images: int
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class WeightFile:
    """A kind of file with trained weights: its name in the header, how a small one is written, and read.

    has_trunk   whether the network's trunk is among the weights
    """
    name: str
    save: Callable[[Path], None]
    load: Callable[[Path], object]
    has_trunk: bool = True


Segmenter = Callable[[Sequence[Image.Image]], Sequence[Found]]
