"""Dilated depthwise convolutions whose derivatives take a CPU as long as plain ones'.

Torch's own take ten times as long there (5 x 5, 1152 maps of 14 x 14, a batch of 16: 360 of 400 ms on one
core, half of a training step of EfficientNet-Lite0 at stride 16). The values are the same; of the derivatives
the order of sums is another.
"""
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight
from torch.overrides import has_torch_function

from lib.maps.top_down import Pair, Windows, reach_of, transposed


class DepthwiseConv2d(nn.Conv2d):
    """An nn.Conv2d; where it is dilated, depthwise and on a CPU, with derivatives that are fast there."""

    def forward(self, x: Tensor) -> Tensor:
        # Whoever watches torch's functions, as peak response maps do, sees the convolution that he expects.
        if not self._is_slow(x) or has_torch_function((x,)):
            return super().forward(x)
        windows = Windows(self.stride, self.padding, self.dilation, self.groups)
        return DilatedDepthwise.apply(x, self.weight, self.bias, windows)

    def _is_slow(self, x: Tensor) -> bool:
        reach = reach_of(self.weight, self.dilation)
        keeps_size = all(2 * p == r for p, r in zip(self.padding, reach, strict=True))
        return max(self.dilation) > 1 and keeps_size and torch.is_grad_enabled() and x.device.type == "cpu"


class DilatedDepthwise(torch.autograd.Function):
    """The convolution of every map with a kernel of its own, at stride 1, padded so that sides are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, windows: Windows) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.windows = windows
        return windows.convolve(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        windows = ctx.windows
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = transposed(weight, windows, x.shape[2:])(p)
        if ctx.needs_input_grad[1]:   # pixels `dilation` apart are neighbours in an image of their own
            padding = [n // d for n, d in zip(windows.padding, windows.dilation, strict=True)]
            images, told = phases(x, windows.dilation), phases(p, windows.dilation)
            of_weight = conv2d_weight(images, weight.shape, told, 1, padding, 1, len(weight))
        if ctx.needs_input_grad[2]:
            of_bias = p.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None


def quick_depthwise(body: nn.Module) -> nn.Module:
    """Give depthwise convolutions of stride 1 the class above, in place; weights and names stay."""
    for module in body.modules():
        is_plain = type(module) is nn.Conv2d and module.stride == (1, 1) and isinstance(module.padding, tuple)
        if is_plain and module.groups == module.in_channels == module.out_channels > 1:
            module.__class__ = DepthwiseConv2d
    return body


def phases(x: Tensor, dilation: Pair) -> Tensor:
    """Every `dilation`-th pixel of maps `(B, C, h, w)` as an image: `(B * dy * dx, C, ⌈h / dy⌉, ⌈w / dx⌉)`.

    Zeros fill up what an image lacks at the right and at the bottom.
    """
    down, across = dilation
    filled = functional.pad(x, [0, -x.shape[3] % across, 0, -x.shape[2] % down])
    batch, maps, height, width = filled.shape
    apart = filled.reshape(batch, maps, height // down, down, width // across, across)
    by_phase = apart.permute(0, 3, 5, 2, 4, 1)   # channels last
    images = by_phase.reshape(batch * down * across, height // down, width // across, maps)
    return images.permute(0, 3, 1, 2)
