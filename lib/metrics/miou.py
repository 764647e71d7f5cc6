"""Mean intersection over union from one confusion matrix over all images.

It is PASCAL VOC's segmentation score (DCSM, section 4).
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.base.problem import Problem
from lib.data.dataset import VOID


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of one image by true class (rows) and predicted class (columns): `(K, K)` int64.

    Truth and prediction are label maps `(H, W)`. Void pixels of the truth (255) do not count. A prediction
    has no void: it must be 0 .. K - 1 everywhere.
    """
    if truth.shape != predicted.shape:
        raise Problem(f"The prediction is {size_in_words(predicted)} pixels and its truth "
                      f"{size_in_words(truth)}; scale it to the truth's size.")
    valid = truth != VOID
    _check_labels("truth", truth[valid], classes)
    _check_labels("prediction", predicted, classes)
    pairs = truth[valid].astype(np.int64) * classes + predicted[valid].astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Confusions:
    """The confusion matrices of all images of one method, `(N, K, K)`."""
    counts: np.ndarray

    @classmethod
    def of(cls, images: list[np.ndarray]) -> "Confusions":
        """The images' matrices, one after another."""
        return cls(np.stack(images))

    def iou(self, weights: np.ndarray) -> np.ndarray:
        """Percent `(S, K)` under image weights `(S, N)`.

        NaN for a class in neither truth nor prediction of the images that weigh.
        """
        hits = np.diagonal(self.counts, axis1=1, axis2=2).astype(np.float64)
        union = self.counts.sum(1) + self.counts.sum(2) - hits
        both = weights @ np.concatenate([hits, union], axis=1)
        hits, union = np.split(both, 2, axis=1)
        return np.divide(100 * hits, union, out=np.full(union.shape, np.nan), where=union > 0)

    def scores(self, weights: np.ndarray, only: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        """The miou `(S,)` in percent under image weights `(S, N)`: the mean over the classes that occur.

        Over these of `only`, where it is given.
        """
        iou = self.iou(weights)
        if only is not None:
            iou = iou[:, list(only)]
        return {"miou": mean_of_known(iou)}


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without its NaNs; NaN where there is nothing else."""
    known = ~np.isnan(values)
    number = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def size_in_words(labels: np.ndarray) -> str:
    """Width x height."""
    return " x ".join(map(str, labels.shape[::-1]))


def _check_labels(name: str, labels: np.ndarray, classes: int) -> None:
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
        raise Problem(f"The {name} holds {labels.dtype} values where class numbers belong; "
                      "hand over a label map of whole numbers.")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        worst = labels.min() if labels.min() < 0 else labels.max()
        is_void = name == "prediction" and worst == VOID
        void = ", and only the truth may be void (255)" if is_void else ""
        raise Problem(f"The {name} holds the label {worst}, but {classes} classes are numbered "
                      f"0 to {classes - 1}{void}; number its labels so, or give the right number of classes.")
