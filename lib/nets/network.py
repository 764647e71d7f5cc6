"""A classification network with names for what the papers read inside it."""
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from lib.base.problem import Problem, nearest
from lib.nets import load_network as load_network  # callers find both names here

PROBE = 448   # side of the image, on the meta device, that finds the response maps' strides


class Network(nn.Module):
    """A body and what is known about it. Images go in as RGB (B, 3, H, W) in 0..1; module names are those of `body`.

    features    module whose output is the last convolutional map (B, D, h, w), the one that is globally average pooled
    stages      "stage1".."stage5" -> module whose output ends that stage (nominal strides 2, 4, 8, 16, 32)
    responses   stride -> every module that yields convolution response maps at that stride, in the order of the forward pass;
                after the activation where one follows directly; branch-internal reductions included. Sides are input/stride
                for inputs that are multiples of 32 (torchvision_inception_v3 pads little: there the nearest power of two counts).
    weights     {"file", "sha256"[, "note"]}, or {} if random
    classes     class names, () if unknown

    `is_response(name, module)` picks the modules for `responses`; `linear` is the layer after the pooling (None: there is none).
    vgg16_conv, a trunk without a classifier, returns its last map in place of logits.
    """

    def __init__(self, name: str, body: nn.Module, *, output_stride: int, features: str, stages: dict[str, str],
                 is_response: Callable[[str, nn.Module], bool], normalisation: Callable[[Tensor], Tensor],
                 linear: str | None, weights: dict[str, str] | None = None, classes: Sequence[str] = ()) -> None:
        super().__init__()
        self.name = name
        self.body = not_in_place(body).eval()
        self.output_stride = output_stride
        self.features = features
        self.stages = stages
        self.normalisation = normalisation
        self.linear = linear
        self.weights = weights or {}
        self.classes = tuple(classes)
        self.responses = _response_modules(self.body, is_response)
        self.eval()

    def normalise(self, rgb: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1 -> what the network was trained on."""
        return self.normalisation(rgb)

    def forward(self, rgb: Tensor) -> Tensor:
        """Logits (B, K) of RGB images in 0..1."""
        return self.body(self.normalise(rgb))

    def activations(self, rgb: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Outputs of the named modules and "logits" from one forward pass, part of the graph where gradients are on."""
        modules = dict(self.body.named_modules())
        for name in names:
            if name not in modules:
                raise Problem(f'{self.name} has no module "{name}"{nearest(name, modules)}')
        found: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for name in names:
                handle = modules[name].register_forward_hook(_recorder(found, name))
                hooks.callback(handle.remove)
            found["logits"] = self(rgb)
        if missing := [n for n in names if n not in found]:
            raise Problem(f'{self.name}: the module "{missing[0]}" takes no part in the forward pass; name one that does.')
        return found

    @property
    def classifier(self) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,) of the one linear layer after the global average pooling."""
        if self.linear is None:
            raise Problem(f"{self.name} has no single linear layer after a global average pooling, so it has no exact class "
                          "activation map; use a network that ends so, such as googlenet_bvlc.")
        layer = self.body.get_submodule(self.linear)
        return layer.weight, layer.bias


def not_in_place(body: nn.Module) -> nn.Module:
    """Switch in-place activations off: they would overwrite the outputs that hooks recorded before them."""
    for module in body.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    return body


def undilate(body: nn.Module) -> nn.Module:
    """Set dilated convolutions back to dilation 1; the maps keep their sizes."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d) and max(module.dilation) > 1:
            module.padding = tuple(p // d for p, d in zip(module.padding, module.dilation))
            module.dilation = (1, 1)
    return body


def choose(network: str, option: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse an option's value that the network does not offer."""
    if value not in allowed:
        raise Problem(f"{network}: {option} is {', '.join(str(a) for a in allowed[:-1])}{' or ' if allowed[1:] else ''}{allowed[-1]}, "
                      f"not {value!r}.")


def _recorder(found: dict[str, Tensor], name: str) -> Callable[..., None]:
    def record(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        found[name] = output
    return record


def _response_modules(body: nn.Module, is_response: Callable[[str, nn.Module], bool]) -> dict[int, tuple[str, ...]]:
    """Stride -> names, from one forward pass on the meta device (shapes only, nothing is computed)."""
    found: dict[str, Tensor] = {}
    state = {k: v.detach().to("meta") for k, v in (*body.named_parameters(), *body.named_buffers())}
    with ExitStack() as hooks, torch.no_grad():
        for name, module in body.named_modules():
            if is_response(name, module):
                hooks.callback(module.register_forward_hook(_recorder(found, name)).remove)
        torch.func.functional_call(body, state, torch.empty(1, 3, PROBE, PROBE, device="meta"))
    strides = {name: 2 ** round(math.log2(PROBE / maps.shape[-1])) for name, maps in found.items()}
    return {s: tuple(n for n in strides if strides[n] == s) for s in sorted(set(strides.values()))}
