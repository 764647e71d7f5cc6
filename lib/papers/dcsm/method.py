"""Distinct class-specific saliency maps (Shimoda & Yanai, ECCV 2016), section 3.

From a photograph and a trained multi-label network to a segmentation.
"""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.parallel import device
from lib.base.problem import Problem
from lib.maps.backprop import Traced, trace
from lib.maps.cam import each_maximum_is_one
from lib.metrics.multilabel import PRESENT
from lib.nets.fcn import Fcn, load_fcn
from lib.nets.fold import fold_normalisation
from lib.papers.dcsm.blocks import blocks, layers
from lib.papers.dcsm.settings import BASE, DcsmSettings
from lib.refine.crf import dense_crf

MULTIPLE = 32     # sides of network inputs
DEMO_SLOPE = 3.0  # tanh(3x), twice, in the authors' code


class Candidates(NamedTuple):
    """Class numbers, best first; the first `kept` of them are the targets that may appear in the result."""
    order: list[int]
    kept: int

    @property
    def targets(self) -> list[int]:
        """The classes that may appear in the result."""
        return self.order[:self.kept]


@dataclass(frozen=True)
class RawMaps:
    """M of one image before the subtraction: (scale, layer) -> `(C, h, w)`.

    C are the candidates in their order; the strongest value of all classes is 1. `size` is the image's width
    and height.
    """
    maps: Mapping[tuple[int, str], Tensor]
    candidates: Candidates
    size: tuple[int, int]


@dataclass(frozen=True)
class Segmentation:
    """The result for one image: maps M^ `(T, H, W)` of the target classes, and label maps `(H, W)`.

    The label of the background is 0, that of a class its number + 1.
    """
    maps: np.ndarray
    targets: list[int]
    labels_no_crf: np.ndarray
    labels: np.ndarray


def dcsm(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int = BASE) -> Segmentation:
    """The whole method on one photograph."""
    return segment(photo, raw_maps(fcn, photo, settings, side), settings, blocks(fcn.trunk))


def load_folded(weights: Path, network: str | None = None) -> Fcn:
    """A trained network, its batch normalisation folded into the convolutions, on this process's device.

    `network` is the trunk that the caller counts on; weights of another one are refused.
    """
    return fold_normalisation(load_fcn(weights, network)).to(device())


# Raw maps (section 3.3)

def raw_maps(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int = BASE) -> RawMaps:
    """All scales of one image: one forward pass each, then a backward pass for all candidates together.

    The maps lie on the network's device.
    """
    chosen = layers(fcn.trunk, settings.blocks)
    passes = {}
    for scale in settings.scales:
        passes[scale] = forward_pass(fcn, photo, longest_side(scale, side), chosen, guided=True)
    best_first = candidates(class_scores(passes.values()), PRESENT, settings.candidates)
    order = torch.tensor([best_first.order])
    maps: dict[tuple[int, str], Tensor] = {}
    for scale in list(passes):
        traced = passes.pop(scale)   # its graph is freed when its derivatives are taken
        for layer, gradients in traced.gradients(order).items():
            maps[scale, layer] = strongest_is_one(gradients[0])
    return RawMaps(maps, best_first, photo.size)


def forward_pass(fcn: Fcn, photo: Image.Image, longest: int, chosen: Sequence[str], guided: bool) -> Traced:
    """One forward pass at one scale, ready for the backward pass to the chosen layers."""
    rgb = to_input(photo, longest).to(next(fcn.parameters()).device)
    return trace(lambda image: fcn.scores_and_layers(image, chosen), rgb, guided)


def class_scores(passes: Iterable[Traced]) -> Tensor:
    """Sigmoid class scores `(S, K)` of forward passes of one image: each class's highest over the image."""
    return torch.cat([traced.scores.detach().amax((2, 3)).sigmoid().cpu() for traced in passes])


def candidates(scores: Tensor, threshold: float, minimum: int) -> Candidates:
    """Classes whose score `(S, K)` exceeds the threshold at any scale, filled up to the `minimum` best."""
    best = scores.amax(0)
    if minimum > len(best):
        raise Problem(f"candidates: N = {minimum} is more than the network's {len(best)} classes; "
                      f"choose N between 0 and {len(best)}.")
    order = best.argsort(descending=True, stable=True).tolist()
    kept = max(1, int((best > threshold).sum()))   # if none exceeds it, the best one
    return Candidates(order[:max(kept, minimum)], kept)


def to_input(photo: Image.Image, longest: int) -> Tensor:
    """RGB `(1, 3, H, W)` in 0..1: the longest side about `longest`, both the nearest multiples of 32."""
    size = [_multiple(side * longest / max(photo.size)) for side in photo.size]
    pixels = np.array(photo.resize(size, Image.Resampling.BILINEAR))
    rgb = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255)
    return rgb.contiguous(memory_format=torch.channels_last)


def _multiple(side: float) -> int:
    return max(MULTIPLE, MULTIPLE * round(side / MULTIPLE))


def longest_side(scale: int, side: int) -> int:
    """The longest side in pixels that the paper's `scale` (of 500) means where images are `side` pixels."""
    return round(scale * side / BASE)


