"""CSoA (WACV 2021): two class activation maps that supervise each other while they are learned.

The losses stand equation by equation: confidence segmentation (ConfSeg, section 3.1) and co-supervised
augmentation (CoAug, section 3.2). Then what remains at inference: the class, and the union of both maps.
"""
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

Embed = Callable[[Tensor], Tensor]   # W_E: images (B, 3, h, w) -> vectors (B, D)
LEAST = 1e-6   # a distance of 0 has no derivative, and none may divide


def network_of(variant: Variant, position: Position, trunk: Network, classes: Sequence[str],
               width: int) -> TwoClassifiers:
    """The network of a row of table 1: ConfSeg needs the second classifier, CoAug does not (section 4.3)."""
    inner = f"stage{position[0]}" if variant in ("confseg", "csoa") else None
    return TwoClassifiers(trunk, inner, classes, width)


class Extractor(nn.Module):
    """W_E: a pretrained trunk, frozen; a vector is the average of its last feature map."""

    def __init__(self, trunk: Network) -> None:
        super().__init__()
        self.trunk = trunk.requires_grad_(False).eval()

    def forward(self, rgb: Tensor) -> Tensor:
        last = self.trunk.features
        return self.trunk.activations(rgb, [last])[last].mean((2, 3))


@dataclass(frozen=True)
class Losses:
    """The losses of one batch; `inner` and `coaug` are None where the variant has no such module."""
    cls: Tensor
    inner: Tensor | None
    coaug: Tensor | None

    def total(self, alpha: float, weight: float) -> Tensor:
        """L_C = L_cls + alpha L_inner (eq. 6), and beside it weight L_D."""
        total = self.cls
        if self.inner is not None:
            total = total + alpha * self.inner
        if self.coaug is not None:
            total = total + weight * self.coaug
        return total


def losses(net: nn.Module, extractor: Extractor | None, images: Tensor, classes: Tensor,
           settings: CsoaSettings, side: int) -> Losses:
    """L_cls, L_inner and L_D of images `(B, 3, H, W)` in 0..1 with their classes `(B,)`.

    The extractor embeds the images at `side`. CoAug pairs images: with several processes, those of all.
    """
    s_l, s_f = net(images)
    inner = None if s_f is None else confseg_loss(s_l, s_f, classes, settings)
    coaug = None
    if extractor is not None:
        small = interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
        own = embedded(extractor, small, own_map(s_l, classes), settings.scaling)
        everybodys = Embedded(*(gathered(vectors) for vectors in own))
        coaug = coaug_loss(everybodys, gathered(classes), settings.gamma, settings.delta)
    return Losses(classification_loss(s_l, s_f, classes), inner, coaug)


def logits(maps: Tensor) -> Tensor:
    """y^c = Σ_ij (S^c)_ij / (h w), `(B, K)`: the average of each class map `(B, K, h, w)` (eq. 1)."""
    return maps.mean((2, 3))


def classification_loss(s_l: Tensor, s_f: Tensor | None, classes: Tensor) -> Tensor:
    """L_cls: cross entropy of both classifiers' logits."""
    loss = cross_entropy(logits(s_l), classes)
    return loss if s_f is None else loss + cross_entropy(logits(s_f), classes)


def own_map(maps: Tensor, classes: Tensor) -> Tensor:
    """S^c `(B, h, w)`: of each image the map of its class."""
    return maps[torch.arange(len(maps), device=maps.device), classes]


# ConfSeg (section 3.1)

def confident(s_l: Tensor) -> Tensor:
    """Mask = [|S_L^c - mu_1| > mu_2] of maps `(B, h, w)`, boolean (eq. 2-4).

    With mu_1 the mean of S_L^c, and mu_2 that of |S_L^c - mu_1|: a map is sure where it is further from its
    mean than it is on average.
    """
    mask = (s_l - s_l.mean((1, 2), keepdim=True)).abs()
    return mask > mask.mean((1, 2), keepdim=True)


def inner_loss(s_f: Tensor, s_l: Tensor, mask: Tensor, how: str) -> Tensor:
    """L_inner = Σ_ij |S_F^c - S_L^c| Mask (eq. 5), or the mean over pixels; averaged over the batch.

    Where S_L^c is confident, S_F^c is to be like it.
    """
    difference = (s_f - s_l).abs() * mask
    return difference.sum((1, 2)).mean() if how == "sum" else difference.mean()


