"""Peak response maps: what in the image a peak of a class's score map comes from (IAM, section 3.1), for all peaks of a batch at once.

From a peak, probability goes down layer by layer. At every convolution it is shared among the inputs by what they contribute through
non-negative weights (eq. 1): P_in = x' * convT(P_out / (W+ x'), W+) with W+ = max(W, 0) and x' = x - min(x). Biases play no part; all
other layers pass it on by their ordinary derivative.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lib.maps.peaks import Peaks

NOTHING = 1e-10   # at most this much to share: nothing goes down
ELEMENTWISE = {torch.relu, Tensor.relu, functional.relu, functional.relu6, functional.hardtanh, functional.silu, functional.batch_norm}
Pair = tuple[int, int]


class ScoresPeaks(Protocol):
    """A network with class score maps `(B, K, h, w)` of images `(B, 3, H, W)` in 0..1, in evaluation mode."""
    def score_maps(self, rgb: Tensor) -> Tensor: ...


def peak_response_maps(net: ScoresPeaks, rgb: Tensor, peaks: Peaks, chunk: int = 32) -> Tensor:
    """PRMs `(P, H, W)` of the peaks of images `(B, 3, H, W)`; each sums to 1, or is 0 everywhere if nothing comes down.

    One forward pass and the way down of `descend`. The network is neither changed nor hooked.
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
    seen: Mapping[str, Tensor] = field(default_factory=dict)   # outputs of the layers that were asked for

    def down(self, seeds: Tensor) -> Tensor:
        """Probabilities at the score maps, `(S, B, K, h, w)` -> at the image, `(S, B, 3, H, W)`."""
        return torch.vmap(lambda p: torch.autograd.grad(self.scores, self.image, p, retain_graph=True)[0])(seeds)


def trace(net: ScoresPeaks, rgb: Tensor, layers: Sequence[str] = ()) -> Traced:
    """Look at images `(B, 3, H, W)` once; gradients must be on. With channels last, a CPU convolves several times faster.

    `layers` are modules of an `Fcn` whose outputs are wanted too.
    """
    image = rgb.detach().clone(memory_format=torch.channels_last).requires_grad_()
    with TopDown():
        scores, seen = net.look(image, layers) if layers else (net.score_maps(image), {})
        return Traced(image, scores, seen)


