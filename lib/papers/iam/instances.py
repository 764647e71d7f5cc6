"""Instance masks of one image by every method of IAM's table 1, the most confident first.

Two masks of a class may not be the same object.
"""
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import label
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.images import shrunk
from lib.metrics.localisation import NEIGHBOURS, boxes_of
from lib.papers.iam.method import ClassifierOutput, class_responses, refined, unsquared
from lib.papers.iam.prm import retrieve, suppressed
from lib.papers.iam.settings import IamSettings
from lib.proposals.boxes import best_proposal, boxes_around, ellipse, rectangle
from lib.refine.crf import crf_of
from lib.refine.settings import ConvCrfSettings, CrfSettings

REFINED_SIDE = 250          # longest side in pixels on which masks are refined and compared, as of proposals
NOT_A_PEAK = float("inf")   # value of a mask that comes from a box
# Photograph, maps (P, m, m) -> foreground probabilities (P, h, w).
Refine = Callable[[Image.Image, Tensor], Tensor]


@dataclass(frozen=True)
class InstanceMasks:
    """Masks `(R, H, W)` bool of an image's own size, with classes and confidences `(R,)`.

    `values` `(R,)` are those of the peaks that the masks come from.
    """
    masks: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class ClassBoxes:
    """Boxes `(R, 4)` of an image with classes and confidences `(R,)`."""
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def prm_instances(output: ClassifierOutput, proposals: np.ndarray, shape: tuple[int, int],
                  settings: IamSettings) -> InstanceMasks:
    """PRM: for each peak the proposal that fits best; the map of the peak's class tells background."""
    masks = torch.from_numpy(proposals)
    small = masks.shape[1:]
    prms = unsquared(output.prms.cpu(), *small)
    best = retrieve(prms, output.peaks.label.cpu(), output.confidences.cpu(), masks, settings.retrieval,
                    class_responses(output, small))
    values = output.peaks.value.cpu()[best.peaks]
    return InstanceMasks(enlarged(best.masks, shape), best.classes.numpy(), best.scores.numpy(),
                         values.numpy())


def iam_instances(photo: Image.Image, output: ClassifierOutput, maps: Tensor, settings: IamSettings,
                  refine: Refine) -> InstanceMasks:
    """IAM: each peak's activation map `(P, m, m)`, refined and cut at `level`."""
    return cut_instances(photo, output, refine(photo, maps), settings)


def cut_instances(photo: Image.Image, output: ClassifierOutput, foreground: Tensor,
                  settings: IamSettings) -> InstanceMasks:
    """Masks from refined maps `(P, h, w)`, one a peak, cut at `level`.

    Of masks of a class that overlap the less confident goes.
    """
    foreground = foreground.cpu()
    small_masks = foreground >= settings.level
    peaks = small_masks.flatten(1).any(1).nonzero()[:, 0]
    classes = output.peaks.label.cpu()
    confidences = output.confidences.cpu()
    kept = peaks[suppressed(small_masks[peaks], classes[peaks], confidences[peaks], settings.retrieval.nms)]
    large = _at_size(foreground[kept], (photo.height, photo.width))
    values = output.peaks.value.cpu()[kept]
    return InstanceMasks((large >= settings.level).numpy(), classes[kept].numpy(), confidences[kept].numpy(),
                         values.numpy())


def by_convcrf(crf: ConvCrfSettings) -> Refine:
    """The paper's refinement."""
    return partial(refined, crf=crf, side=REFINED_SIDE)


def unrefined(photo: Image.Image, maps: Tensor) -> Tensor:
    """Activation maps as they are."""
    return unsquared(maps, photo.height, photo.width)


def by_dense_crf(settings: CrfSettings) -> Refine:
    """The dense CRF instead, at the same size."""
    return partial(_densely_refined, settings=settings)


def _densely_refined(photo: Image.Image, maps: Tensor, settings: CrfSettings) -> Tensor:
    small = shrunk(photo, REFINED_SIDE)
    crf = crf_of(np.asarray(small), 2, settings)
    parts = []
    for probability in unsquared(maps, small.height, small.width).cpu().numpy():
        background_and_object = np.stack([1 - probability, probability])
        parts.append(crf(background_and_object)[1])
    if not parts:
        return torch.zeros(0, small.height, small.width)
    return torch.from_numpy(np.stack(parts))


def box_instances(boxed: ClassBoxes, proposals: np.ndarray,
                  shape: tuple[int, int]) -> dict[str, InstanceMasks]:
    """Masks by the three ways from boxes (table 1): rectangle, ellipse, the proposal whose own box fits best.

    The proposals are not MCG's here, as the paper's are; the row is named as there.
    """
    scale = np.array([proposals.shape[2] / shape[1], proposals.shape[1] / shape[0]] * 2)
    around = boxes_around(proposals)
    best = [best_proposal(box * scale, proposals, around) for box in boxed.boxes]
    small = torch.from_numpy(np.array(best, dtype=bool).reshape(-1, *proposals.shape[1:]))
    masks = {"rect": [rectangle(box, shape) for box in boxed.boxes],
             "ellipse": [ellipse(box, shape) for box in boxed.boxes],
             "mcg": list(enlarged(small, shape))}
    values = np.full(len(boxed.boxes), NOT_A_PEAK)
    by_way = {}
    for way, some in masks.items():
        stacked = np.array(some, dtype=bool).reshape(-1, *shape)
        by_way[way] = InstanceMasks(stacked, boxed.classes, boxed.scores, values)
    return by_way


def cam_boxes(output: ClassifierOutput, shape: tuple[int, int], share: float) -> ClassBoxes:
    """Boxes around what exceeds a share of a class map's maximum, one a piece, of the classes that are there.

    Confidence: the probability of the class, times the piece's highest value as a share of the map's.
    """
    boxes = []
    classes = []
    scores = []
    is_there = (output.scores[0] > 0) & (output.class_maps[0].amax((1, 2)) > 0)
    for k in is_there.nonzero()[:, 0].tolist():
        heat = unsquared(output.class_maps[0, k:k + 1].cpu(), *shape)[0].clamp(min=0).numpy()
        heat /= max(float(heat.max()), 1e-12)
        probability = float(output.scores[0, k].sigmoid())
        pieces, _ = label(heat > share, structure=NEIGHBOURS)   # numbered in the order of their boxes
        for number, box in enumerate(boxes_of(heat > share, "all"), start=1):
            boxes.append(box)
            classes.append(k)
            scores.append(probability * float(heat[pieces == number].max()))
    return ClassBoxes(np.array(boxes, dtype=int).reshape(-1, 4), np.array(classes, dtype=int),
                      np.array(scores))


def truth_boxes(numbers: np.ndarray, classes: dict[int, int]) -> ClassBoxes:
    """Boxes around the objects of an instance mask, their classes, and confidences that are all alike."""
    masks = np.array([numbers == number for number in classes]).reshape(-1, *numbers.shape)
    labels = np.array(list(classes.values()), dtype=int)
    return ClassBoxes(boxes_around(masks), labels, np.ones(len(classes)))


def enlarged(masks: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """Masks `(R, h, w)` bool at another size, `(R, *shape)`: of each pixel the nearest."""
    if not len(masks):
        return np.zeros((0, *shape), dtype=bool)
    return interpolate(masks[:, None].to(torch.uint8), shape, mode="nearest-exact")[:, 0].bool().numpy()


def _at_size(foreground: Tensor, shape: tuple[int, int]) -> Tensor:
    if not len(foreground):
        return foreground.new_zeros(0, *shape)
    return interpolate(foreground[:, None], shape, mode="bilinear", align_corners=False)[:, 0]
