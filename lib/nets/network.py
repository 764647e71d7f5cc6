"""A classification network with names for what the papers read inside it."""
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lib.base.problem import Problem, nearest
from lib.base.spent import spends
from lib.nets.depthwise import quick_depthwise

STRIDE_PROBE = 448   # side of the image that finds the strides of the response maps
IsResponse = Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class NetworkInfo:
    """Everything that is known about a network's body.

    features        module whose output is the last convolutional map (B, D, h, w), the one that is globally
                    average pooled
    stages          "stage1".."stage5" -> module whose output ends that stage (nominal strides 2, 4, 8, 16,
                    32)
    is_response     (name, module) -> whether the module yields convolution response maps
    normalisation   RGB (B, 3, H, W) in 0..1 -> what the network was trained on
    linear          the linear layer after the pooling (None: there is none)
    weights         {"file", "sha256"[, "note"]}, or {} if random
    random          which of its layers have random weights where others have not, in words
    classes         class names, () if unknown
    """
    name: str
    output_stride: int
    features: str
    stages: Mapping[str, str]
    is_response: IsResponse
    normalisation: Callable[[Tensor], Tensor]
    linear: str | None
    weights: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    random: str = ""


class Network(nn.Module):
    """A body and what is known about it.

    Images go in as RGB (B, 3, H, W) in 0..1; module names are those of `body`. It has the fields of
    `NetworkInfo` as attributes, and beside them

    responses   stride -> every module that yields convolution response maps at that stride, in the order of
                the forward pass; after the activation where one follows directly; branch-internal reductions
                included. Sides are input/stride for inputs that are multiples of 32 (torchvision_inception_v3
                pads little: there the nearest power of two counts).

    vgg16_conv, a trunk without a classifier, returns its last map in place of logits.
    """

    def __init__(self, body: nn.Module, info: NetworkInfo) -> None:
        super().__init__()
        self.body = quick_depthwise(not_in_place(body)).eval()
        self.name = info.name
        self.output_stride = info.output_stride
        self.features = info.features
        self.stages = dict(info.stages)
        self.normalisation = info.normalisation
        self.linear = info.linear
        self.weights = dict(info.weights)
        self.random = info.random
        self.classes = tuple(info.classes)
        self.responses = _response_modules(self.body, info.is_response)
        self.eval()

    def normalise(self, rgb: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1 -> what the network was trained on."""
        return self.normalisation(rgb)

    @spends("forward")
    def forward(self, rgb: Tensor) -> Tensor:
        """Logits (B, K) of RGB images in 0..1."""
        return self.body(self.normalise(rgb))

    def activations(self, rgb: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Outputs of the named modules and "logits" from one forward pass.

        They are part of the graph where gradients are on.
        """
        modules = dict(self.body.named_modules())
        for name in names:
            if name not in modules:
                raise Problem(f'{self.name} has no module "{name}"{nearest(name, modules)}')
        outputs: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for name in names:
                handle = modules[name].register_forward_hook(_recorder(outputs, name))
                hooks.callback(handle.remove)
            outputs["logits"] = self(rgb)
        for name in names:
            if name not in outputs:
                raise Problem(f'{self.name}: the module "{name}" takes no part in the forward pass; '
                              "name one that does.")
        return outputs

    @property
    def classifier(self) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,) of the one linear layer after the global average pooling."""
        if self.linear is None:
            raise Problem(f"{self.name} has no single linear layer after a global average pooling, so it has "
                          "no exact class activation map; use a network that ends so, such as "
                          "googlenet_bvlc.")
        layer = self.body.get_submodule(self.linear)
        return layer.weight, layer.bias


def stages_of(*modules: str) -> dict[str, str]:
    """"stage1", "stage2", ... -> the modules that end them."""
    return {f"stage{number}": module for number, module in enumerate(modules, start=1)}


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
            padding = zip(module.padding, module.dilation, strict=True)
            module.padding = tuple(size // dilation for size, dilation in padding)
            module.dilation = (1, 1)
    return body


def choose(network: str, option: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse an option's value that the network does not offer."""
    if value in allowed:
        return
    *others, last = (str(offered) for offered in allowed)
    offer = f"{', '.join(others)} or {last}" if others else last
    raise Problem(f"{network}: {option} is {offer}, not {value!r}.")


def _recorder(outputs: dict[str, Tensor], name: str) -> Callable[..., None]:
    """A forward hook that puts a module's output under `name`."""
    def record(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        outputs[name] = output
    return record


def _side_recorder(sides: dict[str, int], name: str) -> Callable[..., None]:
    """A forward hook that keeps the side of a module's output alone, so that no map stays in memory."""
    def record(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        sides[name] = output.shape[-1]
    return record


def _response_modules(body: nn.Module, is_response: IsResponse) -> dict[int, tuple[str, ...]]:
    """Stride -> names, from one forward pass of a black image.

    A pass on the meta device would compute nothing, but import torch's compiler, which takes far longer.
    """
    sides: dict[str, int] = {}
    probe = torch.zeros(1, 3, STRIDE_PROBE, STRIDE_PROBE)
    with ExitStack() as hooks, torch.inference_mode():
        for name, module in body.named_modules():
            if is_response(name, module):
                hooks.callback(module.register_forward_hook(_side_recorder(sides, name)).remove)
        body(probe)
    names: dict[int, list[str]] = {}
    for name, side in sides.items():
        stride = 2 ** round(math.log2(STRIDE_PROBE / side))
        names.setdefault(stride, []).append(name)
    return {stride: tuple(names[stride]) for stride in sorted(names)}