def descend(traced: Traced, peaks: Peaks, chunk: int = 32) -> Tensor:
    """PRMs `(P, H, W)` of the peaks of a traced forward pass.

    The first peaks of all images go down together with the second ones, the third, ... - about `chunk` peaks at a time, which bounds
    the memory.
    """
    maps = traced.image.new_zeros(len(peaks), *traced.image.shape[2:])
    if not len(peaks):
        return maps
    place = _place_in_image(peaks.image)
    slots = max(1, chunk // len(traced.image))
    for first in range(0, int(place.max()) + 1, slots):
        here = ((place >= first) & (place < first + slots)).nonzero()[:, 0]
        slot, image = place[here] - first, peaks.image[here]
        seeds = traced.scores.new_zeros(int(slot.max()) + 1, *traced.scores.shape)
        seeds[slot, image, peaks.label[here], peaks.row[here], peaks.column[here]] = 1
        maps[here] = traced.down(seeds)[slot, image].sum(1).clamp(min=0)
    total = maps.sum((1, 2), keepdim=True)
    return torch.where(total > 0, maps / total, 0)


def _place_in_image(image: Tensor) -> Tensor:
    """How many peaks of the same image come before each peak `(P,)`."""
    return functional.one_hot(image).cumsum(0).gather(1, image[:, None])[:, 0] - 1


@dataclass(frozen=True)
class Step:
    """The way down from what a convolution puts out, or from what element-wise layers make of that: x' * convT(share * P, W+)."""
    lifted: Tensor                       # x' (B, C, h, w)
    share: Tensor                        # 1 / (W+ x') (B, D, h', w'), and the derivatives of element-wise layers after the convolution
    spread: Callable[[Tensor], Tensor]   # convT(., W+)

    def __call__(self, p: Tensor) -> Tensor:
        """`(..., B, D, h', w')` -> `(..., B, C, h, w)`."""
        leading = p.shape[:-3]
        return self.spread((p * self.share).flatten(0, -4)).unflatten(0, leading).mul_(self.lifted)


class TopDown(TorchFunctionMode):
    """While active in this thread, the graph that convolutions leave behind leads down by eq. 1. What they put out is unchanged.

    Modules are neither changed nor hooked; the rule hangs on the tensors of this one graph and goes with them. An element-wise layer
    after a convolution becomes part of that convolution's step: its derivative is one more factor of the share.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return _convolve(*args, **kwargs)
        if func is functional.pad:
            return _pad(*args, **kwargs)
        if func in ELEMENTWISE and args and (origin := _known(args[0], Origin)) and not _says_true(args, kwargs):
            return _extend(origin, func, *args, **kwargs)
        return func(*args, **kwargs)


def _convolve(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1, padding: str | int | Pair = 0,
              dilation: int | Pair = 1, groups: int = 1) -> Tensor:
    if not isinstance(weight, nn.Parameter):   # nothing learnt: the constant band that GoogLeNet's norm over channels is computed with
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    stride, dilation = _pair(stride), _pair(dilation)
    if padding == "same":
        reach = [d * (n - 1) for d, n in zip(dilation, weight.shape[2:])]
        input, padding = _pad(input, [reach[1] // 2, (reach[1] + 1) // 2, reach[0] // 2, (reach[0] + 1) // 2]), 0
    where = stride, _pair(0 if padding == "valid" else padding), dilation, groups
    with torch.no_grad():
        lifted, positive = _lift(input), weight.clamp(min=0)
        norm = functional.conv2d(lifted, positive, None, *where)
        share = norm.reciprocal().masked_fill_(norm < NOTHING, 0)
        y = functional.conv2d(input, weight, bias, *where)
    return _linked(Anchor.apply(input), y, Step(lifted, share, transposed(positive, *where, input.shape[2:])))


def _lift(x: Tensor) -> Tensor:
    """x' = x - min(x), and 0 in the padding, also where a network pads before it convolves.

    The minimum is each image's own. The original code takes it over all of its input, which is one image: taken over a batch, a map
    would depend on the other images.
    """
    if padding := _known(x, Padding):
        inner = functional.pad(x, [-n for n in padding.sides])
        return functional.pad(_lift(inner), padding.sides)
    return x - x.flatten(1).amin(1)[:, None, None, None]


def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    padded = functional.pad(input, pad, mode, value)
    if mode == "constant" and not value and len(pad) == 4 and min(pad) >= 0:
        padded.known = Padding(tuple(pad)), padded._version
    return padded


def _extend(origin: "Origin", func: Callable, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    x = x.detach().requires_grad_()
    y = func(x, *args, **kwargs)
    derivative, = torch.autograd.grad(y, x, torch.ones_like(y))
    return _linked(origin.anchor, y.detach(), replace(origin.step, share=origin.step.share * derivative))


def _linked(anchor: Tensor, y: Tensor, step: Step) -> Tensor:
    y = Link.apply(anchor, (y,), step)
    y.known = Origin(anchor, step), y._version
    return y


@dataclass(frozen=True)
class Origin:
    """A convolution, perhaps with element-wise layers after it, whose input is anchored."""
    anchor: Tensor
    step: Step


@dataclass(frozen=True)
class Padding:
    """Zeros around an image, as functional.pad counts them."""
    sides: tuple[int, ...]


def _known(x: Any, kind: type) -> Any:
    """What was noted about a tensor, if it is of that kind and the tensor was not changed in place since."""
    note, version = getattr(x, "known", (None, 0))
    return note if isinstance(note, kind) and x._version == version else None


def _says_true(args: tuple, kwargs: dict) -> bool:
    """In place, or batch norm with the batch's own statistics: neither is a factor for every element. Autograd knows what to do."""
    return any(value is True for value in (*args, *kwargs.values()))


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)


class Anchor(torch.autograd.Function):
    """Stands for a tensor in the graph without holding its values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.new_empty(()).expand_as(x)

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> Tensor:
        return p


class Link(torch.autograd.Function):
    """The way from a tensor that is there already down to an anchor."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, made: tuple[Tensor], step: Step) -> Tensor:
        ctx.step = step
        return made[0]

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor, None, None]:
        return Down.apply(p, ctx.step), None, None


class Down(torch.autograd.Function):
    """A step, which takes all slots of a vmap as one batch."""

    @staticmethod
    def forward(p: Tensor, step: Step) -> Tensor:
        return step(p)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple, p: Tensor, step: Step) -> tuple[Tensor, int]:
        return step(p.movedim(in_dims[0], 0)), 0


def transposed(weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int, size: torch.Size) -> Callable[[Tensor], Tensor]:
    """convT(., W): from `(N, D, h', w')` back to the `(N, C, *size)` that a convolution with W `(D, C / groups, r, s)` reads."""
    reach = [d * (n - 1) for d, n in zip(dilation, weight.shape[2:])]
    if stride == (1, 1) and all(p <= r for p, r in zip(padding, reach)):
        # a convolution with the kernel turned round: on a CPU many times faster than the transposed one (dilated depthwise kernels)
        turned = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)
        margin = [r - p for r, p in zip(reach, padding)]
        return lambda p: functional.conv2d(p, turned, None, 1, margin, dilation, groups)
    weight = weight.contiguous(memory_format=torch.channels_last)
    unread = [(n + 2 * p - r - 1) % s for n, p, r, s in zip(size, padding, reach, stride)]
    return lambda p: functional.conv_transpose2d(p, weight, None, stride, padding, unread, groups, dilation)
