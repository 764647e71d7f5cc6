"""The poster "Weakly-Supervised Segmentation by Combining CNN Feature Maps and Object Saliency Maps": FCN + GBP, FCN + MCG, ZOF + GBP.

Its steps: recognise the image; back-propagate for each detected class (DCSM's maps, given here); class probability maps from the
network's output (FCN) or from superpixels (ZOF); unify the two by image-level prior and thresholds; CRF."""
from collections.abc import Sequence
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


def fcn_gbp(photo: Image.Image, score_maps: Tensor, probability: Tensor, saliency: Tensor, kept: Sequence[int],
            settings: FcnGbpSettings) -> np.ndarray:
    """Labels `(H, W)` uint8 (0 background, else class index + 1) from FCN score maps `(K, h, w)`, the classes' image-level
    probability `(K,)`, and class-specific saliency `(T, h', w')` of the T detected classes `kept`."""
    _check(len(score_maps), probability, saliency, kept)
    return _label(photo, score_maps[list(kept)].sigmoid(), probability, saliency, kept, settings)


def fcn_mcg(photo: Image.Image, score_maps: Tensor, probability: Tensor, objectness: Tensor | np.ndarray, settings: FcnGbpSettings) -> np.ndarray:
    """As `fcn_gbp`, one class-agnostic objectness map `(h', w')` in place of saliency; any class may be kept."""
    classes = range(len(score_maps))
    same = torch.as_tensor(objectness).expand(len(classes), *objectness.shape)
    _check(len(score_maps), probability, same, classes)
    return _label(photo, score_maps.sigmoid(), probability, same, classes, settings)


def zof_gbp(photo: Image.Image, labels: np.ndarray, superpixel_probability: np.ndarray, probability: Tensor, saliency: Tensor,
            kept: Sequence[int], settings: FcnGbpSettings) -> np.ndarray:
    """As `fcn_gbp`, class maps painted from superpixels: their labels `(H, W)` and class probabilities `(R, K)` by mi-SVM."""
    _check(superpixel_probability.shape[1], probability, saliency, kept)
    class_maps = torch.from_numpy(paint(superpixel_probability[:, list(kept)], labels)).to(saliency)
    return _label(photo, class_maps, probability, saliency, kept, settings)


def image_level_prior(class_maps: Tensor, probability: Tensor, threshold: float) -> Tensor:
    """Each pixel's class probability `(K, h, w)` times the image's `(K,)`; zero for classes below the threshold, the best one excepted."""
    return class_maps * torch.where(present(probability, threshold), probability, 0)[:, None, None]


def present(probability: Tensor, threshold: float) -> Tensor:
    """`(K,)` bool: the classes at the threshold or above, and in any case the best one."""
    best = torch.arange(len(probability), device=probability.device) == probability.argmax()
    return (probability >= threshold) | best


def enhance(class_map: Tensor, saliency: Tensor, how: Literal["product", "geometric"]) -> Tensor:
    """Class maps and saliency of one size, both at least 0: their product, or their geometric mean."""
    product = class_map * saliency
    return product if how == "product" else product.sqrt()


def foreground(enhanced: Tensor, settings: FcnGbpSettings) -> Tensor:
    """Probabilities `(K, H, W)` from enhanced maps: over their maximum, zero below the threshold, tanh(alpha x).

    Over each class's own maximum, the factor of the image-level prior would cancel; over the image's, weaker classes stay weaker."""
    highest = enhanced.amax() if settings.maximum == "image" else enhanced.amax((1, 2), keepdim=True)
    share = enhanced / highest.clamp(min=1e-12)
    return (settings.alpha * torch.where(share >= settings.least_map, share, 0)).tanh()


@torch.inference_mode()
def _label(photo: Image.Image, class_maps: Tensor, probability: Tensor, saliency: Tensor, kept: Sequence[int],
           settings: FcnGbpSettings) -> np.ndarray:
    """What the three methods share, on maps of the classes `kept`: image-level prior, enhancement, threshold, background, CRF."""
    size, probability = (photo.height, photo.width), probability[list(kept)].to(class_maps)
    chosen = present(probability, settings.least_probability)
    prior = image_level_prior(class_maps, probability, settings.least_probability)[chosen]
    enhanced = enhance(_full_size(prior, size), _full_size(saliency.to(class_maps)[chosen], size).clamp(min=0), settings.enhance)
    competing = with_background(foreground(enhanced, settings).float().cpu().numpy())
    winner = dense_crf(np.asarray(photo.convert("RGB")), competing, settings.crf).argmax(0)
    names = [0] + [k + 1 for k, is_chosen in zip(kept, chosen.tolist()) if is_chosen]
    return np.array(names, dtype=np.uint8)[winner]


def _full_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear enlargement of `(K, h, w)`."""
    return interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def _check(classes: int, probability: Tensor, saliency: Tensor, kept: Sequence[int]) -> None:
    if not len(kept):
        raise Problem("No class is kept in this image; keep at least the best one.")
    if classes != len(probability) or len(saliency) != len(kept) or not 0 <= min(kept) <= max(kept) < classes:
        raise Problem(f"{classes} class maps, {len(probability)} probabilities and {len(saliency)} saliency maps for the classes "
                      f"{list(kept)} do not fit together; give maps and probabilities of all classes, saliency of those kept.")
