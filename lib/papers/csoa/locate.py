"""Where trained networks of CSoA find the object (section 3.2, inference, and 4.2).

In a data set: boxes at every threshold, from one CAM or from the union of both, and the true class's place.
On any photograph: its best class, where that is, and the box around it.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.batch import Sparing
from lib.base.progress import progress
from lib.data.dataset import Box, Sample
from lib.data.images import square_tensor
from lib.data.loading import loaded, to_device
from lib.metrics.localisation import best_overlap, boxes_of, truth_boxes
from lib.papers.csoa.batches import Squares, stacked
from lib.papers.csoa.method import binary, own_map, probabilities, union
from lib.papers.csoa.runs import Located
from lib.papers.csoa.two_classifiers import TwoClassifiers

TruthBoxes = Mapping[str, Sequence[Box]]   # by sample id
Corners = tuple[int, int, int, int]   # xmin, ymin, xmax, ymax in pixels, half-open


@dataclass(frozen=True)
class Search:
    """The photographs that a network is shown, and the truth that its boxes are held against.

    squares      photographs at the network's input size
    boxes        truth boxes by sample id
    thresholds   theta of eq. 13: all that are tried
    batch        images of one forward pass
    crops        larger squares, which ten crops of the size of `squares` are cut out of; None: no ten crops
    """
    squares: Squares
    boxes: TruthBoxes
    thresholds: Sequence[float]
    batch: int
    crops: Squares | None = None

    def keep(self, samples: Sequence[Sample]) -> None:
        """Decode as many photographs as fit into memory, where further processes read."""
        for squares in (self.squares, self.crops):
            if squares is not None:
                squares.keep(samples)

    def batch_of(self, part: Sequence[Sample]) -> tuple[Tensor, Tensor | None]:
        """The images `(B, 3, side, side)` of a forward pass, and the larger ones for ten crops."""
        return self.squares.batch(part), None if self.crops is None else self.crops.batch(part)


@torch.inference_mode()
def locate(net: TwoClassifiers, samples: Sequence[Sample], search: Search, label: str) -> Located:
    """Boxes around maps of the true class at every threshold (eq. 13), and the place of that class.

    Maps are enlarged to the network's input. Both sides of an image are scaled to the same length; so is its
    truth, which leaves overlaps as they are.
    """
    device = next(net.parameters()).device
    rank: list[int] = []
    rank_ten: list[int] = []
    every: list[list[float]] = []
    largest: dict[str, list[list[float]]] = {"union": [], "s_l": []}
    if net.w_f is not None:
        largest["s_f"] = []
    forward = Sparing(net, _together)
    search.keep(samples)
    parts = [samples[start:start + search.batch] for start in range(0, len(samples), search.batch)]
    read = loaded([partial(search.batch_of, part) for part in parts])
    for part, (images, large_images) in zip(parts, progress(read, label, len(parts)), strict=True):
        classes = torch.tensor([net.classes.index(sample.labels[0]) for sample in part], device=device)
        s_l, s_f = forward(to_device(images, device))
        rank += _ranks(probabilities(s_l, s_f), classes)
        rank_ten += _ten_crop_ranks(net, large_images, classes, search.squares.side)
        masks = at_thresholds(own_maps(s_l, s_f, classes), search.squares.side, search.thresholds)
        for place, sample in enumerate(part):
            truth = square_truth(sample, search.boxes, search.squares)
            for name, overlaps in largest.items():
                overlaps.append([best_overlap(mask, truth, "largest") for mask in masks[name][place]])
            every.append([best_overlap(mask, truth, "all") for mask in masks["union"][place]])
    ids = [sample.id for sample in samples]
    by_map = {name: np.array(overlaps) for name, overlaps in largest.items()}
    return Located(ids, np.array(rank), np.array(rank_ten), by_map, np.array(every))


def _together(parts: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """The class maps of the parts of a batch as those of the batch."""
    s_l, s_f = zip(*parts, strict=True)
    return torch.cat(s_l), None if s_f[0] is None else torch.cat(s_f)


def own_maps(s_l: Tensor, s_f: Tensor | None, classes: Tensor) -> dict[str, Tensor]:
    """The maps `(B, h, w)` of each image's class, by classifier."""
    maps = {"s_l": own_map(s_l, classes)}
    if s_f is not None:
        maps["s_f"] = own_map(s_f, classes)
    return maps


