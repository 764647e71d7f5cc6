"""The rule by which probability goes down a network, as the derivative that torch takes (IAM, eq. 1).

At a convolution with weights W and input x, what arrives from above is shared among the inputs by what they
contribute through non-negative weights:

    P_in = x' * convT(P_out / (W+ x'), W+)   with   W+ = max(W, 0)   and   x' = x - min(x)

Biases play no part; all other layers pass it on by their ordinary derivative.
"""
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lib.base.problem import Problem

NOTHING = 1e-10   # at most this much to share: nothing goes down
ELEMENTWISE = {
    torch.relu,
    Tensor.relu,
    functional.relu,
    functional.relu6,
    functional.hardtanh,
    functional.silu,
    functional.batch_norm,
}
Pair = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """The way down from what a convolution puts out: x' * convT(share * P, W+).

    Or from what element-wise layers make of that: their derivatives are factors of the share.
    """
    lifted: Tensor                       # x' (B, C, h, w)
    share: Tensor                        # 1 / (W+ x') (B, D, h', w'), times the element-wise derivatives
    spread: Callable[[Tensor], Tensor]   # convT(., W+)

    def __call__(self, p: Tensor) -> Tensor:
        """`(..., B, D, h', w')` -> `(..., B, C, h, w)`."""
        leading = p.shape[:-3]
        return self.spread((p * self.share).flatten(0, -4)).unflatten(0, leading).mul_(self.lifted)


