"""The poster's three methods: FCN + GBP, FCN + MCG, ZOF + GBP.

The poster is "Weakly-Supervised Segmentation by Combining CNN Feature Maps and Object Saliency Maps". Its
steps: recognise the image; back-propagate for each detected class (DCSM's maps, given here); class
probability maps from the network's output (FCN) or from superpixels (ZOF); unify the two by image-level prior
and thresholds; CRF.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.problem import Problem
from lib.papers.dcsm.method import with_background
from lib.papers.fcn_gbp.settings import FcnGbpSettings
from lib.refine.crf import dense_crf
from lib.refine.superpixels import paint


@dataclass(frozen=True)
class Detected:
    """The classes of one image, and maps that enhance those that were detected.

    probability   of every class in the image `(K,)`
    kept          the numbers of the T detected classes
    saliency      a map for each of them `(T, h, w)`
    """
    probability: Tensor
    kept: Sequence[int]
    saliency: Tensor


@dataclass(frozen=True)
class Superpixels:
    """The superpixels of one image: labels `(H, W)` from 0, and the class probabilities `(R, K)` of each."""
    labels: np.ndarray
    probability: np.ndarray


def fcn_gbp(photo: Image.Image, score_maps: Tensor, detected: Detected,
            settings: FcnGbpSettings) -> np.ndarray:
    """FCN + GBP: labels `(H, W)` uint8, 0 for the background, else class number + 1.

    score_maps   of all classes `(K, h, w)`, from the forward pass
    detected     with class-specific saliency by guided backpropagation
    """
    _check(len(score_maps), detected)
    return _label(photo, score_maps[list(detected.kept)].sigmoid(), detected, settings)


def fcn_mcg(photo: Image.Image, score_maps: Tensor, probability: Tensor, objectness: np.ndarray,
            settings: FcnGbpSettings) -> np.ndarray:
    """FCN + MCG: labels as of `fcn_gbp`, enhanced by one class-agnostic map; any class may be kept.

    probability   of every class in the image `(K,)`
    objectness    `(h, w)`, in place of saliency
    """
    classes = range(len(score_maps))
    alike = torch.as_tensor(objectness).expand(len(classes), *objectness.shape)
    detected = Detected(probability, classes, alike)
    _check(len(score_maps), detected)
    return _label(photo, score_maps.sigmoid(), detected, settings)


def zof_gbp(photo: Image.Image, superpixels: Superpixels, detected: Detected,
            settings: FcnGbpSettings) -> np.ndarray:
    """ZOF + GBP: labels as of `fcn_gbp`, class maps painted from superpixels."""
    _check(superpixels.probability.shape[1], detected)
    of_kept = superpixels.probability[:, list(detected.kept)]
    class_maps = torch.from_numpy(paint(of_kept, superpixels.labels)).to(detected.saliency)
    return _label(photo, class_maps, detected, settings)


def image_level_prior(class_maps: Tensor, probability: Tensor, threshold: float) -> Tensor:
    """Each pixel's class probability `(K, h, w)` times the image's `(K,)`; zero for classes not present."""
    of_present = torch.where(present(probability, threshold), probability, 0)
    return class_maps * of_present[:, None, None]


def present(probability: Tensor, threshold: float) -> Tensor:
    """The classes at the threshold or above, and in any case the best one: `(K,)` bool."""
    best = torch.arange(len(probability), device=probability.device) == probability.argmax()
    return (probability >= threshold) | best


def chosen_classes(probability: Tensor, threshold: float) -> list[int]:
    """The places of the classes that are present."""
    return present(probability, threshold).nonzero()[:, 0].tolist()


def enhance(class_map: Tensor, saliency: Tensor, how: Literal["product", "geometric"]) -> Tensor:
    """The product, or the geometric mean, of class maps and saliency of one size, both at least 0."""
    product = class_map * saliency
    return product if how == "product" else product.sqrt()


def foreground(enhanced: Tensor, settings: FcnGbpSettings) -> Tensor:
    """Probabilities `(K, H, W)`: enhanced maps over their maximum, zero below the threshold, tanh(alpha x).

    Over each class's own maximum, the factor of the image-level prior would cancel; over the image's, weaker
    classes stay weaker.
    """
    highest = enhanced.amax() if settings.maximum == "image" else enhanced.amax((1, 2), keepdim=True)
    share = enhanced / highest.clamp(min=1e-12)
    return (settings.alpha * torch.where(share >= settings.least_map, share, 0)).tanh()


@torch.inference_mode()
def _label(photo: Image.Image, class_maps: Tensor, detected: Detected,
           settings: FcnGbpSettings) -> np.ndarray:
    """Labels from maps of the kept classes: those that are present compete with the background; CRF."""
    chosen = chosen_classes(detected.probability[list(detected.kept)], settings.least_probability)
    maps = unified(class_maps, detected, chosen, (photo.height, photo.width), settings)
    competing = with_background(maps.cpu().numpy())
    winner = dense_crf(np.asarray(photo.convert("RGB")), competing, settings.crf).argmax(0)
    labels = [0, *(detected.kept[place] + 1 for place in chosen)]
    return np.array(labels, dtype=np.uint8)[winner]


@torch.inference_mode()
def unified(class_maps: Tensor, detected: Detected, chosen: Sequence[int], size: tuple[int, int],
            settings: FcnGbpSettings) -> Tensor:
    """Foreground maps `(C, *size)` of the `chosen` among the kept classes, on the device of the class maps.

    Image-level prior, enhancement by the saliency, threshold.
    """
    probability = detected.probability[list(detected.kept)]
    prior = image_level_prior(class_maps, probability.to(class_maps), settings.least_probability)
    saliency = _full_size(detected.saliency.to(class_maps)[list(chosen)], size).clamp(min=0)
    enhanced = enhance(_full_size(prior[list(chosen)], size), saliency, settings.enhance)
    return foreground(enhanced, settings).float()


def _full_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear enlargement of `(K, h, w)`."""
    return interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def _check(classes: int, detected: Detected) -> None:
    probabilities, maps = len(detected.probability), len(detected.saliency)
    kept = list(detected.kept)
    if not kept:
        raise Problem("No class is kept in this image; keep at least the best one.")
    in_range = 0 <= min(kept) <= max(kept) < classes
    if classes != probabilities or maps != len(kept) or not in_range:
        raise Problem(f"{classes} class maps, {probabilities} probabilities and {maps} saliency maps for the "
                      f"classes {kept} do not fit together; give maps and probabilities of all classes, "
                      "saliency of those kept.")
