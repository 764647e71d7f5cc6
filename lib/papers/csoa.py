"""CSoA (WACV 2021): two class activation maps that supervise each other while they are learned, and the box that they find together."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lib.nets.network import Network
from lib.nets.two_classifiers import TwoClassifiers
from lib.papers.csoa_losses import classification_loss, coaug_loss, confseg_loss, embedded, logits, own_map
from lib.papers.csoa_settings import CsoaSettings, Position, Variant
from lib.parallel import gathered


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
