"""Bootstrap intervals over images; the same draws for every method, so that differences are paired."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Chance:
    """How many draws of images, the level of their intervals, and the seed that makes the draws the same for every row."""
    samples: int
    level: float
    seed: int

    def draws(self, images: int) -> np.ndarray:
        """Image weights `(1 + samples, images)`, see `draws`."""
        return draws(images, self.samples, self.seed)


Table = tuple[dict[str, Any], dict[str, Any]]   # {row: {metric: interval}}, {"a - b": {metric: interval}}
Scores = Mapping[str, np.ndarray]   # metric -> one value a draw; entry 0 is the estimate on all images


def draws(images: int, samples: int, seed: int) -> np.ndarray:
    """Image weights `(1 + samples, images)`: first all images alike, then resamples with replacement."""
    counts = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=samples)
    return np.concatenate([np.ones((1, images)), counts]) / images


def interval(values: np.ndarray, level: float) -> dict[str, float]:
    """{"mean", "low", "high"} from draws whose first entry is the estimate."""
    tail = (1 - level) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail]) if len(values) > 1 else (values[0], values[0])
    return {"mean": round(float(values[0]), 6), "low": round(float(low), 6), "high": round(float(high), 6)}


def summarise(scores: Mapping[str, Scores], level: float) -> dict[str, dict[str, dict[str, float]]]:
    """{row: {metric: interval}}."""
    return {row: {metric: interval(v, level) for metric, v in values.items()} for row, values in scores.items()}


def compare(scores: Mapping[str, Scores], pairs: list[tuple[str, str]], level: float) -> dict[str, Any]:
    """Paired differences "a - b" and ratios "a / b" of rows, each with its interval."""
    forms: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"-": np.subtract, "/": _ratio}
    return {f"{a} {sign} {b}": {m: interval(form(scores[a][m], scores[b][m]), level) for m in scores[a] if m in scores[b]}
            for a, b in pairs for sign, form in forms.items()}


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a / np.maximum(b, 1e-12)


def table(scores: Mapping[str, Scores], pairs: Sequence[tuple[str, str]], chance: Chance) -> Table:
    """Every row's metrics with their intervals, and the paired comparisons of those `pairs` whose rows are there."""
    there = [(a, b) for a, b in pairs if a in scores and b in scores]
    return summarise(scores, chance.level), compare(scores, there, chance.level)
