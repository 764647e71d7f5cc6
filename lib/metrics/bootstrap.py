"""Bootstrap intervals over images; the same draws for every method, so that differences are paired."""
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

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