def middle(scales: Sequence[int]) -> int:
    """The scale in the middle, the upper one of two."""
    return sorted(scales)[len(scales) // 2]


def strongest_is_one(maps: Tensor) -> Tensor:
    """Maps of all classes divided by their common maximum: the ratios between classes stay."""
    return maps / maps.amax().clamp(min=1e-30)


# Saliency maps (eq. 4 and 5)

def saliency(raw: RawMaps, settings: DcsmSettings, network_blocks: Mapping[str, Sequence[str]]) -> Tensor:
    """M^ `(T, H, W)` in 0..1 from enlarged raw maps: the mean over blocks and scales.

    The layers of a block count alike, and blocks count alike however many layers they have.
    """
    parts = []
    for scale in settings.scales:
        for block in settings.blocks:
            of_layers = [_layer_saliency(raw, (scale, layer), settings) for layer in network_blocks[block]]
            parts.append(torch.stack(of_layers).mean(0))
    mean = torch.stack(parts).mean(0)
    return torch.tanh(DEMO_SLOPE * each_maximum_is_one(mean)) if settings.reading == "demo" else mean


def _layer_saliency(raw: RawMaps, key: tuple[int, str], settings: DcsmSettings) -> Tensor:
    if key not in raw.maps:
        raise Problem(f'There is no raw map of layer "{key[1]}" at scale {key[0]}; '
                      "add it to `dcsm_maps` in params.yaml.")
    targets = raw.candidates.kept
    maps = raw.maps[key][:max(settings.candidates, targets)]
    if settings.reading == "demo":
        return demo_differences(maps, targets, settings)
    return aggregate([distinct(maps, targets, settings)], settings.alpha)


def distinct(maps: Tensor, targets: int, settings: DcsmSettings) -> Tensor:
    """M~ of one layer and scale `(T, H, W)`; N = 0 leaves the subtraction out.

    Where M is divided by its maximum is `settings.normaliser`: each map by its own ("own"), all by the common
    maximum ("joint"), or each by its own after the subtraction ("after").
    """
    if settings.normaliser == "own":
        maps = each_maximum_is_one(maps)
    elif settings.normaliser == "joint":
        maps = maps / maps.amax().clamp(min=1e-12)
    differences = subtract(maps, targets) if settings.candidates else maps[:targets]
    return each_maximum_is_one(differences) if settings.normaliser == "after" else differences


def subtract(maps: Tensor, targets: int) -> Tensor:
    """eq. 4: sum over the other candidates of max(M_c - M_c', 0), for the first `targets` of `(C, H, W)`.

    A single candidate has no other: its map stays as it is.
    """
    if len(maps) == 1:
        return maps
    return torch.stack([(maps[c] - maps).clamp(min=0).sum(0) for c in range(targets)])


def aggregate(parts: Sequence[Tensor], alpha: float) -> Tensor:
    """eq. 5: the mean over layers and scales of tanh(alpha M~)."""
    if not alpha > 0:
        raise Problem(f"alpha: {alpha:g} is out of range, it must be above 0.")
    return torch.stack([torch.tanh(alpha * part) for part in parts]).mean(0)


def demo_differences(maps: Tensor, targets: int, settings: DcsmSettings) -> Tensor:
    """The authors' code `(T, H, W)`: each difference over its own maximum, through tanh(3x), then the sum."""
    if not settings.candidates or len(maps) == 1:
        return torch.tanh(DEMO_SLOPE * each_maximum_is_one(maps[:targets]))
    sums = []
    for c in range(targets):
        differences = (maps[c] - maps).clamp(min=0)
        sums.append(torch.tanh(DEMO_SLOPE * each_maximum_is_one(differences)).sum(0))
    return torch.stack(sums)


# From maps to labels (section 3.4)

@torch.no_grad()
def segment(photo: Image.Image, raw: RawMaps, settings: DcsmSettings,
            network_blocks: Mapping[str, Sequence[str]]) -> Segmentation:
    """Maps to labels, without and with the CRF."""
    targets = raw.candidates.targets
    maps = enlarge(saliency(enlarged(raw, settings.map_stride), settings, network_blocks), photo.size)
    probability = with_background(maps)
    refined = dense_crf(np.asarray(photo), probability, settings.crf)
    return Segmentation(maps, targets, label_map(probability, targets), label_map(refined, targets))


def enlarged(raw: RawMaps, stride: int) -> RawMaps:
    """Raw maps at a `stride`-th of the image's size, bilinearly."""
    width, height = raw.size
    size = (-(-height // stride), -(-width // stride))   # rounded up
    maps = {}
    for key, small in raw.maps.items():
        maps[key] = interpolate(small[None].float(), size, mode="bilinear", align_corners=False)[0]
    return replace(raw, maps=maps)


def enlarge(maps: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Maps `(T, h, w)` at the image's size (width, height)."""
    return interpolate(maps[None], size[::-1], mode="bilinear", align_corners=False)[0].cpu().numpy()


def with_background(maps: np.ndarray) -> np.ndarray:
    """eq. 7: (1 - max over targets, targets) as `(1 + T, H, W)`."""
    return np.concatenate([1 - maps.max(0, keepdims=True), maps])


def label_map(probability: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    """The strongest of background and targets at every pixel `(H, W)` uint8: 0, or the class's number + 1."""
    numbers = np.array([0, *(target + 1 for target in targets)], dtype=np.uint8)
    return numbers[probability.argmax(0)]
