"""rCAM_Box (section 4.4): rCAM inside boxes, pasted back by maximum.

In place of a detector the classifier scores candidates: windows of a grid, or boxes around segments.
A box is xmin, ymin, xmax, ymax as shares of the image.
"""
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.data.images import shrunk
from lib.maps.cam import normalise
from lib.metrics.localisation import overlaps
from lib.nets.network import Network
from lib.papers.rcam.method import MAP_SIDE, rcam, to_batch
from lib.papers.rcam.settings import BoxSettings, RcamSettings
from lib.proposals import segments
from lib.proposals.boxes import boxes_around

# Shares of the image's: any two are a window's width and height.
WINDOW_SIDES: tuple[float, ...] = (0.35, 0.5, 0.7, 0.9)
POSITIONS = 7                          # of a window along each axis
WHOLE_IMAGE: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)


def windows() -> Tensor:
    """Class-agnostic windows `(N, 4)`; the whole image is the last one."""
    boxes = []
    for width, height in product(WINDOW_SIDES, WINDOW_SIDES):
        lefts = np.linspace(0, 1 - width, POSITIONS)
        tops = np.linspace(0, 1 - height, POSITIONS)
        for x, y in product(lefts, tops):
            boxes.append((x, y, x + width, y + height))
    return torch.tensor([*boxes, WHOLE_IMAGE])


def around_segments(photo: Image.Image, least_side: float) -> Tensor:
    """Boxes `(N, 4)` around segment proposals; the whole image is the last one.

    Boxes that are alike count once. Small ones are left out, as the classifier is surest of the most
    telling part.
    """
    small = shrunk(photo, segments.SEGMENT_SIDE)
    in_pixels = np.unique(boxes_around(segments.proposals(small)), axis=0)
    boxes = in_pixels / np.array([small.width, small.height] * 2)
    sides = boxes[:, 2:] - boxes[:, :2]
    large = boxes[(sides >= least_side).all(1)]
    around = torch.from_numpy(large).float().reshape(-1, 4)
    return torch.cat([around, torch.tensor([WHOLE_IMAGE])])


def score_windows(features: Tensor, weight: Tensor, bias: Tensor, boxes: Tensor) -> Tensor:
    """The classifier's confidence in each box `(B, N)`: average of the features, linear layer, softmax."""
    height, width = features.shape[2:]
    integral = torch.nn.functional.pad(features.cumsum(2).cumsum(3), (1, 0, 1, 0))
    x0, x1 = _cells(boxes[:, 0], boxes[:, 2], width)
    y0, y1 = _cells(boxes[:, 1], boxes[:, 3], height)
    total = (integral[:, :, y1, x1] - integral[:, :, y0, x1]
             - integral[:, :, y1, x0] + integral[:, :, y0, x0])
    pooled = (total / ((x1 - x0) * (y1 - y0))).transpose(1, 2)   # (B, N, D)
    return (pooled @ weight.T + bias).softmax(2).amax(2)


def choose_boxes(scores: Tensor, boxes: Tensor, settings: BoxSettings) -> list[list[float]]:
    """The boxes of one image that non-maximum suppression keeps, enlarged; the best one always is.

    scores   of the candidates `(N,)`
    boxes    the candidates `(N, 4)`
    """
    scores = scores.cpu()   # chosen one by one: no step of it may wait for a GPU
    candidates = boxes.cpu().numpy()
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        enough = len(kept) == settings.count or scores[i] < settings.least_score
        if kept and enough:
            break
        overlap_with_kept = overlaps(candidates[[i]], candidates[kept]).max(initial=0)
        if overlap_with_kept <= settings.overlap:
            kept.append(i)
    return [_enlarged(candidates[i].tolist(), settings.margin) for i in kept]


@torch.inference_mode()
def rcam_box(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> Tensor:
    """rCAM of every kept box, unweighted, pasted back by maximum: `(B, 1, 224, 224)` in 0..1."""
    boxes_of_images = _kept_boxes(network, photos, settings)
    crops = []
    for photo, boxes in zip(photos, boxes_of_images, strict=True):
        crops += [_crop(photo, box) for box in boxes]
    heats = []
    for start in range(0, len(crops), len(photos)):
        heats.append(rcam(network, crops[start:start + len(photos)], settings).maps["rcam"])
    heats_of_images = torch.cat(heats).split([len(boxes) for boxes in boxes_of_images])
    pasted = [_paste(boxes, maps) for boxes, maps in zip(boxes_of_images, heats_of_images, strict=True)]
    return normalise(torch.stack(pasted))


def _kept_boxes(network: Network, photos: Sequence[Image.Image],
                settings: RcamSettings) -> list[list[list[float]]]:
    """The boxes of each photograph, from one forward pass at the largest input size."""
    pixels = to_batch(photos, settings.sizes[-1]).to(next(network.parameters()).device)
    features = network.activations(pixels, [network.features])[network.features]
    kept = []
    for i, photo in enumerate(photos):
        candidates = _candidates(photo, settings.boxes).to(features.device)
        scores = score_windows(features[i:i + 1], *network.classifier, candidates)[0]
        kept.append(choose_boxes(scores, candidates, settings.boxes))
    return kept


def _candidates(photo: Image.Image, settings: BoxSettings) -> Tensor:
    if settings.source == "proposals":
        return around_segments(photo, settings.least_side)
    return windows()


def _cells(low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first of `count` cells that each interval of shares covers, and the one behind its last."""
    # A thin box at the far border covers the last cell, and no box covers less than one.
    first = (low * count).round().long().clamp(max=count - 1)
    behind = (high * count).round().long().maximum(first + 1)
    return first, behind


def _paste(boxes: Sequence[Sequence[float]], maps: Tensor) -> Tensor:
    """The maps `(N, 1, h, w)` of an image's boxes on one canvas `(1, 224, 224)`; the highest value counts."""
    canvas = torch.zeros(1, MAP_SIDE, MAP_SIDE)
    for (xmin, ymin, xmax, ymax), heat in zip(boxes, maps, strict=True):
        x0, x1 = _map_pixels(xmin, xmax)
        y0, y1 = _map_pixels(ymin, ymax)
        size = (y1 - y0, x1 - x0)
        resized = torch.nn.functional.interpolate(heat[None], size, mode="bilinear", align_corners=False)[0]
        canvas[:, y0:y1, x0:x1] = canvas[:, y0:y1, x0:x1].maximum(resized)
    return canvas


def _map_pixels(low: float, high: float) -> tuple[int, int]:
    """The first pixel of a map that an interval of shares covers, and the one behind its last."""
    first = min(round(low * MAP_SIDE), MAP_SIDE - 1)   # as in `_cells`
    return first, max(round(high * MAP_SIDE), first + 1)


def _crop(photo: Image.Image, box: Sequence[float]) -> Image.Image:
    x0, y0 = int(box[0] * photo.width), int(box[1] * photo.height)
    x1 = max(x0 + 1, round(box[2] * photo.width))
    y1 = max(y0 + 1, round(box[3] * photo.height))
    return photo.crop((x0, y0, x1, y1))


def _enlarged(box: Sequence[float], margin: float) -> list[float]:
    x0, y0, x1, y1 = box
    dx, dy = margin * (x1 - x0) / 2, margin * (y1 - y0) / 2
    return [max(0.0, x0 - dx), max(0.0, y0 - dy), min(1.0, x1 + dx), min(1.0, y1 + dy)]
