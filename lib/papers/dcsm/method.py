"""Distinct class-specific saliency maps (Shimoda & Yanai, ECCV 2016), section 3, from a trained multi-label network to a segmentation."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.problem import Problem
from lib.maps.backprop import Traced, trace
from lib.nets.fcn import Fcn
from lib.papers.dcsm.blocks import blocks, layers
from lib.papers.dcsm.settings import BASE, DcsmSettings
from lib.refine.crf import dense_crf

MULTIPLE = 32     # sides of network inputs
DEMO_SLOPE = 3.0  # tanh(3x), twice, in the authors' code


class Candidates(NamedTuple):
    """Class numbers, best first; the first `kept` of them are the targets that may appear in the result."""
    order: list[int]
    kept: int


@dataclass(frozen=True)
class RawMaps:
    """M of one image before subtraction: (scale, layer) -> `(C, h, w)`, C the candidates in order, strongest value of all classes 1."""
    maps: Mapping[tuple[int, str], Tensor]
    candidates: Candidates
    size: tuple[int, int]   # of the image: width, height


@dataclass(frozen=True)
class Segmentation:
    """What the method says about one image: maps M^ `(T, H, W)` of the target classes, and label maps `(H, W)`, 0 for the background."""
    maps: np.ndarray
    targets: list[int]
    labels_no_crf: np.ndarray
    labels: np.ndarray


def candidates(scores: Tensor, threshold: float, minimum: int) -> Candidates:
    """Classes whose sigmoid score `(S, K)` exceeds the threshold at any scale, filled up to the `minimum` (N) best ones."""
    best = scores.amax(0)
    if minimum > len(best):
        raise Problem(f"candidates: N = {minimum} is more than the network's {len(best)} classes; choose N between 0 and {len(best)}.")
    order = best.argsort(descending=True, stable=True).tolist()
    kept = max(1, int((best > threshold).sum()))   # if none exceeds it, the best one
    return Candidates(order[:max(kept, minimum)], kept)


def to_input(photo: Image.Image, longest: int) -> Tensor:
    """RGB `(1, 3, H, W)` in 0..1, its longest side about `longest`, both sides the nearest multiples of 32."""
    size = [max(MULTIPLE, MULTIPLE * round(side * longest / max(photo.size) / MULTIPLE)) for side in photo.size]
    pixels = np.array(photo.resize(size, Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).contiguous(memory_format=torch.channels_last)


def look(fcn: Fcn, photo: Image.Image, longest: int, chosen: Sequence[str], guided: bool) -> Traced:
    """One forward pass at one scale, ready for the way back to the chosen layers."""
    device = next(fcn.parameters()).device
    return trace(lambda image: fcn.scores_and_layers(image, chosen), to_input(photo, longest).to(device), guided)


def pixels(scale: int, side: int) -> int:
    """The longest side in pixels that the paper's `scale` (of 500) means where images are `side` pixels."""
    return round(scale * side / BASE)


def subtract(maps: Tensor, targets: int) -> Tensor:
    """eq. 4: sum over the other candidates of max(M_c - M_c', 0), for the first `targets` of `(C, H, W)`.

    A single candidate has no other: its map stays as it is.
    """
    if len(maps) == 1:
        return maps
    return torch.stack([(maps[c] - maps).clamp(min=0).sum(0) for c in range(targets)])


def peaks(maps: Tensor) -> Tensor:
    """Each map `(..., H, W)` divided by its own maximum."""
    return maps / maps.amax((-2, -1), keepdim=True).clamp(min=1e-12)


def distinct(maps: Tensor, targets: int, settings: DcsmSettings) -> Tensor:
    """M~ of one layer and scale `(T, H, W)`; N = 0 leaves subtraction out. Where M is divided by its maximum is `normaliser`."""
    if settings.normaliser == "own":
        maps = peaks(maps)
    elif settings.normaliser == "joint":
        maps = maps / maps.amax().clamp(min=1e-12)
    found = subtract(maps, targets) if settings.candidates else maps[:targets]
    return peaks(found) if settings.normaliser == "after" else found


def aggregate(parts: Sequence[Tensor], alpha: float) -> Tensor:
    """eq. 5: the mean over layers and scales of tanh(alpha M~)."""
    if not alpha > 0:
        raise Problem(f"alpha: {alpha:g} is out of range, it must be above 0.")
    return torch.stack([torch.tanh(alpha * part) for part in parts]).mean(0)


