"""Where trained networks of CSoA find the object: boxes at every threshold, from one CAM or from the union of both, and the class's rank."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.progress import progress
from lib.data.dataset import Box, Sample
from lib.metrics.localisation import best_overlap, boxes_of, truth_boxes
from lib.papers.csoa.batches import Squares
from lib.papers.csoa.method import binary, own_map, probabilities
from lib.papers.csoa.runs import MAPS, Located
from lib.papers.csoa.two_classifiers import TwoClassifiers


@torch.inference_mode()
def locate(net: TwoClassifiers, samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]], squares: Squares, thresholds: Sequence[float], batch: int,
           label: str, crops: Squares | None = None) -> Located:
    """Maps of the true class at the network's input size, binarised at every threshold (eq. 13), and their boxes (section 4.2).

    Both sides of an image are scaled to the same length; so is its truth, which leaves overlaps as they are. `crops`: larger squares
    to cut ten crops out of, of the size of `squares`.
    """
    device = next(net.parameters()).device
    rank, ten, every, found = [], [], [], {name: [] for name in (MAPS if net.w_f is not None else ("union", "s_l"))}
    for start in progress(range(0, len(samples), batch), label):
        part = samples[start:start + batch]
        classes = torch.tensor([net.classes.index(s.labels[0]) for s in part], device=device)
        s_l, s_f = net(squares.batch(part).to(device, memory_format=torch.channels_last))
        rank += _ranks(probabilities(s_l, s_f), classes)
        ten += [-1] * len(part) if crops is None else _ranks(ten_crop(net, crops.batch(part).to(device), squares.side), classes)
        own = {"s_l": own_map(s_l, classes)} | ({} if s_f is None else {"s_f": own_map(s_f, classes)})
        for place, sample in enumerate(part):
            truth = square_truth(sample, boxes, squares)
            masks = at_thresholds({name: maps[place] for name, maps in own.items()}, squares.side, thresholds)
            for name in found:
                found[name].append([best_overlap(mask, truth, "largest") for mask in masks[name]])
            every.append([best_overlap(mask, truth, "all") for mask in masks["union"]])
    return Located([s.id for s in samples], np.array(rank), np.array(ten), {name: np.array(rows) for name, rows in found.items()}, np.array(every))


def square_truth(sample: Sample, boxes: Mapping[str, Sequence[Box]], squares: Squares) -> np.ndarray:
    """The truth boxes `(M, 4)` in the pixels of the sample's square."""
    size = squares.size_of(sample)
    return truth_boxes(boxes[sample.id], sample.labels[0], size, sample.id) * (squares.side / np.array([*size, *size]))


def ten_crop(net: TwoClassifiers, images: Tensor, side: int) -> Tensor:
    """Class probabilities `(B, K)`, the mean over the crops at the corners and in the middle and over their mirror images (section 4.1)."""
    far = images.shape[-1] - side
    crops = [images[..., y:y + side, x:x + side] for y, x in ((0, 0), (0, far), (far, 0), (far, far), (far // 2, far // 2))]
    return torch.stack([probabilities(*net(view.contiguous(memory_format=torch.channels_last))) for crop in crops for view in (crop, crop.flip(3))]).mean(0)


def at_thresholds(maps: Mapping[str, Tensor], side: int, thresholds: Sequence[float]) -> dict[str, list[np.ndarray]]:
    """eq. 13 at every threshold, of each map `(h, w)` enlarged to a square, and the union of all."""
    large = {name: interpolate(m[None, None].float(), (side, side), mode="bilinear", align_corners=False)[0, 0] for name, m in maps.items()}
    found = {name: [binary(m, threshold).cpu().numpy() for threshold in thresholds] for name, m in large.items()}
    return {"union": [np.logical_or.reduce(masks) for masks in zip(*found.values())]} | found


def _ranks(scores: Tensor, classes: Tensor) -> list[int]:
    """The place of the true class, 0 for the best; of equal scores the first class comes first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    return (order == classes[:, None]).int().argmax(1).tolist()


class Segmented(NamedTuple):
    """Of one photograph: the best class, `heat` `(1, side, side)`, above theta where either map is (eq. 13), and the box in its pixels."""
    name: str
    heat: Tensor
    box: tuple[int, int, int, int] | None


@torch.inference_mode()
def segment(net: TwoClassifiers, photos: Sequence[Image.Image], side: int, theta: float) -> list[Segmented]:
    """The best class of every photograph, which is squeezed to a square as in training."""
    squares = [torch.from_numpy(np.array(photo.resize((side, side), Image.Resampling.BILINEAR))).permute(2, 0, 1) for photo in photos]
    device = next(net.parameters()).device
    s_l, s_f = net(torch.stack(squares).float().div(255).to(device, memory_format=torch.channels_last))
    best = probabilities(s_l, s_f).argmax(1)
    heats = torch.stack([_share(own_map(maps, best), side) for maps in (s_l, s_f) if maps is not None]).amax(0).cpu()
    return [Segmented(net.classes[place], heat[None], _box(heat, theta, photo.size)) for place, heat, photo in zip(best.tolist(), heats, photos)]


def _share(maps: Tensor, side: int) -> Tensor:
    """Maps `(B, h, w)` as a share of their own maximum `(B, side, side)`; 0 where a map is nowhere positive."""
    large = interpolate(maps[:, None].float(), (side, side), mode="bilinear", align_corners=False)[:, 0].clamp(min=0)
    return large / large.amax((1, 2), keepdim=True).clamp(min=1e-9)


def _box(heat: Tensor, theta: float, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    found = boxes_of((heat > theta).numpy(), "largest")
    scale = np.array([*size, *size]) / heat.shape[-1]
    return tuple(int(v) for v in np.rint(found[0] * scale)) if len(found) else None
