"""How long peak response maps take: all peaks in one pass, or a backward pass each as in the original."""
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lib.base.process import medians
from lib.maps.peak_response import ScoresPeaks, peak_response_maps, trace
from lib.maps.peaks import Peaks

# Names of what is timed, as the record has them.
ONE_PASS_FORWARD = "one pass: forward"
ONE_PASS_DOWN = "one pass: down"
LOOP_DOWN = "one backward pass each: all of them"
LOOP_ON_ONE_PASS = "one backward pass each: all of them, on the graph of one pass"
LEAST = 0.1   # milliseconds of the way down, where noise makes the forward pass seem longer than the whole


def one_pass(peaks: int) -> str:
    """The name of the way of this suite, from the images on."""
    return f"{peaks} peaks in one pass"


def loop(peaks: int) -> str:
    """The name of the original code's way, from the images on."""
    return f"{peaks} peaks, one backward pass each"


def measure(net: ScoresPeaks, rgb: Tensor, peaks: Peaks) -> dict[str, float]:
    """Milliseconds for the peaks of images `(B, 3, H, W)`, and how many times as fast one pass is.

    Medians of rounds in which all take turns. Whole: from the images on, the forward pass included. The way
    down alone: from a graph that is there and stays.
    """
    n = len(peaks)
    with torch.enable_grad():
        traced = trace(net, rgb)
        hooked_graph = hooked(net, rgb)

    def forward_pass() -> None:
        with torch.enable_grad():
            trace(net, rgb)

    times = medians({
        one_pass(n): lambda: peak_response_maps(net, rgb, peaks, chunk=n),
        loop(n): lambda: one_by_one(*hooked(net, rgb), peaks),
        ONE_PASS_FORWARD: forward_pass,
        LOOP_DOWN: lambda: one_by_one(*hooked_graph, peaks),
        LOOP_ON_ONE_PASS: lambda: one_by_one(traced.image, traced.scores, peaks),
    })
    down = max(times[one_pass(n)] - times[ONE_PASS_FORWARD], LEAST)
    return times | {ONE_PASS_DOWN: round(down, 1),
                    "times as fast, whole": times[loop(n)] / times[one_pass(n)],
                    "times as fast, down": times[LOOP_DOWN] / down}


def one_by_one(image: Tensor, scores: Tensor, peaks: Peaks) -> Tensor:
    """PRMs `(P, H, W)`, each by a backward pass of its own through a graph that is kept."""
    maps = []
    places = torch.stack([peaks.image, peaks.label, peaks.row, peaks.column], dim=1)
    for number, label, row, column in places.tolist():
        seed = torch.zeros_like(scores)
        seed[number, label, row, column] = 1
        gradient, = torch.autograd.grad(scores, image, seed, retain_graph=True)
        prm = gradient[number].sum(0).clamp(min=0)
        maps.append(prm / prm.sum())
    return torch.stack(maps)


def hooked(net: ScoresPeaks, rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Images that gradients reach, and score maps on the graph of the original code.

    Two hooks and two convolutions stand for each convolution.
    """
    image = rgb.detach().clone().requires_grad_()
    with torch.enable_grad(), Hooked():
        return image, net.score_maps(image)


class Hooked(TorchFunctionMode):
    """While active in this thread, learnt convolutions are the original code's.

    Except that minima are each image's own, and constant, and that zeros which a network pads with before it
    convolves stay zeros, as those that a convolution pads with.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        if func is torch.conv2d and isinstance(args[1], nn.Parameter):
            return _convolve(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        if func is functional.pad:
            result.sides = list(args[1])
        return result


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, *where: Any) -> Tensor:
    sides = getattr(x, "sides", [0, 0, 0, 0])
    unpadded = functional.pad(x.detach(), [-n for n in sides])
    offset = unpadded.flatten(1).amin(1)[:, None, None, None]
    x = Before.apply(x, offset)
    response = functional.conv2d(x, weight, bias, *where).detach()
    lifted = x - offset
    if any(sides):
        lifted = functional.pad(functional.pad(lifted, [-n for n in sides]), sides)
    norm = functional.conv2d(lifted, weight.detach().relu(), None, *where)
    return After.apply(response, norm)


class Before(torch.autograd.Function):
    """The hook before a convolution: P times x - min(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor) -> Tensor:
        ctx.save_for_backward(x, offset)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor, None]:
        x, offset = ctx.saved_tensors
        return (x - offset) * p, None


class After(torch.autograd.Function):
    """The hook after a convolution: P over the normaliser goes to where the normaliser comes from."""

    @staticmethod
    def forward(ctx: Any, response: Tensor, norm: Tensor) -> Tensor:
        ctx.save_for_backward(norm)
        return response.clone()

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[None, Tensor]:
        norm, = ctx.saved_tensors
        shared = p / (norm.abs() + 1e-10)
        shared[norm < 1e-10] = 0
        return None, shared
