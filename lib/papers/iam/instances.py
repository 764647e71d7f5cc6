"""Instance masks of one image by every method of IAM's table 1, the most confident first; two masks of a class may not be the same object."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import label
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.images import shrunk
from lib.metrics.localisation import NEIGHBOURS, boxes_of
from lib.papers.iam.method import Seen, refined, responses, unsquared
from lib.papers.iam.prm import retrieve, suppressed
from lib.papers.iam.settings import IamSettings
from lib.proposals.boxes import best_proposal, boxes_around, ellipse, rectangle
from lib.refine.crf import crf_of
from lib.refine.settings import ConvCrfSettings, CrfSettings

SIDE = 250                    # longest side, in pixels, on which masks are refined and told apart; proposals have it too
NOT_A_PEAK = float("inf")     # value of a mask that comes from a box
Refine = Callable[[Image.Image, Tensor], Tensor]   # photograph, maps (P, m, m) -> foreground probabilities (P, h, w)


@dataclass(frozen=True)
class Found:
    """Masks `(R, H, W)` bool of an image's own size, with classes, confidences and the values of the peaks they come from `(R,)`."""
    masks: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    values: np.ndarray


def prm_instances(seen: Seen, proposals: np.ndarray, shape: tuple[int, int], settings: IamSettings) -> Found:
    """PRM: for each peak the proposal that fits best; what tells background is the map of the peak's class."""
    masks, peaks = torch.from_numpy(proposals), seen.peaks
    small = masks.shape[1:]
    found = retrieve(unsquared(seen.prms.cpu(), *small), peaks.label.cpu(), seen.confidences.cpu(), masks, settings.retrieval,
                     responses(seen, small))
    return Found(enlarged(found.masks, shape), found.classes.numpy(), found.scores.numpy(), peaks.value.cpu()[found.peaks].numpy())


def iam_instances(photo: Image.Image, seen: Seen, maps: Tensor, settings: IamSettings, refine: Refine) -> Found:
    """IAM: each peak's activation map `(P, m, m)`, refined and cut at `level`; of masks of a class that overlap the less confident goes."""
    foreground = refine(photo, maps).cpu()
    masks = foreground >= settings.level
    peaks = masks.flatten(1).any(1).nonzero()[:, 0]
    classes, confidences = seen.peaks.label.cpu()[peaks], seen.confidences.cpu()[peaks]
    kept = peaks[suppressed(masks[peaks], classes, confidences, settings.retrieval.nms)]
    large = interpolate(foreground[kept][:, None], (photo.height, photo.width), mode="bilinear", align_corners=False)[:, 0] if len(kept) else masks[kept]
    shape = (len(kept), photo.height, photo.width)
    return Found((large >= settings.level).numpy().reshape(shape), seen.peaks.label.cpu()[kept].numpy(), seen.confidences.cpu()[kept].numpy(),
                 seen.peaks.value.cpu()[kept].numpy())


def by_convcrf(crf: ConvCrfSettings) -> Refine:
    """The paper's refinement."""
    return lambda photo, maps: refined(photo, maps, crf, SIDE)


def unrefined(photo: Image.Image, maps: Tensor) -> Tensor:
    """Activation maps as they are."""
    return unsquared(maps, photo.height, photo.width)


def by_dense_crf(settings: CrfSettings) -> Refine:
    """The dense CRF instead, at the same size."""
    def refine(photo: Image.Image, maps: Tensor) -> Tensor:
        small = shrunk(photo, SIDE)
        crf = crf_of(np.asarray(small), 2, settings)
        probability = unsquared(maps, small.height, small.width).cpu().numpy()
        parts = [crf(np.stack([1 - p, p]))[1] for p in probability]
        return torch.from_numpy(np.stack(parts)) if parts else torch.zeros(0, small.height, small.width)
    return refine


def box_instances(boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, proposals: np.ndarray, shape: tuple[int, int]) -> dict[str, Found]:
    """The three ways from boxes `(R, 4)` to masks (table 1): rectangle, ellipse, and the proposal whose own box fits best (here not MCG's)."""
    scale = np.array([proposals.shape[2] / shape[1], proposals.shape[1] / shape[0]] * 2)
    around = boxes_around(proposals)
    small = [best_proposal(box * scale, proposals, around) for box in boxes]
    masks = {"rect": [rectangle(box, shape) for box in boxes], "ellipse": [ellipse(box, shape) for box in boxes],
             "mcg": list(enlarged(torch.from_numpy(np.array(small, dtype=bool).reshape(-1, *proposals.shape[1:])), shape))}
    values = np.full(len(boxes), NOT_A_PEAK)
    return {name: Found(np.array(some, dtype=bool).reshape(-1, *shape), classes, scores, values) for name, some in masks.items()}


def cam_boxes(seen: Seen, shape: tuple[int, int], share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes `(R, 4)` around what exceeds a share of a class map's maximum, one for each piece, of the classes that are there; classes and
    confidences `(R,)`: the probability of the class, times the piece's highest value as a share of the map's."""
    boxes, classes, scores = [], [], []
    for k in ((seen.scores[0] > 0) & (seen.maps[0].amax((1, 2)) > 0)).nonzero()[:, 0].tolist():
        heat = unsquared(seen.maps[0, k:k + 1].cpu(), *shape)[0].clamp(min=0).numpy()
        heat /= max(float(heat.max()), 1e-12)
        pieces, _ = label(heat > share, structure=NEIGHBOURS)   # numbered in the order of their boxes
        for number, box in enumerate(boxes_of(heat > share, "all"), start=1):
            boxes.append(box)
            classes.append(k)
            scores.append(float(seen.scores[0, k].sigmoid()) * float(heat[pieces == number].max()))
    return np.array(boxes, dtype=int).reshape(-1, 4), np.array(classes, dtype=int), np.array(scores)


def truth_boxes(numbers: np.ndarray, classes: dict[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes around the objects of an instance mask, their classes, and confidences that are all alike."""
    masks = np.array([numbers == number for number in classes]).reshape(-1, *numbers.shape)
    return boxes_around(masks), np.array(list(classes.values()), dtype=int), np.ones(len(classes))


def enlarged(masks: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """Masks `(R, h, w)` bool at another size, `(R, *shape)`: of each pixel the nearest."""
    if not len(masks):
        return np.zeros((0, *shape), dtype=bool)
    return interpolate(masks[:, None].to(torch.uint8), shape, mode="nearest-exact")[:, 0].bool().numpy()