def demo_differences(maps: Tensor, targets: int, settings: DcsmSettings) -> Tensor:
    """The authors' code: each difference divided by its own maximum, through tanh(3x), then summed `(T, H, W)`."""
    if not settings.candidates or len(maps) == 1:
        return torch.tanh(DEMO_SLOPE * peaks(maps[:targets]))
    return torch.stack([torch.tanh(DEMO_SLOPE * peaks((maps[c] - maps).clamp(min=0))).sum(0) for c in range(targets)])


def saliency(raw: RawMaps, settings: DcsmSettings, network_blocks: Mapping[str, Sequence[str]]) -> Tensor:
    """M^ `(T, H, W)` in 0..1 from enlarged raw maps: the mean over blocks and scales, the layers of a block alike."""
    if lacking := [key for scale in settings.scales for block in settings.blocks for layer in network_blocks[block]
                   if (key := (scale, layer)) not in raw.maps]:
        raise Problem(f'There is no raw map of layer "{lacking[0][1]}" at scale {lacking[0][0]}; add it to `dcsm_maps` in params.yaml.')
    parts = [torch.stack([_part(raw.maps[scale, layer], raw.candidates.kept, settings) for layer in network_blocks[block]]).mean(0)
             for scale in settings.scales for block in settings.blocks]
    found = torch.stack(parts).mean(0)
    return torch.tanh(DEMO_SLOPE * peaks(found)) if settings.reading == "demo" else found


def enlarged(raw: RawMaps, stride: int) -> RawMaps:
    """Raw maps at a `stride`-th of the image's size, bilinearly."""
    size = tuple(-(-side // stride) for side in raw.size[::-1])
    return replace(raw, maps={key: interpolate(maps[None].float(), size, mode="bilinear", align_corners=False)[0]
                              for key, maps in raw.maps.items()})


def _part(maps: Tensor, targets: int, settings: DcsmSettings) -> Tensor:
    maps = maps[:max(settings.candidates, targets)]
    if settings.reading == "demo":
        return demo_differences(maps, targets, settings)
    return aggregate([distinct(maps, targets, settings)], settings.alpha)


def with_background(maps: np.ndarray) -> np.ndarray:
    """eq. 7: (1 - max over targets, targets) as `(1 + T, H, W)`."""
    return np.concatenate([1 - maps.max(0, keepdims=True), maps])


def label_map(probability: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    """The strongest of background and targets at every pixel `(H, W)` uint8: 0, or the class's number + 1."""
    return np.array([0, *(t + 1 for t in targets)], dtype=np.uint8)[probability.argmax(0)]


def enlarge(maps: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Maps `(T, h, w)` at the image's size (width, height)."""
    return interpolate(maps[None], size[::-1], mode="bilinear", align_corners=False)[0].cpu().numpy()


def raw_maps(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int = BASE, threshold: float = 0.5, guided: bool = True) -> RawMaps:
    """All scales of one image: one forward pass each, then all candidates down together."""
    chosen = layers(fcn.trunk, settings.blocks)
    seen = {scale: look(fcn, photo, pixels(scale, side), chosen, guided) for scale in settings.scales}
    found = candidates(torch.cat([t.scores.detach().amax((2, 3)).sigmoid() for t in seen.values()]), threshold, settings.candidates)
    order = torch.tensor([found.order])
    maps = {(scale, name): strongest_is_one(m[0]).cpu() for scale in list(seen) for name, m in seen.pop(scale).gradients(order).items()}
    return RawMaps(maps, found, photo.size)


def strongest_is_one(maps: Tensor) -> Tensor:
    """Maps of all classes on one scale: the ratios between classes stay."""
    return maps / maps.amax().clamp(min=1e-30)


@torch.no_grad()
def segment(photo: Image.Image, raw: RawMaps, settings: DcsmSettings, network_blocks: Mapping[str, Sequence[str]]) -> Segmentation:
    """Maps to labels, without and with the CRF (section 3.4)."""
    maps = enlarge(saliency(enlarged(raw, settings.map_stride), settings, network_blocks), photo.size)
    probability, targets = with_background(maps), raw.candidates.order[:raw.candidates.kept]
    refined = dense_crf(np.asarray(photo), probability, settings.crf)
    return Segmentation(maps, targets, label_map(probability, targets), label_map(refined, targets))


def dcsm(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int = BASE) -> Segmentation:
    """The whole method on one photograph."""
    return segment(photo, raw_maps(fcn, photo, settings, side), settings, blocks(fcn.trunk))