@dataclass(frozen=True)
class Convolution:
    """The arguments of torch.conv2d."""
    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: int | Pair = 1
    padding: str | int | Pair = 0
    dilation: int | Pair = 1
    groups: int = 1

    def plain(self) -> Tensor:
        """The convolution as torch has it."""
        return functional.conv2d(
            self.input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@dataclass(frozen=True)
class Windows:
    """Where the windows of a convolution lie in its input, in the order of torch.conv2d's arguments."""
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The convolution of these windows."""
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class TopDown(TorchFunctionMode):
    """While active in this thread, the graph that convolutions leave behind leads down by eq. 1.

    Their outputs are unchanged. Modules are neither changed nor hooked; the rule hangs on the tensors of this
    one graph and goes with them. An element-wise layer after a convolution becomes part of that convolution's
    step: its derivative is one more factor of the share. `constants` are weights that are not learnt: a
    convolution with one of them is no layer but part of some other layer's arithmetic, as in GoogLeNet's norm
    over channels.
    """

    def __init__(self, constants: Iterator[Tensor]) -> None:
        super().__init__()
        self.constants = {id(tensor): tensor for tensor in constants}
        self.arithmetic: list[Node] = []   # the graph's nodes of convolutions with constants
        self.intercepted = 0

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return self._convolve(Convolution(*args, **kwargs))
        if func is functional.pad:
            return _pad(*args, **kwargs)
        if func in ELEMENTWISE and args and not _says_true(args, kwargs):
            origin = _known(args[0], Origin)
            if origin is not None:
                return _extend(origin, func, *args, **kwargs)
        return func(*args, **kwargs)

    def _convolve(self, convolution: Convolution) -> Tensor:
        if isinstance(convolution.weight, nn.Parameter):
            self.intercepted += 1
            return _linked_convolution(convolution)
        y = convolution.plain()
        if id(convolution.weight) in self.constants and y.grad_fn is not None:
            self.arithmetic.append(y.grad_fn)
        return y

    def check(self, scores: Tensor) -> None:
        """Refuse a forward pass with a convolution through which probability would not go down by eq. 1."""
        arithmetic = set(self.arithmetic)
        missed = [node for node in _convolutions_below(scores) if node not in arithmetic]
        if missed:
            total = self.intercepted + len(missed)
            raise Problem(f"Peak response maps: {len(missed)} of this network's {total} convolutions are not "
                          "reached by torch.conv2d with weights of their own, so eq. 1 does not hold there; "
                          "use a network of plain nn.Conv2d layers.")


def _convolutions_below(scores: Tensor) -> list[Node]:
    """The nodes of the graph below the scores at which torch would take the derivative of a convolution."""
    waiting = [scores.grad_fn]
    visited: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        waiting += [below for below, _ in node.next_functions]
    return [node for node in visited if "Convolution" in node.name()]


def _linked_convolution(convolution: Convolution) -> Tensor:
    """The convolution's own output, from which eq. 1 leads down to its input."""
    x = convolution.input
    weight = convolution.weight
    stride = _pair(convolution.stride)
    dilation = _pair(convolution.dilation)
    padding = convolution.padding
    if padding == "same":
        reach = reach_of(weight, dilation)
        sides = [reach[1] // 2, (reach[1] + 1) // 2, reach[0] // 2, (reach[0] + 1) // 2]
        x = _pad(x, sides)
        padding = 0
    elif padding == "valid":
        padding = 0
    windows = Windows(stride, _pair(padding), dilation, convolution.groups)
    with torch.no_grad():
        lifted = _lift(x)
        positive = weight.clamp(min=0)
        norm = windows.convolve(lifted, positive)
        share = norm.reciprocal().masked_fill_(norm < NOTHING, 0)
        y = windows.convolve(x, weight, convolution.bias)
    return _linked(Anchor.apply(x), y, Step(lifted, share, transposed(positive, windows, x.shape[2:])))


def _lift(x: Tensor) -> Tensor:
    """x' = x - min(x), and 0 in the padding, also where a network pads before it convolves.

    The minimum is each image's own. The original code takes it over all of its input, which is one image:
    taken over a batch, a map would depend on the other images.
    """
    padding = _known(x, Padding)
    if padding is not None:
        inner = functional.pad(x, [-n for n in padding.sides])
        return functional.pad(_lift(inner), padding.sides)
    return x - x.amin((1, 2, 3), keepdim=True)


def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """torch's own padding, with a note on the tensor where it is one of zeros around an image."""
    padded = functional.pad(input, pad, mode, value)
    if mode == "constant" and not value and len(pad) == 4 and min(pad) >= 0:
        padded.known = Padding(tuple(pad)), padded._version
    return padded


def _extend(origin: "Origin", func: Callable, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """An element-wise layer after a convolution, made part of that convolution's step."""
    x = x.detach().requires_grad_()
    y = func(x, *args, **kwargs)
    share, = torch.autograd.grad(y, x, origin.step.share)   # times the derivative
    step = replace(origin.step, share=share)
    return _linked(origin.anchor, y.detach(), step)


def _linked(anchor: Tensor, y: Tensor, step: Step) -> Tensor:
    """The tensor y, from which the step leads down to the anchor."""
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
    """The note on a tensor, if it is of that kind and the tensor was not changed since; else None."""
    note, version = getattr(x, "known", (None, 0))
    return note if isinstance(note, kind) and x._version == version else None


def _says_true(args: tuple, kwargs: dict) -> bool:
    """Whether a layer works in place, or is a batch norm with the batch's own statistics.

    Neither is a factor for every element. Autograd knows what to do.
    """
    return any(value is True for value in (*args, *kwargs.values()))


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)


def reach_of(weight: Tensor, dilation: Pair) -> Pair:
    """How many rows and columns the last of a window's pixels lies behind the first."""
    height, width = weight.shape[2:]
    return dilation[0] * (height - 1), dilation[1] * (width - 1)


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


def transposed(weight: Tensor, windows: Windows, size: torch.Size) -> Callable[[Tensor], Tensor]:
    """convT(., W): from `(N, D, h', w')` back to the `(N, C, *size)` that a convolution with W reads.

    W is `(D, C / groups, r, s)`.
    """
    reach = reach_of(weight, windows.dilation)
    margin = [r - p for r, p in zip(reach, windows.padding, strict=True)]
    if windows.stride == (1, 1) and min(margin) >= 0:
        # a convolution with the kernel turned round: on a CPU many times faster than the transposed one
        # (dilated depthwise kernels)
        by_group = weight.unflatten(0, (windows.groups, -1)).transpose(1, 2).flatten(0, 1)
        turned = by_group.flip(2, 3).contiguous(memory_format=torch.channels_last)
        return lambda p: functional.conv2d(p, turned, None, 1, margin, windows.dilation, windows.groups)
    weight = weight.contiguous(memory_format=torch.channels_last)
    axes = zip(size, windows.padding, reach, windows.stride, strict=True)
    unread = [(n + 2 * p - r - 1) % s for n, p, r, s in axes]
    return lambda p: functional.conv_transpose2d(
        p, weight, None, windows.stride, windows.padding, unread, windows.groups, windows.dilation)
