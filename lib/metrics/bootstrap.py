"""Bootstrap intervals over images; the same draws for every method, so that differences are paired."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.base.problem import Problem

Table = tuple[dict[str, Any], dict[str, Any]]   # {row: {metric: interval}}, {"a - b": {metric: interval}}
Scores = Mapping[str, np.ndarray]   # metric -> one value a draw; entry 0 is the estimate on all images
Form = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Chance:
    """How intervals are drawn.

    samples   how many draws of images
    level     how many of them an interval holds
    seed      makes the draws the same for every row
    """
    samples: int
    level: float
    seed: int

    def draws(self, images: int) -> np.ndarray:
        """Image weights `(1 + samples, images)`: first all images alike, then resamples with replacement."""
        random = np.random.default_rng(self.seed)
        counts = random.multinomial(images, np.full(images, 1 / images), size=self.samples)
        return np.concatenate([np.ones((1, images)), counts]) / images


def interval(values: np.ndarray, level: float) -> dict[str, float]:
    """{"mean", "low", "high"} from draws whose first entry is the estimate.

    Draws for which there is no value (NaN), as of images without truth, are left out.
    """
    tail = (1 - level) / 2
    low = high = values[0]
    draws = values[1:][~np.isnan(values[1:])]
    if len(draws):
        low, high = np.quantile(draws, [tail, 1 - tail])
    return {"mean": round(float(values[0]), 6), "low": round(float(low), 6), "high": round(float(high), 6)}


def summarise(scores: Mapping[str, Scores], level: float) -> dict[str, dict[str, dict[str, float]]]:
    """{row: {metric: interval}}."""
    return {row: _intervals(metrics, level) for row, metrics in scores.items()}


def compare(scores: Mapping[str, Scores], pairs: Sequence[tuple[str, str]], level: float) -> dict[str, Any]:
    """Paired differences "a - b" and ratios "a / b" of rows, each with its interval."""
    forms: dict[str, Form] = {"-": np.subtract, "/": _ratio}
    comparisons = {}
    for a, b in pairs:
        for sign, form in forms.items():
            comparisons[f"{a} {sign} {b}"] = _intervals(_combined(form, scores[a], scores[b]), level)
    return comparisons


def table(scores: Mapping[str, Scores], pairs: Sequence[tuple[str, str]], chance: Chance) -> Table:
    """Every row's metrics with their intervals, and the paired comparisons of `pairs`.

    Pairs whose rows are not there are left out.
    """
    there = [(a, b) for a, b in pairs if a in scores and b in scores]
    return summarise(scores, chance.level), compare(scores, there, chance.level)


def _intervals(metrics: Scores, level: float) -> dict[str, dict[str, float]]:
    for metric, values in metrics.items():
        if np.isnan(values[0]):
            raise Problem(f"{metric}: these images have no truth to measure it by, such as masks that are "
                          "void everywhere; take other images, or mend their truth.")
    return {metric: interval(values, level) for metric, values in metrics.items()}


def _combined(form: Form, a: Scores, b: Scores) -> dict[str, np.ndarray]:
    """A form of the metrics that both rows have."""
    return {metric: form(a[metric], b[metric]) for metric in a if metric in b}


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a / np.maximum(b, 1e-12)
