"""How well a network tells which classes an image holds (DCSM, section 4.4, note 1).

By average precision, exact sets and the best class.
"""
from collections.abc import Sequence

import numpy as np

from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.metrics.miou import mean_of_known

PRESENT = 0.5   # a class counts as found when its score exceeds this (DCSM, section 3.3)


def labels(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    """Whether each image is labelled with each class, boolean `(N, K)`."""
    rows = []
    for sample in samples:
        rows.append([name in sample.labels for name in classes])
    return np.array(rows)


def multilabel_scores(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """map, exact and top_class, each `(S,)` in percent, under image weights `(S, N)`.

    From scores in 0..1 and boolean truth `(N, K)`. map leaves out classes without a positive among the images
    that weigh; it is NaN when no class has one. Of classes that share the best score the first is the top
    class; an image without any class has no right one, and is exact when none is found.
    """
    _check(scores, truth)
    columns = zip(scores.T, truth.T, strict=True)
    precision = np.stack([average_precision(score, label, weights) for score, label in columns], axis=1)
    exact = ((scores > PRESENT) == truth).all(1)
    top = np.take_along_axis(truth, scores.argmax(1)[:, None], axis=1)[:, 0]
    return {
        "map": 100 * mean_of_known(precision),
        "exact": 100 * (weights @ exact),
        "top_class": 100 * (weights @ top),
    }


def average_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of one class, in 0..1: `(S,)` under image weights `(S, N)`; NaN without positives.

    From scores and boolean truth `(N,)`: the sum over positives of the precision at their rank, not
    interpolated; equal scores share one rank, the last of them.
    """
    order = np.argsort(-scores)
    last = np.append(np.diff(scores[order]) != 0, True)   # of each group of equal scores
    ranked = weights[:, order]
    hits = np.cumsum(ranked * truth[order], axis=1)[:, last]
    ranks = np.cumsum(ranked, axis=1)[:, last]
    precision = np.divide(hits, ranks, out=np.zeros_like(hits), where=ranks > 0)
    total = (np.diff(hits, axis=1, prepend=0) * precision).sum(1)
    positives = hits[:, -1]
    return np.divide(total, positives, out=np.full(len(hits), np.nan), where=positives > 0)


def _check(scores: np.ndarray, truth: np.ndarray) -> None:
    if scores.shape != truth.shape:
        raise Problem(f"There are scores of {_size(scores)} and labels of {_size(truth)}; "
                      "every image needs one of each per class.")
    if not ((scores >= 0) & (scores <= 1)).all():   # NaN too
        raise Problem("Class scores must lie in 0..1, and some do not; "
                      "apply the sigmoid to the network's finite output.")


def _size(table: np.ndarray) -> str:
    return f"{len(table)} images x {table.shape[-1]} classes"
