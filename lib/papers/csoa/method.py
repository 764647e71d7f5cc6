"""CSoA (WACV 2021): two class activation maps that supervise each other while they are learned, and the box that they find together."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from lib.base.parallel import gathered
from lib.nets.network import Network
from lib.papers.csoa.settings import CsoaSettings, Position, Rise, Scaling, Variant
from lib.papers.csoa.two_classifiers import TwoClassifiers


@dataclass(frozen=True)
class Losses:
    """Of one batch; `inner` and `coaug` are None where the variant has no such module."""
    cls: Tensor
    inner: Tensor | None
    coaug: Tensor | None

    def total(self, alpha: float, weight: float) -> Tensor:
        """eq. 6 and L_D beside it."""
        found = self.cls
        found = found if self.inner is None else found + alpha * self.inner
        return found if self.coaug is None else found + weight * self.coaug


def network_of(variant: Variant, position: Position, trunk: Network, classes: Sequence[str], width: int) -> TwoClassifiers:
    """ConfSeg needs the second classifier; CoAug leaves the network as it is (section 4.3)."""
    inner = f"stage{position[0]}" if variant in ("confseg", "csoa") else None
    return TwoClassifiers(trunk, inner, classes, width)


class Extractor(nn.Module):
    """W_E: a pretrained trunk, frozen; a vector is the average of its last map."""

    def __init__(self, trunk: Network) -> None:
        super().__init__()
        self.trunk = trunk.requires_grad_(False).eval()

    def forward(self, rgb: Tensor) -> Tensor:
        return self.trunk.activations(rgb, [self.trunk.features])[self.trunk.features].mean((2, 3))


def losses(net: nn.Module, extractor: Extractor | None, images: Tensor, classes: Tensor, settings: CsoaSettings, side: int) -> Losses:
    """L_cls, L_inner and L_D of images `(B, 3, H, W)` in 0..1 with their classes `(B,)`.

    CoAug pairs images: with several processes, those of all of them.
    """
    s_l, s_f = net(images)
    inner = None if s_f is None else confseg_loss(s_l, s_f, classes, settings)
    coaug = None
    if extractor is not None:
        small = interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
        vectors = embedded(extractor, small, own_map(s_l, classes), settings.scaling)
        coaug = coaug_loss(type(vectors)(*map(gathered, vectors)), gathered(classes), settings.gamma, settings.delta)
    return Losses(classification_loss(s_l, s_f, classes), inner, coaug)


def probabilities(s_l: Tensor, s_f: Tensor | None) -> Tensor:
    """Class probabilities `(B, K)`: the mean of both classifiers' (the paper does not say which of them answers)."""
    found = logits(s_l).softmax(1)
    return found if s_f is None else (found + logits(s_f).softmax(1)) / 2


def binary(maps: Tensor, threshold: float) -> Tensor:
    """eq. 13: where maps `(..., H, W)` exceed a share of their own maximum, boolean."""
    return maps > threshold * maps.amax((-2, -1), keepdim=True)


def union(s_l: Tensor, s_f: Tensor | None, threshold: float) -> Tensor:
    """The two binary maps together (section 3.2, inference)."""
    return binary(s_l, threshold) if s_f is None else binary(s_l, threshold) | binary(s_f, threshold)


Embed = Callable[[Tensor], Tensor]   # W_E: images (B, 3, h, w) -> vectors (B, D)
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


def embedded(extractor: Embed, images: Tensor, s_l: Tensor, scaling: Scaling) -> Embedded:
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
