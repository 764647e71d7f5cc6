"""The losses of CSoA, equation by equation: confidence segmentation (ConfSeg) and co-supervised augmentation (CoAug)."""
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from lib.papers.csoa_settings import CsoaSettings, Rise, Scaling

Extractor = Callable[[Tensor], Tensor]   # W_E: images (B, 3, h, w) -> vectors (B, D)
LEAST = 1e-6   # a distance of 0 has no derivative, and none may divide


class Embedded(NamedTuple):
    """Vectors `(B, D)` of every image's foreground, background and confident background (eq. 8 and 10)."""
    f: Tensor
    b: Tensor
    mask_b: Tensor


def logits(maps: Tensor) -> Tensor:
    """eq. 1: y `(B, K)`, the average of each class map `(B, K, h, w)`."""
    return maps.mean((2, 3))


def own_map(maps: Tensor, classes: Tensor) -> Tensor:
    """S^c `(B, h, w)`: of each image the map of its class."""
    return maps[torch.arange(len(maps), device=maps.device), classes]


def confident(s_l: Tensor) -> Tensor:
    """eq. 2-4: where a map `(B, h, w)` is further from its own mean than it is on average, boolean."""
    mask = (s_l - s_l.mean((1, 2), keepdim=True)).abs()
    return mask > mask.mean((1, 2), keepdim=True)


def inner_loss(s_f: Tensor, s_l: Tensor, mask: Tensor, how: str) -> Tensor:
    """eq. 5, averaged over the batch: where S_L^c is confident, S_F^c is to be like it."""
    distance = (s_f - s_l).abs() * mask
    return distance.sum((1, 2)).mean() if how == "sum" else distance.mean()


def location(s_l: Tensor, size: tuple[int, int], scaling: Scaling) -> Tensor:
    """S_L^c `(B, h, w)` between 0 and 1 at the size of the images, `(B, 1, H, W)`."""
    low = s_l.amin((1, 2), keepdim=True) if scaling == "minmax" else torch.zeros_like(s_l[:, :1, :1])
    high = s_l.amax((1, 2), keepdim=True)
    share = (s_l - low).clamp(min=0) / (high - low).clamp(min=LEAST)
    return interpolate(share[:, None], size, mode="bilinear", align_corners=False)


def embedded(extractor: Extractor, images: Tensor, s_l: Tensor, scaling: Scaling) -> Embedded:
    """eq. 8 and 10, in one pass of the extractor."""
    where = location(s_l, images.shape[2:], scaling)
    sure = interpolate(confident(s_l)[:, None].to(images), images.shape[2:], mode="nearest")
    return Embedded(*extractor(torch.cat([where * images, (1 - where) * images, (1 - where) * sure * images])).chunk(3))


def distance(a: Tensor, b: Tensor) -> Tensor:
    """The norm of a - b over the last dimension (eq. 9-11)."""
    return (a - b).square().sum(-1).add(LEAST ** 2).sqrt()


def coaug_loss(vectors: Embedded, classes: Tensor, gamma: float, delta: float) -> Tensor:
    """eq. 9-12 over all pairs of different images, each sum divided by its number of pairs.

    As printed, the two sums of eq. 12 have each other's condition: D^diff belongs to pairs of different classes, D^same to pairs of one.
    """
    cam, back = distance(vectors.f, vectors.b), distance(vectors.b, vectors.mask_b)
    between = distance(vectors.f[:, None], vectors.f[None])
    backs, cams = gamma * (back[:, None] + back[None]), (cam[:, None] + cam[None]) / 2
    same = classes[:, None] == classes[None]
    others = ~torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    return pair_mean(backs / (delta * between + cams), ~same) + pair_mean((backs + between) / cams, same & others)


def pair_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen entries, 0 where there are none."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def classification_loss(s_l: Tensor, s_f: Tensor | None, classes: Tensor) -> Tensor:
    """L_cls: cross entropy of both classifiers."""
    found = cross_entropy(logits(s_l), classes)
    return found if s_f is None else found + cross_entropy(logits(s_f), classes)


def confseg_loss(s_l: Tensor, s_f: Tensor, classes: Tensor, settings: CsoaSettings) -> Tensor:
    """L_inner of a batch, from the maps of all classes."""
    teacher = own_map(s_l, classes)
    teacher = teacher.detach() if settings.detach else teacher
    return inner_loss(own_map(s_f, classes), teacher, confident(teacher), settings.inner)


def alpha_at(epoch: int, epochs: int, highest: float, rise: Rise) -> float:
    """The share of L_inner in an epoch; section 3.1 says that it rises, not how."""
    done = epoch / max(1, epochs - 1)
    return highest * {"linear": done, "late": float(done >= 0.5), "constant": 1.0}[rise]
