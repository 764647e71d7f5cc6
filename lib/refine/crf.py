"""Fully connected CRF (Krähenbühl & Koltun), by pydensecrf's permutohedral lattice."""
from collections.abc import Callable

import numpy as np

from lib.base.spent import spends
from lib.refine.settings import CrfSettings

LEAST = 1e-5   # probabilities are kept away from 0 and 1


def dense_crf(image: np.ndarray, probability: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """Mean-field marginals `(C, H, W)` float32.

    From an RGB image `(H, W, 3)` uint8 and probabilities `(C, H, W)`.
    """
    return crf_of(image, len(probability), settings)(probability)


def crf_of(image: np.ndarray, classes: int, settings: CrfSettings) -> Callable[[np.ndarray], np.ndarray]:
    """A function from probabilities `(C, H, W)` to mean-field marginals, for many of them on one image.

    The lattice, which depends on the image alone, is made once.
    """
    from pydensecrf import densecrf

    height, width = image.shape[:2]
    crf = densecrf.DenseCRF2D(width, height, classes)
    if settings.spatial > 0:
        crf.addPairwiseGaussian(sxy=settings.theta_gamma, compat=settings.spatial)
    if settings.bilateral > 0:
        pixels = np.array(image, dtype=np.uint8, order="C")
        crf.addPairwiseBilateral(
            sxy=settings.theta_alpha, srgb=settings.theta_beta, rgbim=pixels, compat=settings.bilateral)

    @spends("crf")
    def marginals(probability: np.ndarray) -> np.ndarray:
        unary = -np.log(np.clip(probability, LEAST, 1.0)).reshape(classes, -1)
        crf.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
        inferred = np.asarray(crf.inference(settings.iterations), dtype=np.float32)
        return inferred.reshape(classes, height, width)

    return marginals


def refine_foreground(image: np.ndarray, foreground: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """The foreground's marginal `(H, W)` given its probability `(H, W)`; rCAM, section 3.4."""
    return dense_crf(image, np.stack([1 - foreground, foreground]), settings)[1]
