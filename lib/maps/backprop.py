"""Derivatives of class score maps at chosen layers, plain or guided (DCSM, section 3.3; Springenberg et al.), for many classes at once."""
from collections.abc import Callable, Mapping
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
            y.register_hook(lambda gradient: gradient.clamp(min=0))
        return y


def class_gradients(look: Look, image: Tensor, classes: Tensor, guided: bool = True, chunk: int = 8) -> dict[str, Tensor]:
    """max over channels of |dS_c / dL| at every layer L that `look` names: `{layer: (B, C, h, w)}` (eq. 3).

    `image` is `(B, 3, H, W)`; `classes` `(B, C)` names the classes of each image. One forward pass; from the score maps S(:, :, c) = 1 goes
    down for all classes together, at most `chunk` of them at a time, which bounds the memory.
    """
    with torch.enable_grad(), Rectifiers(guided):
        scores, layers = look(image.detach().requires_grad_())
        seeds = functional.one_hot(classes.T, scores.shape[1]).to(scores.dtype)   # (C, B, K)
        parts = []
        for start in range(0, len(seeds), chunk):
            ones = seeds[start:start + chunk, :, :, None, None].expand(-1, -1, -1, *scores.shape[2:])
            last = start + chunk >= len(seeds)
            found = torch.autograd.grad(scores, list(layers.values()), ones, retain_graph=not last, is_grads_batched=True)
            parts.append([g.abs().amax(2) for g in found])
    return {name: torch.cat(maps).transpose(0, 1) for name, *maps in zip(layers, *parts)}


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