def square_truth(sample: Sample, boxes: TruthBoxes, squares: Squares) -> np.ndarray:
    """The truth boxes `(M, 4)` in the pixels of the sample's square."""
    size = squares.size_of(sample)
    truth = truth_boxes(boxes[sample.id], sample.labels[0], size, sample.id)
    return truth * (squares.side / np.array([*size, *size]))


def at_thresholds(maps: Mapping[str, Tensor], side: int,
                  thresholds: Sequence[float]) -> dict[str, np.ndarray]:
    """Masks `(B, T, side, side)` at T thresholds (eq. 13).

    Of each classifier's maps `(B, h, w)`, enlarged to squares, and of their union.
    """
    large = {name: _enlarged(several, side) for name, several in maps.items()}
    masks = {"union": [union(large["s_l"], large.get("s_f"), theta) for theta in thresholds]}
    for name, several in large.items():
        masks[name] = [binary(several, theta) for theta in thresholds]
    return {name: torch.stack(those, 1).cpu().numpy() for name, those in masks.items()}


def ten_crop(net: TwoClassifiers, images: Tensor, side: int) -> Tensor:
    """Class probabilities `(B, K)`, the mean over ten crops (section 4.1).

    They are those at the corners and in the middle, and their mirror images.
    """
    far = images.shape[-1] - side
    views = []
    for y, x in ((0, 0), (0, far), (far, 0), (far, far), (far // 2, far // 2)):
        crop = images[..., y:y + side, x:x + side]
        for view in (crop, crop.flip(3)):
            views.append(probabilities(*net(view.contiguous(memory_format=torch.channels_last))))
    return torch.stack(views).mean(0)


def _ten_crop_ranks(net: TwoClassifiers, images: Tensor | None, classes: Tensor, side: int) -> list[int]:
    if images is None:
        return [-1] * len(classes)
    return _ranks(ten_crop(net, to_device(images, classes.device), side), classes)


def _ranks(scores: Tensor, classes: Tensor) -> list[int]:
    """The place of the true class, 0 for the best; of equal scores the first class comes first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    return (order == classes[:, None]).int().argmax(1).tolist()


def _enlarged(maps: Tensor, side: int) -> Tensor:
    """Maps `(B, h, w)` at the side of a square."""
    return interpolate(maps[:, None].float(), (side, side), mode="bilinear", align_corners=False)[:, 0]


class Segmented(NamedTuple):
    """The best class of one photograph, and where it is.

    heat   `(1, side, side)`, above theta where either map is (eq. 13)
    box    around the largest piece of that, in the photograph's pixels; None where there is nothing
    """
    name: str
    heat: Tensor
    box: Corners | None


@torch.inference_mode()
def segment(net: TwoClassifiers, photos: Sequence[Image.Image], side: int, theta: float) -> list[Segmented]:
    """The best class of every photograph, which is squeezed to a square as in training."""
    device = next(net.parameters()).device
    images = stacked([square_tensor(photo, side) for photo in photos])
    best, heats = best_maps(net, to_device(images, device))
    segmented = []
    for number, heat, photo in zip(best.tolist(), heats.cpu(), photos, strict=True):
        segmented.append(Segmented(net.classes[number], heat[None], _box(heat, theta, photo.size)))
    return segmented


def best_maps(net: TwoClassifiers, images: Tensor) -> tuple[Tensor, Tensor]:
    """The best class of every image `(B,)`, and its heat `(B, side, side)`: the higher of its two maps."""
    s_l, s_f = net(images)
    best = probabilities(s_l, s_f).argmax(1)
    shares = [_share(maps, images.shape[-1]) for maps in own_maps(s_l, s_f, best).values()]
    return best, torch.stack(shares).amax(0)


def _share(maps: Tensor, side: int) -> Tensor:
    """Maps as a share of their own maximum `(B, side, side)`; 0 where a map is nowhere positive."""
    large = _enlarged(maps, side).clamp(min=0)
    return large / large.amax((1, 2), keepdim=True).clamp(min=1e-9)


def _box(heat: Tensor, theta: float, size: tuple[int, int]) -> Corners | None:
    boxes = boxes_of((heat > theta).numpy(), "largest")
    if not len(boxes):
        return None
    scale = np.array([*size, *size]) / heat.shape[-1]
    xmin, ymin, xmax, ymax = (int(edge) for edge in np.rint(boxes[0] * scale))
    return xmin, ymin, xmax, ymax
