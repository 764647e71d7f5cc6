"""Fully connected CRF (Krähenbühl & Koltun): its mean field without the error of a lattice."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lib.base.problem import Problem, nearest
from lib.refine.attention import AttentiveGaussian
from lib.refine.gaussian import TiledGaussian
from lib.refine.messages import (
    Gaussian,
    Message,
    Normalisation,
    bilateral_features,
    bilateral_sums,
    normalised,
    spatial_sums,
)
from lib.refine.settings import CrfSettings

Form = Literal["auto", "tiles", "attention"]


@dataclass(frozen=True)
class Exact:
    """How the mean field is computed, and where it departs from what is usual.

    tolerance       how much of a pixel's sum of weights tiles may leave out; at 0 they leave nothing out
    normalisation   of messages by the pixels' sums of weights n: Σ_j k_ij q_j / sqrt(n_i n_j) (symmetric),
                    over n_i (after), over n_j (before), or as it is (none: the lattice's own weights have
                    another scale then)
    bilateral       a compatibility in place of the setting of that name; see `energy`
    spatial         likewise
    form            tiles, attention, or auto: attention on a GPU, tiles elsewhere
    memory          bytes of weights that tiles keep from one iteration to the next

    The error of a message m. Of each sum of weights n at most `tolerance` t is missing, and what is left is
    at least 1, a pixel's own weight. So m loses at most t, because marginals are at most 1 and are divided by
    1 or more; and dividing by less it gains at most m t / (1 - t), because n exceeds what is left of it by a
    share of t / (1 - t) or less. Together the error is at most t / (1 - t) times the greater of m and 1. What
    iterations make of it depends on the image; they damp it where pixels are certain.
    """
    tolerance: float = 1e-4
    normalisation: Normalisation = "symmetric"
    bilateral: Tensor | None = None
    spatial: Tensor | None = None
    form: Form = "auto"
    memory: int = 2 ** 31

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise Problem(f"tolerance: {self.tolerance} is out of range, it must be at least 0 and below 1.")
        _check_choice("normalisation", self.normalisation, get_args(Normalisation))
        _check_choice("form", self.form, get_args(Form))


@dataclass(frozen=True)
class Potential:
    """A kernel's messages, and the compatibility of classes: a number, `(C,)` or `(C, C)`; see `energy`.

    everything   what pixels hear of ones, where the compatibility needs the messages of all classes
    """
    message: Message
    compatibility: Tensor
    everything: Tensor | None

    def energy(self, marginal: Tensor) -> Tensor:
        """What each class costs each pixel, but for what it costs all classes alike.

        Of C classes C - 1 messages are passed. A number as compatibility needs differences alone, to the last
        class; otherwise the last class's message is what is missing from those of all classes together.
        """
        if self.everything is None:
            heard = self.message(marginal[:, :-1] - marginal[:, -1:])
            last = torch.zeros_like(heard[:, :1])
        else:
            heard = self.message(marginal[:, :-1])
            last = self.everything - heard.sum(1, keepdim=True)
        return energy(self.compatibility, torch.cat([heard, last], dim=1))


class ExactCrf:
    """The CRF of images of one size: the weights between their pixels are computed once, for many energies.

    Images are RGB `(B, H, W, 3)` or `(B, 3, H, W)` uint8. All is computed in `dtype` on the images' device.
    """

    def __init__(self, images: Tensor, settings: CrfSettings, how: Exact | None = None,
                 dtype: torch.dtype = torch.float32) -> None:
        how = how or Exact()
        self.iterations = settings.iterations
        self.images = _channels_first(images).to(dtype)
        self.potentials: list[Potential] = []
        bilateral = self._compatibility(how.bilateral, settings.bilateral)
        spatial = self._compatibility(how.spatial, settings.spatial)
        if spatial is not None:
            sums = spatial_sums(*self.images.shape[2:], settings.theta_gamma, self.images)
            self._add(sums, spatial, how)
        if bilateral is not None:
            kernels = [gaussian(image, settings, how) for image in self.images]
            self._add(bilateral_sums(kernels), bilateral, how)

    def __call__(self, unary: Tensor) -> Tensor:
        """Marginals of energies, both `(B, C, H, W)`: algorithm 1 of the paper.

        They can be differentiated by the energies and by compatibilities.
        """
        self._check(unary)
        marginal = (-unary).softmax(1)
        for _ in range(self.iterations):
            total = unary
            for potential in self.potentials:
                total = total + potential.energy(marginal)
            marginal = (-total).softmax(1)
        return marginal

    def _compatibility(self, given: Tensor | None, weight: float) -> Tensor | None:
        if given is not None:
            return given.to(self.images)
        return self.images.new_tensor(weight) if weight > 0 else None

    def _add(self, sums: Message, compatibility: Tensor, how: Exact) -> None:
        ones = torch.ones_like(self.images[:, :1])
        message = normalised(sums, ones, how.normalisation)
        everything = message(ones) if compatibility.ndim else None
        self.potentials.append(Potential(message, compatibility, everything))

    def _check(self, unary: Tensor) -> None:
        images = self.images
        if unary.ndim != 4 or len(unary) != len(images) or unary.shape[2:] != images.shape[2:]:
            raise Problem(f"Energies {tuple(unary.shape)} and images {tuple(images.shape)} do not fit: "
                          "(B, C, H, W) and (B, 3, H, W).")
        if (unary.device, unary.dtype) != (images.device, images.dtype):
            raise Problem(f"Energies are {unary.dtype} on {unary.device} and the CRF {images.dtype} on "
                          f"{images.device}; bring both to one device and type.")
        classes = unary.shape[1]
        if classes < 2:
            raise Problem("A CRF chooses between classes, and there is only one; add the background.")
        for potential in self.potentials:
            sides = potential.compatibility.shape
            if len(sides) > 2 or any(side != classes for side in sides):
                raise Problem(f"A compatibility is a number, ({classes},) or ({classes}, {classes}) for "
                              f"{classes} classes, not {tuple(sides)}.")
        if not torch.isfinite(unary).all():
            raise Problem("Some energy is not a finite number; keep probabilities away from 0 before their "
                          "logarithm is taken.")


def exact_crf(images: Tensor, unary: Tensor, settings: CrfSettings, how: Exact | None = None) -> Tensor:
    """Mean-field marginals `(B, C, H, W)` from images and energies `(B, C, H, W)`: see `ExactCrf`.

    >>> images = torch.zeros(1, 2, 3, 3, dtype=torch.uint8)
    >>> unary = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 3)
    >>> settings = CrfSettings(60, 5, 3, bilateral=1, spatial=1, iterations=5)
    >>> exact_crf(images, unary, settings).shape
    torch.Size([1, 2, 2, 3])
    """
    return ExactCrf(images, settings, how, unary.dtype)(unary)


def gaussian(image: Tensor, settings: CrfSettings, how: Exact) -> Gaussian:
    """The bilateral weights between the pixels of an image `(3, H, W)`."""
    features = bilateral_features(image, settings.theta_alpha, settings.theta_beta)
    form = how.form
    if form == "auto":
        form = "attention" if image.device.type == "cuda" else "tiles"
    if form == "attention":
        return AttentiveGaussian.of(features)
    return TiledGaussian.of(features, how.tolerance, how.memory)


def energy(compatibility: Tensor, message: Tensor) -> Tensor:
    """What messages `(B, C, H, W)` cost each class, as in pydensecrf.

    A number rewards the likeness of classes (Potts). Of C numbers each is what a class costs beside itself:
    negative ones reward. A matrix `(C, C)`, made symmetric, is what each class costs beside each.
    """
    if compatibility.ndim == 0:
        return -compatibility * message
    if compatibility.ndim == 1:
        return compatibility[:, None, None] * message
    symmetric = (compatibility + compatibility.T) / 2
    return torch.einsum("cd,bdhw->bchw", symmetric, message)


def _channels_first(images: Tensor) -> Tensor:
    """Images `(B, 3, H, W)`, whichever way they are given."""
    if images.dtype != torch.uint8 or images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise Problem(f"Images must be RGB, (B, H, W, 3) or (B, 3, H, W) uint8, not {tuple(images.shape)} "
                      f"{images.dtype}.")
    if 0 in images.shape:
        raise Problem(f"Images {tuple(images.shape)} have no pixels.")
    return images.permute(0, 3, 1, 2) if images.shape[3] == 3 else images


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise Problem(f'{name}: "{value}" is not a choice{nearest(value, known)}')
