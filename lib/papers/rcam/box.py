"""rCAM_Box (section 4.4): rCAM inside boxes, pasted back by maximum. In place of a detector the classifier scores windows or segments' boxes."""
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.data.images import shrunk
from lib.maps.cam import normalise
from lib.nets.network import Network
from lib.papers.rcam.method import SIDE, rcam, to_batch
from lib.papers.rcam.settings import BoxSettings, RcamSettings
from lib.proposals.boxes import boxes_around
from lib.proposals.segments import SEGMENT_SIDE as SEGMENTS, proposals

SIZES, STEPS = (0.35, 0.5, 0.7, 0.9), 7   # window sides as shares of the image (every pair of them), positions along each axis


def windows() -> Tensor:
    """Class-agnostic windows `(N, 4)`: xmin, ymin, xmax, ymax as shares of the image; the whole image is the last one."""
    found = [(x, y, x + w, y + h) for w, h in product(SIZES, SIZES) for x, y in product(np.linspace(0, 1 - w, STEPS), np.linspace(0, 1 - h, STEPS))]
    return torch.tensor(found + [(0.0, 0.0, 1.0, 1.0)])


def around_segments(photo: Image.Image, least_side: float) -> Tensor:
    """Boxes `(N, 4)` around segment proposals, as shares of the image; the whole image is the last one. Boxes that are alike count once.

    Small ones are left out: the classifier is surest of the most telling part.
    """
    small = shrunk(photo, SEGMENTS)
    boxes = np.unique(boxes_around(proposals(small)), axis=0) / np.array([small.width, small.height] * 2)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= least_side).all(1)]
    return torch.cat([torch.from_numpy(boxes).float().reshape(-1, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])])


def score_windows(features: Tensor, weight: Tensor, bias: Tensor, boxes: Tensor) -> Tensor:
    """The classifier's confidence in each window `(B, N)`: its features averaged (integral image), the linear layer, softmax."""
    height, width = features.shape[2:]
    integral = torch.nn.functional.pad(features.cumsum(2).cumsum(3), (1, 0, 1, 0))
    x0, y0, x1, y1 = ((boxes[:, i] * n).round().long() for i, n in enumerate((width, height, width, height)))
    x0, y0 = x0.clamp(max=width - 1), y0.clamp(max=height - 1)   # a thin box at the border covers its last cell
    x1, y1 = x1.maximum(x0 + 1), y1.maximum(y0 + 1)
    total = integral[:, :, y1, x1] - integral[:, :, y0, x1] - integral[:, :, y1, x0] + integral[:, :, y0, x0]
    pooled = (total / ((x1 - x0) * (y1 - y0))).transpose(1, 2)   # (B, N, D)
    return (pooled @ weight.T + bias).softmax(2).amax(2)


def choose_boxes(scores: Tensor, boxes: Tensor, settings: BoxSettings) -> list[list[float]]:
    """Greedy non-maximum suppression of one image's windows `(N,)`; the best window is always kept."""
    kept: list[Tensor] = []
    for i in scores.argsort(descending=True, stable=True):
        if kept and (len(kept) == settings.count or scores[i] < settings.least_score):
            break
        if all(_overlap(boxes[i], k) <= settings.overlap for k in kept):
            kept.append(boxes[i])
    return [_enlarged(box, settings.margin) for box in kept]


@torch.inference_mode()
def rcam_box(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> Tensor:
    """rCAM of every kept window, weighted by nothing and pasted back by maximum: `(B, 1, 224, 224)` in 0..1."""
    pixels = to_batch(photos, settings.sizes[-1]).to(next(network.parameters()).device)
    features = network.activations(pixels, [network.features])[network.features]
    chosen = []
    for photo, seen in zip(photos, features):
        candidates = (around_segments(photo, settings.boxes.least_side) if settings.boxes.source == "proposals" else windows()).to(features.device)
        chosen.append(choose_boxes(score_windows(seen[None], *network.classifier, candidates)[0], candidates, settings.boxes))
    crops = [_crop(photo, box) for photo, boxes in zip(photos, chosen) for box in boxes]
    maps = iter(torch.cat([rcam(network, crops[i:i + len(photos)], settings).maps["rcam"] for i in range(0, len(crops), len(photos))]))
    return normalise(torch.stack([_paste([(box, next(maps)) for box in boxes]) for boxes in chosen]))


def _paste(parts: list[tuple[list[float], Tensor]]) -> Tensor:
    canvas = torch.zeros(1, SIDE, SIDE)
    for box, heat in parts:
        x0, y0, x1, y1 = (round(v * SIDE) for v in box)
        x0, y0 = min(x0, SIDE - 1), min(y0, SIDE - 1)
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        resized = torch.nn.functional.interpolate(heat[None], (y1 - y0, x1 - x0), mode="bilinear", align_corners=False)[0]
        canvas[:, y0:y1, x0:x1] = canvas[:, y0:y1, x0:x1].maximum(resized)
    return canvas


def _crop(photo: Image.Image, box: list[float]) -> Image.Image:
    x0, y0 = int(box[0] * photo.width), int(box[1] * photo.height)
    return photo.crop((x0, y0, max(x0 + 1, round(box[2] * photo.width)), max(y0 + 1, round(box[3] * photo.height))))


def _enlarged(box: Tensor, margin: float) -> list[float]:
    x0, y0, x1, y1 = box.tolist()
    dx, dy = margin * (x1 - x0) / 2, margin * (y1 - y0) / 2
    return [max(0.0, x0 - dx), max(0.0, y0 - dy), min(1.0, x1 + dx), min(1.0, y1 + dy)]


def _overlap(a: Tensor, b: Tensor) -> float:
    """Intersection over union."""
    side = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0)
    area = [(box[2:] - box[:2]).prod() for box in (a, b)]
    return float(side.prod() / (area[0] + area[1] - side.prod()))
