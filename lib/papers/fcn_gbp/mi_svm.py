"""mi-SVM (Andrews et al., NIPS 2002): images are bags of superpixels, and which superpixels of a positive image are positive is found."""
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lib.base.problem import Problem
from lib.base.progress import progress


@dataclass(frozen=True)
class MiSvm:
    """One linear classifier a class, K of them on D features; positive where `features @ weights.T + bias` is."""
    weights: np.ndarray     # (K, D)
    bias: np.ndarray        # (K,)
    spread: np.ndarray      # (K,) standard deviation of the decision values in training
    rounds: np.ndarray      # (K,) how many classifiers were fitted until the labels stood still

    def decide(self, features: np.ndarray) -> np.ndarray:
        """Decision values `(R, K)` of superpixels `(R, D)`."""
        return features @ self.weights.T + self.bias

    def probability(self, features: np.ndarray) -> np.ndarray:
        """`(R, K)` in 0..1: the sigmoid of the decision value over its spread in training.

        Not Platt's fit: the labels in training are the signs of the very decision values (the superpixels' truth is unknown), so
        that the fitted slope would grow without bound."""
        from scipy.special import expit

        return expit(self.decide(features) / self.spread)


def train_mi_svm(features: np.ndarray, bags: np.ndarray, labels: np.ndarray, classes: Sequence[str], rounds: int = 10, negatives: int = 20_000,
                 c: float = 1.0, balanced: bool = True, seed: int = 0) -> MiSvm:
    """K classifiers from superpixels `(N, D)`, the image of each `(N,)` from 0, and the images' labels `(I, K)` bool.

    At most `negatives` superpixels of images without the class are used, drawn by `seed`. One round is plain training with every
    superpixel labelled as its image (SIL). `balanced` gives both sides equal weight however few positives are left: it finds more of
    the objects, and more besides; without it rare classes are missed."""
    _check(features, bags, labels, classes)
    centre, scale = features.mean(0, dtype=np.float64), np.maximum(features.std(0, dtype=np.float64), 1e-6)
    standard = ((features - centre) / scale).astype(np.float32)
    fit = partial(_svm, c=c, balanced=balanced, seed=seed)
    found = []
    for k in progress(range(len(classes)), "mi-SVM"):
        positive = np.flatnonzero(labels[bags, k])
        negative = np.flatnonzero(~labels[bags, k])
        if len(negative) > negatives:
            negative = np.sort(np.random.default_rng((seed, k)).choice(negative, negatives, replace=False))
        found.append(_one_class(standard[positive], bags[positive], standard[negative], rounds, fit))
    weight, bias, spread, used = (np.array(column) for column in zip(*found))
    return MiSvm((weight / scale).astype(np.float32), (bias - (weight / scale) @ centre).astype(np.float32), spread.astype(np.float32), used)


def relabel(decision: np.ndarray, bags: np.ndarray) -> np.ndarray:
    """Labels `(n,)` bool of the superpixels of positive images: the decision's sign, and the best one of every image in any case."""
    order = np.lexsort((-decision, bags))   # within each image from the best on
    best = order[np.unique(bags[order], return_index=True)[1]]
    positive = decision > 0
    positive[best] = True
    return positive


def _one_class(inside: np.ndarray, bags: np.ndarray, outside: np.ndarray, rounds: int,
               fit: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]) -> tuple[np.ndarray, float, float, int]:
    """Weights, bias, spread of the decision values and rounds of one class; `inside` are the superpixels of its images."""
    x, positive = np.concatenate([inside, outside]), np.ones(len(inside), dtype=bool)
    for used in range(1, rounds + 1):
        weight, bias = fit(x, np.concatenate([positive, np.zeros(len(outside), dtype=bool)]))
        decision = x @ weight + bias
        changed = relabel(decision[:len(inside)], bags)
        if np.array_equal(changed, positive):
            break
        positive = changed
    return weight, bias, max(float(decision.std()), 1e-6), used


def _svm(x: np.ndarray, positive: np.ndarray, c: float, balanced: bool, seed: int) -> tuple[np.ndarray, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    svm = LinearSVC(C=c, class_weight="balanced" if balanced else None, dual="auto", tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)   # the next round starts over with better labels
        svm.fit(x, positive)
    return svm.coef_[0], float(svm.intercept_[0])


def _check(features: np.ndarray, bags: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    if len(features) != len(bags) or labels.shape[1] != len(classes):
        raise Problem(f"mi-SVM: {len(features)} superpixels with {len(bags)} images and {labels.shape[1]} labels for {len(classes)} classes; "
                      "give one image for each superpixel and one label for each class.")
    if not np.isfinite(features).all():
        raise Problem("mi-SVM: some features are not finite numbers; check the network that gave them.")
    if (missing := np.setdiff1d(np.arange(len(labels)), bags)).size:
        raise Problem(f"mi-SVM: image {missing[0]} has no superpixels; leave it out.")
    if (bare := np.flatnonzero(~labels.any(1))).size:
        raise Problem(f"mi-SVM: image {bare[0]} has no label; leave it out or label it.")
    for name, column in zip(classes, labels.T):
        if column.all() or not column.any():
            raise Problem(f'mi-SVM: {"every" if column.all() else "no"} training image shows the class "{name}"; it needs images with it and '
                          "images without it.")
