"""Fully convolutional networks of several classes, and their files.

Any trunk of `lib.nets` with a convolutional classifier on its last map scores the classes of an image of any
size at every place (DCSM, section 3.2). Trained, it is kept as one safetensors file that knows what it is. A
pretrained ImageNet network becomes one by its own linear layer at every place: where peaks of 1000 classes
come from (IAM, section 4.3).
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lib.base.problem import Problem
from lib.base.spent import spends
from lib.base.strict import bounded
from lib.maps.peaks import peak_stimulation
from lib.nets import load_network, with_weights
from lib.nets.network import Network
from lib.nets.saved import built_from, fill_described, read_described, save_described

IMAGE = "image"   # the name of the input among the layers
KIND = "fcn"      # what the files call such a network


@dataclass(frozen=True)
class Header:
    """What a file of weights says of its network; `facts` are those that are kept beside."""
    network: str
    classes: list[str]
    pooling: Literal["max", "peaks"]
    facts: dict[str, str | int | float]
    output_stride: int = bounded(1, 64)
    width: int = bounded(0, 4096)


def global_max(maps: Tensor) -> Tensor:
    """Class scores `(B, K)` of class maps `(B, K, h, w)`: the maximum of each."""
    return maps.amax((2, 3))


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {"max": global_max, "peaks": peak_stimulation}


class Fcn(nn.Module):
    """Class score maps of images of any size, which global pooling makes class scores.

    trunk     cut after its last convolutional map
    head      that `(B, D, h, w)` -> score maps `(B, K, h, w)`
    pooling   "max" (DCSM), or "peaks": the mean over each map's peaks (PRM)
    """

    def __init__(self, trunk: Network, head: nn.Sequential, classes: Sequence[str],
                 pooling: str = "max") -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.classes = tuple(classes)
        self.pooling = pooling
        self.eval()

    @property
    def name(self) -> str:
        """The trunk's name."""
        return self.trunk.name

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.parameters()).device

    def score_maps(self, rgb: Tensor) -> Tensor:
        """S `(B, K, h, w)` of RGB images `(B, 3, H, W)` in 0..1."""
        return self.scores_and_layers(rgb, ())[0]

    def scores_and_layers(self, rgb: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Score maps, and the outputs of the named modules of the trunk, from one forward pass.

        "image" is the input itself.
        """
        modules = [name for name in layers if name != IMAGE]
        outputs = self.trunk.activations(rgb, [*modules, self.trunk.features])
        scores = self.head(outputs[self.trunk.features])
        return scores, {name: rgb if name == IMAGE else outputs[name] for name in layers}

    @spends("forward")
    def forward(self, rgb: Tensor) -> Tensor:
        """Class scores f(x) `(B, K)`."""
        return self.pooled(self.score_maps(rgb))

    def pooled(self, maps: Tensor) -> Tensor:
        """Class scores `(B, K)` of score maps, by the network's pooling."""
        return POOLINGS[self.pooling](maps)

    @property
    def width(self) -> int:
        """Maps of fc6 and fc7, or 0 for a head of one convolution, as `fully_convolutional` was told."""
        return self.head[0].out_channels if len(self.head) > 2 else 0


def fully_convolutional(trunk: Network, classes: Sequence[str], width: int = 0, dropout: float = 0.5,
                        pooling: str = "max") -> Fcn:
    """A trunk with an untrained head.

    The head is one 1x1 convolution (`width` 0), or VGG's fc6, fc7 and fc8 as convolutions of that width.
    """
    if not classes:
        raise Problem("A network needs at least one class to score.")
    with torch.no_grad():
        features = trunk.activations(torch.zeros(1, 3, 64, 64), [trunk.features])[trunk.features]
    depth = features.shape[1]
    head = nn.Sequential(*_fc_layers(depth, width, dropout), nn.Conv2d(width or depth, len(classes), 1))
    for layer in head:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(head[-1].weight, std=0.01)
    return Fcn(trunk, head, classes, pooling)


def _fc_layers(depth: int, width: int, dropout: float) -> list[nn.Module]:
    """Everything before the last convolution."""
    if not width:
        return [nn.Dropout(dropout)]
    fc6 = [nn.Conv2d(depth, width, 3, padding=1), nn.ReLU(), nn.Dropout(dropout)]
    fc7 = [nn.Conv2d(width, width, 1), nn.ReLU(), nn.Dropout(dropout)]
    return fc6 + fc7


def save_fcn(fcn: Fcn, path: Path, **facts: str | int | float) -> None:
    """Write weights and what it takes to build the network again, whole or not at all.

    `facts` are kept beside.
    """
    save_described(fcn, path, KIND, {
        "network": fcn.name,
        "output_stride": fcn.trunk.output_stride,
        "classes": list(fcn.classes),
        "width": fcn.width,
        "pooling": fcn.pooling,
        "facts": facts,
    })


def read_header(path: Path | str) -> dict[str, Any]:
    """Everything that `save_fcn` wrote beside the weights."""
    return read_described(path, KIND, Header, "a multi-label network", "dcsm_train")


def load_fcn(path: Path | str, expected: str | None = None) -> Fcn:
    """The network in evaluation mode, on the CPU; `expected` is the trunk that the caller counts on."""
    header = read_header(path)
    network = header["network"]
    if expected not in (None, network):
        raise Problem(f"{path}: these are weights of {network}, not of {expected}; "
                      "name the file that belongs to it.")
    with built_from(path):
        trunk = load_network(network, header["output_stride"], pretrained=False)
        fcn = fully_convolutional(trunk, header["classes"], header["width"], pooling=header["pooling"])
    fill_described(fcn, path, network, len(header["classes"]))
    return fcn.requires_grad_(False).to(memory_format=torch.channels_last)


def imagenet_fcn(name: str) -> Fcn:
    """Score maps of the classes that a network was trained on; class scores are means over peaks."""
    trunk = with_weights(load_network(name))
    weight, bias = trunk.classifier
    head = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    with torch.no_grad():
        head.weight.copy_(weight[..., None, None])
        head.bias.copy_(bias)
    classes = trunk.classes or [str(number) for number in range(len(weight))]
    fcn = Fcn(trunk, nn.Sequential(head), classes, "peaks")
    return fcn.requires_grad_(False).to(memory_format=torch.channels_last)
