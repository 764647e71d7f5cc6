"""Peak response maps: where in the image a peak of a class's score map comes from (IAM, section 3.1).

From a peak, probability goes down layer by layer, by the rule of `lib.maps.top_down`; for all peaks of a
batch at once.
"""
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from lib.base.spent import spends
from lib.maps.peaks import Peaks
from lib.maps.top_down import TopDown


class ScoresPeaks(Protocol):
    """A network with class score maps `(B, K, h, w)` of images `(B, 3, H, W)` in 0..1, in evaluation mode."""

    def score_maps(self, rgb: Tensor) -> Tensor:
        """Score maps `(B, K, h, w)` of images."""

    def buffers(self) -> Iterator[Tensor]:
        """Tensors of the network that are not learnt."""


def peak_response_maps(net: ScoresPeaks, rgb: Tensor, peaks: Peaks, chunk: int = 32) -> Tensor:
    """PRMs `(P, H, W)` of the peaks of images `(B, 3, H, W)`.

    Each sums to 1, or is 0 everywhere if nothing comes down. One forward pass and the way down of `descend`.
    The network is neither changed nor hooked.
    """
    if not len(peaks):
        return rgb.new_zeros(0, *rgb.shape[2:])
    with torch.inference_mode(False), torch.enable_grad():
        return descend(trace(net, rgb), peaks, chunk)


@dataclass(frozen=True)
class Traced:
    """A forward pass whose graph leads down by eq. 1."""
    image: Tensor    # (B, 3, H, W)
    scores: Tensor   # (B, K, h, w)
    layers: Mapping[str, Tensor] = field(default_factory=dict)   # outputs of the modules that were asked for

    @spends("backward")
    def down(self, seeds: Tensor) -> Tensor:
        """Probabilities at the score maps, `(S, B, K, h, w)` -> at the image, `(S, B, 3, H, W)`."""
        def one_down(probability: Tensor) -> Tensor:
            return torch.autograd.grad(self.scores, self.image, probability, retain_graph=True)[0]

        return torch.vmap(one_down)(seeds)


@spends("forward")
def trace(net: ScoresPeaks, rgb: Tensor, layers: Sequence[str] = ()) -> Traced:
    """One forward pass of images `(B, 3, H, W)`; gradients must be on.

    With channels last, a CPU convolves several times faster. `layers` are modules of an `Fcn` whose outputs
    are wanted too.
    """
    image = rgb.detach().clone(memory_format=torch.channels_last).requires_grad_()
    with TopDown(net.buffers()) as rule:
        scores, outputs = net.scores_and_layers(image, layers) if layers else (net.score_maps(image), {})
    rule.check(scores)
    return Traced(image, scores, outputs)


def descend(traced: Traced, peaks: Peaks, chunk: int = 32) -> Tensor:
    """PRMs `(P, H, W)` of the peaks of a traced forward pass.

    The first peaks of all images go down together with the second ones, the third, ... - about `chunk` peaks
    at a time, which bounds the memory.
    """
    maps = traced.image.new_zeros(len(peaks), *traced.image.shape[2:])
    if not len(peaks):
        return maps
    for here, slot in _rounds(peaks.image, max(1, chunk // len(traced.image))):
        image = peaks.image[here]
        seeds = traced.scores.new_zeros(max(slot) + 1, *traced.scores.shape)
        seeds[slot, image, peaks.label[here], peaks.row[here], peaks.column[here]] = 1
        maps[here] = traced.down(seeds)[slot, image].sum(1).clamp(min=0)
    total = maps.sum((1, 2), keepdim=True)
    return torch.where(total > 0, maps / total, 0)


def _rounds(images: Tensor, slots: int) -> list[tuple[list[int], list[int]]]:
    """Which peaks go down together, and in which slot each: an image has one peak in a slot.

    From the image of each peak `(P,)`. Lists, not tensors: a GPU's numbers would be waited for every time.
    """
    seen: Counter[int] = Counter()
    rounds: dict[int, tuple[list[int], list[int]]] = {}
    for peak, image in enumerate(images.tolist()):
        number, slot = divmod(seen[image], slots)
        seen[image] += 1
        here, its_slots = rounds.setdefault(number, ([], []))
        here.append(peak)
        its_slots.append(slot)
    return list(rounds.values())
