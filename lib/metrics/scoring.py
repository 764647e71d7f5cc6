"""From heat maps to scores, for every method that yields one foreground map an image."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.batch import Sparing
from lib.base.problem import Problem
from lib.base.progress import progress
from lib.base.work import each
from lib.data.dataset import (
    Sample,
    subset as subset,  # callers find it here too
)
from lib.data.loading import with_photos
from lib.metrics.bootstrap import Chance, Scores, Table, table
from lib.metrics.fmeasure import Curve, Curves, curve

T = TypeVar("T")
HeatMaps = Callable[[Sequence[Sample]], Mapping[str, Tensor]]   # a batch -> rows of maps (B, 1, h, w) in 0..1


@dataclass
class Scored:
    """Curves of every row over the images that were scored, in order.

    dropped   images that have no foreground in their truth
    seconds   spent on maps, without decoding and scoring
    """
    curves: dict[str, list[Curve]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    dropped: int = 0
    seconds: float = 0.0

    def add(self, maps: Mapping[str, Tensor], samples: Sequence[Sample]) -> None:
        """Score a batch of maps `(B, 1, h, w)` against its samples, each at the size of its truth."""
        for i, sample in enumerate(samples):
            truth, valid = sample.foreground()
            if not truth.any():
                self.dropped += 1
                continue
            self.ids.append(sample.id)
            for row, values in maps.items():
                heat = _enlarged(values[i:i + 1], truth.shape)
                self.curves.setdefault(row, []).append(curve(heat, truth, valid))

    def extend(self, other: "Scored") -> None:
        """Append the images of another run."""
        for row, curves in other.curves.items():
            self.curves.setdefault(row, []).extend(curves)
        self.ids += other.ids
        self.dropped += other.dropped
        self.seconds += other.seconds

    def scores(self, chance: Chance) -> dict[str, Scores]:
        """{row: {metric: draws}}; every row on the same draws of images."""
        if not self.ids:
            raise Problem(f"None of the {self.dropped} images has any foreground in its truth, "
                          "so there is nothing to score.")
        weights = chance.draws(len(self.ids))
        return {row: Curves.of(curves).scores(weights) for row, curves in self.curves.items()}

    def table(self, pairs: Sequence[tuple[str, str]], chance: Chance) -> Table:
        """Rows with intervals, and paired comparisons of `pairs`, as the metrics file holds them."""
        return table(self.scores(chance), pairs, chance)


def batches(samples: Sequence[Sample], size: int, label: str) -> Iterator[Sequence[Sample]]:
    """Consecutive batches with a progress bar; their photographs may be decoded ahead."""
    parts = _parts(samples, size)
    yield from progress(with_photos(parts), label, len(parts))


def each_batch(make: Callable[[], Callable[[Sequence[Sample]], T]], samples: Sequence[Sample], size: int,
               label: str) -> Iterator[T]:
    """Results on consecutive batches, which processes share (`lib.base.work.each`)."""
    return each(make, _parts(samples, size), label)


def score(samples: Sequence[Sample], batch: int, make: Callable[[], HeatMaps], label: str) -> Scored:
    """Run a method over all samples, and score its maps; `make` is called once in every process."""
    scored = Scored()
    for part in each_batch(partial(_scorer, make), samples, batch, label):
        scored.extend(part)
    return scored


def _scorer(make: Callable[[], HeatMaps]) -> Callable[[Sequence[Sample]], Scored]:
    maps = Sparing(make(), _together)

    def of_batch(part: Sequence[Sample]) -> Scored:
        scored = Scored()
        start = perf_counter()
        rows = maps(part)
        scored.seconds = perf_counter() - start
        scored.add(rows, part)
        return scored
    return of_batch


def _parts(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    return [samples[i:i + size] for i in range(0, len(samples), size)]


def _together(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of the parts of a batch as rows of the batch."""
    together = {}
    for row in parts[0]:
        together[row] = torch.cat([maps[row] for maps in parts])
    return together


def _enlarged(heat: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """A map `(1, 1, h, w)` at the size of its truth, `(H, W)`."""
    return interpolate(heat.float(), shape, mode="bilinear", align_corners=False)[0, 0].numpy()
