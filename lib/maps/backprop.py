"""Derivatives of class score maps at chosen layers, for many classes at once.

Plain ones, or guided ones (DCSM, section 3.3; Springenberg et al.).
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lib.base.spent import spends

# image -> score maps and the layers of interest
ForwardPass = Callable[[Tensor], tuple[Tensor, Mapping[str, Tensor]]]

RELU = {torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu}
RELU6 = {functional.relu6}
HARDTANH = {functional.hardtanh, functional.hardtanh_}


class Rectifiers(TorchFunctionMode):
    """While active in this thread, every ReLU and ReLU6 leaves its input untouched.

    If `guided`, it passes positive gradients only. Modules are neither changed nor hooked: the rule hangs on
    the tensors of this one graph and goes with them. In-place rectifiers would overwrite what a layer's
    derivative is taken at; here they answer with a new tensor.
    """

    def __init__(self, guided: bool) -> None:
        super().__init__()
        self.guided = guided

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        bounds = _bounds(func, args, kwargs)
        if bounds is None:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        # neither is intercepted: inside, the mode is off
        y = x.clamp(*bounds) if bounds[1] is not None else x.relu()
        if self.guided and y.requires_grad:
            y.grad_fn.register_prehook(_positive_part)   # a derivative at y itself stays whole
        return y


@dataclass(frozen=True)
class Traced:
    """One forward pass, ready for the backward pass: score maps `(B, K, h, w)` and the layers of interest."""
    scores: Tensor
    layers: Mapping[str, Tensor]

    @spends("backward")
    def gradients(self, classes: Tensor, chunk: int = 8, last: bool = True) -> dict[str, Tensor]:
        """max over channels of |dS_c / dL| at every layer L (eq. 3): `{layer: (B, C, h, w)}`.

        For the classes `(B, C)` of each image: from the score maps S(:, :, c) = 1 goes down for all classes
        together, at most `chunk` of them at a time, which bounds the memory. After the `last` call the graph
        is freed.
        """
        numbers = classes.T.to(self.scores.device)
        seeds = functional.one_hot(numbers, self.scores.shape[1]).to(self.scores.dtype)   # (C, B, K)
        layers = list(self.layers.values())
        parts: list[list[Tensor]] = []
        for start in range(0, len(seeds), chunk):
            part = seeds[start:start + chunk, :, :, None, None]
            ones = part.expand(-1, -1, -1, *self.scores.shape[2:])
            keep = not last or start + chunk < len(seeds)
            gradients = torch.autograd.grad(
                self.scores, layers, ones, retain_graph=keep, is_grads_batched=True)
            parts.append([gradient.abs().amax(2) for gradient in gradients])
        by_layer = zip(self.layers, zip(*parts, strict=True), strict=True)
        return {name: torch.cat(maps).transpose(0, 1) for name, maps in by_layer}


@spends("forward")
def trace(forward_pass: ForwardPass, image: Tensor, guided: bool) -> Traced:
    """One forward pass of images `(B, 3, H, W)`; how gradients come back through it is decided here."""
    with torch.enable_grad(), Rectifiers(guided):
        return Traced(*forward_pass(image.detach().requires_grad_()))


def _positive_part(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (gradients[0].clamp(min=0),)


def _bounds(func: Callable, args: tuple, kwargs: dict) -> tuple[float, float | None] | None:
    """(lower, upper) of a rectifier, None for anything else."""
    if func in RELU:
        return 0.0, None
    if func in RELU6:
        return 0.0, 6.0
    if func in HARDTANH:
        by_position = dict(zip(("min_val", "max_val"), args[1:3], strict=False))
        given = {"min_val": -1.0, "max_val": 1.0} | by_position | kwargs
        return (0.0, given["max_val"]) if given["min_val"] == 0 else None
    return None
