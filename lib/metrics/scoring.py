"""From heat maps to scores, for every method that yields one foreground map an image."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.batch import Sparing
from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import (
    Sample,
    subset as subset,  # callers find it here too
)
from lib.data.loading import with_photos
from lib.metrics.bootstrap import Chance, Scores, Table, table
from lib.metrics.fmeasure import Curve, Curves, curve

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
    parts = [samples[i:i + size] for i in range(0, len(samples), size)]
    yield from progress(with_photos(parts), label, len(parts))


def score(samples: Sequence[Sample], batch: int, maps: HeatMaps, label: str) -> Scored:
    """Run a method, which turns a batch of samples into heat maps, over all samples, and score them."""
    scored = Scored()
    maps = Sparing(maps, _together)
    for part in batches(samples, batch, label):
        start = perf_counter()
        rows = maps(part)
        scored.seconds += perf_counter() - start
        scored.add(rows, part)
    return scored


def _together(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of the parts of a batch as rows of the batch."""
    together = {}
    for row in parts[0]:
        together[row] = torch.cat([maps[row] for maps in parts])
    return together


def _enlarged(heat: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """A map `(1, 1, h, w)` at the size of its truth, `(H, W)`."""
    return interpolate(heat.float(), shape, mode="bilinear", align_corners=False)[0, 0].numpy()
