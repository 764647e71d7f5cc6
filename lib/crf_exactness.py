"""What the lattice costs: every row that ends in a dense CRF, by pydensecrf's lattice and exact."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lib.base.work import in_this_process
from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance, summarise
from lib.metrics.miou import Confusions
from lib.refine.crf import using
from lib.report.figures import Picture, heat, photograph, picture_grid

Result = TypeVar("Result")
COLUMNS: tuple[str, ...] = ("lattice", "exact", "difference", "pixels", "mean_gap", "largest_gap")
FARTHEST = 0.5   # difference in probability that a figure shows in its brightest colour


@dataclass(frozen=True)
class Both(Generic[Result]):
    """What one computation gives with either backend, and the marginals of the CRFs in it.

    results          with the lattice, and exact
    lattice, exact   marginals `(C, H, W)` of each CRF, in the order in which they are computed
    """
    results: tuple[Result, Result]
    lattice: Sequence[np.ndarray]
    exact: Sequence[np.ndarray]

    def every(self, step: int, first: int) -> "Both[Result]":
        """The same with some CRFs alone, for a computation that has several an image."""
        return Both(self.results, self.lattice[first::step], self.exact[first::step])

    def row(self, scores: Sequence[np.ndarray], chance: Chance) -> dict[str, Any]:
        """`COLUMNS` with their intervals, from draws `(1 + samples,)` of the score of either result."""
        lattice, exact = scores
        values = {"lattice": lattice, "exact": exact, "difference": exact - lattice}
        weights = chance.draws(len(self.exact))
        for column, of_fields in self._gaps().items():
            values[column] = weights @ of_fields
        return summarise({"row": values}, chance.level)["row"]

    def _gaps(self) -> dict[str, np.ndarray]:
        """For each CRF the pixels in percent with another label, and how far marginals are apart."""
        gaps: dict[str, list[float]] = {"pixels": [], "mean_gap": [], "largest_gap": []}
        for lattice, exact in zip(self.lattice, self.exact, strict=True):
            apart = np.abs(lattice - exact)
            gaps["pixels"].append(100 * float((lattice.argmax(0) != exact.argmax(0)).mean()))
            gaps["mean_gap"].append(float(apart.mean()))
            gaps["largest_gap"].append(float(apart.max()))
        return {column: np.array(values) for column, values in gaps.items()}


def by_both(compute: Callable[..., Result], *arguments: Any) -> Both[Result]:
    """Compute something twice: with the lattice in all its CRFs, and exact."""
    with in_this_process():   # where `using` is heard
        with using("pydensecrf") as lattice:
            first = compute(*arguments)
        with using("exact") as exact:
            second = compute(*arguments)
    return Both((first, second), lattice, exact)


def mean_iou(confusions: Confusions, samples: Sequence[Sample], classes: Sequence[str],
             chance: Chance) -> np.ndarray:
    """Draws of the mean IoU over the background and the classes that the images are labelled with."""
    named = {classes.index(name) + 1 for sample in samples for name in sample.labels}
    return confusions.scores(chance.draws(len(samples)), sorted({0} | named))["miou"]


def mask_grid(photos: Sequence[Image.Image], both: Both, labels: Sequence[str]) -> Figure:
    """Photographs, what is foreground by the lattice and exact, and how far both are apart."""
    rows: list[list[Picture]] = []
    for photo, lattice, exact in zip(photos, both.lattice, both.exact, strict=False):
        apart = np.abs(lattice - exact).max(0) / FARTHEST
        changed = lattice.argmax(0) != exact.argmax(0)
        masks = [(field.argmax(0) > 0).astype(float) for field in (lattice, exact)]
        maps = [*masks, apart.clip(0, 1), changed.astype(float)]
        rows.append([photograph(photo), *(heat(each, Image.Resampling.NEAREST) for each in maps)])
    titles = ["photograph", "lattice", "exact", f"|difference|, 0 to {FARTHEST:g}", "other label"]
    return picture_grid(rows, titles, labels)


def words(rows: Mapping[str, Mapping[str, Mapping[str, float]]], labels: Callable[[str], str]) -> list[str]:
    """A sentence a row: by how much its score moves, and whether the interval leaves room for nothing."""
    sentences = []
    for row, values in rows.items():
        change = values["difference"]
        no_change = change["low"] <= 0 <= change["high"]
        verdict = "no change is within the interval" if no_change else "it moves"
        sentences.append(f"{labels(row)}: {change['mean']:+.3g} ({change['low']:+.3g} to "
                         f"{change['high']:+.3g}), {verdict}; {values['pixels']['mean']:.2f} % of the pixels "
                         "have another label")
    return sentences
