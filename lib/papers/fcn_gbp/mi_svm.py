"""mi-SVM (Andrews et al., NIPS 2002): a classifier of superpixels from labels of whole images.

Images are bags of superpixels, and which superpixels of a positive image are positive is found in rounds.
"""
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.base.spent import spends
from lib.papers.fcn_gbp.settings import ZofSettings

Fit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]   # features, labels -> weight, bias


@dataclass(frozen=True)
class Bags:
    """Superpixels of labelled images.

    features   `(N, D)`
    images     the image of each superpixel `(N,)`, from 0
    labels     the classes of each image `(I, K)` bool
    classes    their names
    """
    features: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]


@dataclass(frozen=True)
class MiSvm:
    """A linear classifier for each of K classes: positive where `features @ weights.T + bias` is."""
    weights: np.ndarray     # (K, D)
    bias: np.ndarray        # (K,)
    spread: np.ndarray      # (K,) standard deviation of the decision values in training
    rounds: np.ndarray      # (K,) how many classifiers were fitted until the labels stood still

    def decide(self, features: np.ndarray) -> np.ndarray:
        """Decision values `(R, K)` of superpixels `(R, D)`."""
        return features @ self.weights.T + self.bias

    def probability(self, features: np.ndarray) -> np.ndarray:
        """The sigmoid of the decision value over its spread in training: `(R, K)` in 0..1.

        Not Platt's fit: the labels in training are the signs of the very decision values (the superpixels'
        truth is unknown), so that the fitted slope would grow without bound.
        """
        from scipy.special import expit

        return expit(self.decide(features) / self.spread)


@dataclass(frozen=True)
class _Trained:
    """The classifier of one class, on standardised features."""
    weight: np.ndarray
    bias: float
    spread: float
    rounds: int


@spends("training")
def train_mi_svm(bags: Bags, settings: ZofSettings, seed: int) -> MiSvm:
    """One classifier for each class.

    At most `negatives` superpixels of images without the class are used, drawn by `seed`. One round is
    plain training with every superpixel labelled as its image (SIL). `balanced` gives both sides equal weight
    however few positives are left: it finds more of the objects, and more besides; without it rare classes
    are missed.
    """
    _check(bags)
    centre = bags.features.mean(0, dtype=np.float64)
    scale = np.maximum(bags.features.std(0, dtype=np.float64), 1e-6)
    standard = ((bags.features - centre) / scale).astype(np.float32)
    fit = partial(_svm, c=settings.c, balanced=settings.balanced, seed=seed)
    trained = []
    for k in progress(range(len(bags.classes)), "mi-SVM"):
        is_inside = bags.labels[bags.images, k]
        inside = np.flatnonzero(is_inside)
        outside = np.flatnonzero(~is_inside)
        if len(outside) > settings.negatives:
            rng = np.random.default_rng((seed, k))
            outside = np.sort(rng.choice(outside, settings.negatives, replace=False))
        images = bags.images[inside]
        trained.append(_one_class(standard[inside], images, standard[outside], settings.rounds, fit))
    weights = np.array([one.weight for one in trained]) / scale
    bias = np.array([one.bias for one in trained]) - weights @ centre
    spread = np.array([one.spread for one in trained])
    rounds = np.array([one.rounds for one in trained])
    return MiSvm(weights.astype(np.float32), bias.astype(np.float32), spread.astype(np.float32), rounds)


def relabel(decision: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Labels `(n,)` bool of the superpixels of positive images: where the decision is positive.

    The best superpixel of every image is positive in any case.
    """
    order = np.lexsort((-decision, images))   # within each image from the best on
    best = order[np.unique(images[order], return_index=True)[1]]
    positive = decision > 0
    positive[best] = True
    return positive


def _one_class(inside: np.ndarray, images: np.ndarray, outside: np.ndarray, rounds: int,
               fit: Fit) -> _Trained:
    """The classifier of one class.

    inside    superpixels of the images that show it `(n, D)`, and the image of each `(n,)`
    outside   superpixels of other images `(m, D)`
    """
    features = np.concatenate([inside, outside])
    negative = np.zeros(len(outside), dtype=bool)
    positive = np.ones(len(inside), dtype=bool)
    used = 0
    settled = False
    while used < rounds and not settled:
        weight, bias = fit(features, np.concatenate([positive, negative]))
        used += 1
        decision = features @ weight + bias
        changed = relabel(decision[:len(inside)], images)
        settled = np.array_equal(changed, positive)
        positive = changed
    return _Trained(weight, bias, max(float(decision.std()), 1e-6), used)


def _svm(features: np.ndarray, positive: np.ndarray, c: float, balanced: bool,
         seed: int) -> tuple[np.ndarray, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    class_weight = "balanced" if balanced else None
    svm = LinearSVC(C=c, class_weight=class_weight, dual="auto", tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)   # the next round starts over with better labels
        svm.fit(features, positive)
    return svm.coef_[0], float(svm.intercept_[0])


def _check(bags: Bags) -> None:
    _check_sizes(bags)
    if not np.isfinite(bags.features).all():
        raise Problem("mi-SVM: some features are not finite numbers; check the network that gave them.")
    without_superpixels = np.setdiff1d(np.arange(len(bags.labels)), bags.images)
    if without_superpixels.size:
        raise Problem(f"mi-SVM: image {without_superpixels[0]} has no superpixels; leave it out.")
    without_label = np.flatnonzero(~bags.labels.any(1))
    if without_label.size:
        raise Problem(f"mi-SVM: image {without_label[0]} has no label; leave it out or label it.")
    for name, shown in zip(bags.classes, bags.labels.T, strict=True):
        if shown.all() or not shown.any():
            which = "every" if shown.all() else "no"
            raise Problem(f'mi-SVM: {which} training image shows the class "{name}"; '
                          "it needs images with it and images without it.")


def _check_sizes(bags: Bags) -> None:
    superpixels, images = len(bags.features), len(bags.images)
    labels, classes = bags.labels.shape[1], len(bags.classes)
    if superpixels != images or labels != classes:
        raise Problem(f"mi-SVM: {superpixels} superpixels with {images} images and {labels} labels for "
                      f"{classes} classes; give one image for each superpixel and one label for each class.")
