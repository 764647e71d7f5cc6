"""Derivatives of class score maps at chosen layers, plain or guided (DCSM, section 3.3; Springenberg et al.), for many classes at once."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Look = Callable[[Tensor], tuple[Tensor, Mapping[str, Tensor]]]   # image -> score maps (B, K, h, w) and the layers of interest

RELU = {torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu}
RELU6 = {functional.relu6}
HARDTANH = {functional.hardtanh, functional.hardtanh_}


class Rectifiers(TorchFunctionMode):
    """While active in this thread, every ReLU and ReLU6 leaves its input untouched and, if `guided`, passes positive gradients only.

    Modules are neither changed nor hooked: the rule hangs on the tensors of this one graph and goes with them. In-place rectifiers
    would overwrite what a layer's derivative is taken at; here they answer with a new tensor.
    """

    def __init__(self, guided: bool) -> None:
        super().__init__()
        self.guided = guided

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        bounds = _bounds(func, args, kwargs)
        if bounds is None:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        y = x.clamp(*bounds) if bounds[1] is not None else x.relu()   # not intercepted: inside, the mode is off
        if self.guided and y.requires_grad:
            y.grad_fn.register_prehook(lambda gradients: (gradients[0].clamp(min=0),))   # a derivative at y itself stays whole
        return y


@dataclass(frozen=True)
class Traced:
    """One forward pass, ready for the way back: score maps `(B, K, h, w)` and the layers of interest."""
    scores: Tensor
    layers: Mapping[str, Tensor]

    def gradients(self, classes: Tensor, chunk: int = 8, last: bool = True) -> dict[str, Tensor]:
        """max over channels of |dS_c / dL| at every layer L: `{layer: (B, C, h, w)}` (eq. 3), for the classes `(B, C)` of each image.

        From the score maps S(:, :, c) = 1 goes down for all classes together, at most `chunk` of them at a time, which bounds the
        memory. After the `last` call the graph is freed.
        """
        seeds = functional.one_hot(classes.T.to(self.scores.device), self.scores.shape[1]).to(self.scores.dtype)   # (C, B, K)
        parts = []
        for start in range(0, len(seeds), chunk):
            ones = seeds[start:start + chunk, :, :, None, None].expand(-1, -1, -1, *self.scores.shape[2:])
            keep = not last or start + chunk < len(seeds)
            found = torch.autograd.grad(self.scores, list(self.layers.values()), ones, retain_graph=keep, is_grads_batched=True)
            parts.append([g.abs().amax(2) for g in found])
        return {name: torch.cat(maps).transpose(0, 1) for name, *maps in zip(self.layers, *parts)}


def trace(look: Look, image: Tensor, guided: bool) -> Traced:
    """Look at images `(B, 3, H, W)` once; what is done with gradients on the way back is decided here."""
    with torch.enable_grad(), Rectifiers(guided):
        return Traced(*look(image.detach().requires_grad_()))


def class_gradients(look: Look, image: Tensor, classes: Tensor, guided: bool = True, chunk: int = 8) -> dict[str, Tensor]:
    """Both ways at once: the derivatives of the classes `(B, C)` at every layer that `look` names, `{layer: (B, C, h, w)}`."""
    return trace(look, image, guided).gradients(classes, chunk)


def _bounds(func: Callable, args: tuple, kwargs: dict) -> tuple[float, float | None] | None:
    """(lower, upper) of a rectifier, None for anything else."""
    if func in RELU:
        return 0.0, None
    if func in RELU6:
        return 0.0, 6.0
    if func in HARDTANH:
        given = {"min_val": -1.0, "max_val": 1.0} | dict(zip(("min_val", "max_val"), args[1:3])) | kwargs
        return (0.0, given["max_val"]) if given["min_val"] == 0 else None
    return None