def confseg_loss(s_l: Tensor, s_f: Tensor, classes: Tensor, settings: CsoaSettings) -> Tensor:
    """L_inner of a batch, from the maps of all classes."""
    teacher = own_map(s_l, classes)
    if settings.detach:
        teacher = teacher.detach()
    return inner_loss(own_map(s_f, classes), teacher, confident(teacher), settings.inner)


def alpha_at(epoch: int, epochs: int, highest: float, rise: Rise) -> float:
    """The share of L_inner in an epoch; section 3.1 says that it rises, not how."""
    done = epoch / max(1, epochs - 1)
    shares = {"linear": done, "late": float(done >= 0.5), "constant": 1.0}
    return highest * shares[rise]


# CoAug (section 3.2)

class Embedded(NamedTuple):
    """Vectors `(B, D)` of every image's foreground, background and confident background (eq. 8 and 10)."""
    f: Tensor
    b: Tensor
    mask_b: Tensor


def location(s_l: Tensor, size: tuple[int, int], scaling: Scaling) -> Tensor:
    """S_L^c `(B, h, w)` between 0 and 1 at the size of the images, `(B, 1, H, W)`."""
    low = s_l.amin((1, 2), keepdim=True) if scaling == "minmax" else torch.zeros_like(s_l[:, :1, :1])
    high = s_l.amax((1, 2), keepdim=True)
    share = (s_l - low).clamp(min=0) / (high - low).clamp(min=LEAST)
    return interpolate(share[:, None], size, mode="bilinear", align_corners=False)


def embedded(extractor: Embed, images: Tensor, s_l: Tensor, scaling: Scaling) -> Embedded:
    """F = W_E(S_L^c I), B = W_E((1 - S_L^c) I) and Mask_B = W_E((1 - S_L^c) Mask I) (eq. 8 and 10).

    All of them come from one forward pass of the extractor.
    """
    where = location(s_l, images.shape[2:], scaling)
    sure = interpolate(confident(s_l)[:, None].to(images), images.shape[2:], mode="nearest")
    parts = torch.cat([where * images, (1 - where) * images, (1 - where) * sure * images])
    return Embedded(*extractor(parts).chunk(3))


def distance(a: Tensor, b: Tensor) -> Tensor:
    """The norm ‖a - b‖ over the last dimension (eq. 9-11)."""
    return (a - b).square().sum(-1).add(LEAST ** 2).sqrt()


def coaug_loss(vectors: Embedded, classes: Tensor, gamma: float, delta: float) -> Tensor:
    """L_D over all pairs of different images, each of its two sums divided by its number of pairs (eq. 9-12).

    With D^cam = ‖F - B‖, D^back = ‖B - Mask_B‖ and D_mn = ‖F_m - F_n‖ a pair adds

        gamma (D_m^back + D_n^back) / (delta D_mn + (D_m^cam + D_n^cam) / 2)    for two classes,
        (gamma (D_m^back + D_n^back) + D_mn) / ((D_m^cam + D_n^cam) / 2)        for one class.

    As printed, the two sums of eq. 12 have each other's condition: D^diff belongs to pairs of different
    classes, D^same to pairs of one.
    """
    cam = distance(vectors.f, vectors.b)
    back = distance(vectors.b, vectors.mask_b)
    between = distance(vectors.f[:, None], vectors.f[None])
    backs = gamma * (back[:, None] + back[None])
    cams = (cam[:, None] + cam[None]) / 2
    same = classes[:, None] == classes[None]
    others = ~torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    different = pair_mean(backs / (delta * between + cams), ~same)
    return different + pair_mean((backs + between) / cams, same & others)


def pair_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen entries, 0 where there are none."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


# Inference (section 3.2)

def probabilities(s_l: Tensor, s_f: Tensor | None) -> Tensor:
    """Class probabilities `(B, K)`, the mean of both classifiers': the paper does not say which answers."""
    p_l = logits(s_l).softmax(1)
    return p_l if s_f is None else (p_l + logits(s_f).softmax(1)) / 2


def binary(maps: Tensor, threshold: float) -> Tensor:
    """Where maps `(..., H, W)` exceed a share of their own maximum, S > theta S^max (eq. 13), boolean."""
    return maps > threshold * maps.amax((-2, -1), keepdim=True)


def union(s_l: Tensor, s_f: Tensor | None, threshold: float) -> Tensor:
    """Where either of the two binary maps of eq. 13 is 1, boolean."""
    if s_f is None:
        return binary(s_l, threshold)
    return binary(s_l, threshold) | binary(s_f, threshold)
