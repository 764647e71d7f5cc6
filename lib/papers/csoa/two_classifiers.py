"""A trunk with a convolutional classifier on its last map, W_L, and one on an inner, W_F (section 3.1)."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from lib.base.problem import Problem, nearest
from lib.base.spent import spends
from lib.base.strict import bounded
from lib.nets import load_network
from lib.nets.fold import fold_normalisation
from lib.nets.network import Network
from lib.nets.saved import built_from, fill_described, read_described, save_described


@dataclass(frozen=True)
class Header:
    """What a file of weights says of its network; `side` is that of its input."""
    network: str
    classes: list[str]
    inner: str | None
    facts: dict[str, str | int | float]
    output_stride: int = bounded(1, 64)
    width: int = bounded(1, 4096)
    side: int = bounded(1, 4096)


class TwoClassifiers(nn.Module):
    """Class maps S_L and S_F `(B, K, h, w)` of one size; their averages are the logits y_L and y_F (eq. 1).

    inner   the stage of the trunk that W_F stands on; None: there is no second classifier
    width   of a classifier's 3x3 convolutions
    """

    def __init__(self, trunk: Network, inner: str | None, classes: Sequence[str], width: int) -> None:
        super().__init__()
        if not classes:
            raise Problem("A network needs at least one class to score.")
        if inner is not None and inner not in trunk.stages:
            raise Problem(f'{trunk.name} has no stage "{inner}"{nearest(inner, trunk.stages)}')
        self.trunk = trunk
        self.stage = inner
        self.classes = tuple(classes)
        self.inner = _module_of(trunk, inner)
        with torch.no_grad():
            maps = trunk.activations(torch.zeros(1, 3, 64, 64), self._modules_read())
        self.w_l = classifier(maps[trunk.features].shape[1], width, len(classes))
        self.w_f = classifier(maps[self.inner].shape[1], width, len(classes)) if inner else None
        self.eval()

    @spends("forward")
    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor | None]:
        """(S_L, S_F) of RGB images `(B, 3, H, W)` in 0..1; S_F is None without a second classifier."""
        maps = self.trunk.activations(rgb, self._modules_read())
        s_l = self.w_l(maps[self.trunk.features])
        if self.w_f is None:
            return s_l, None
        return s_l, adaptive_avg_pool2d(self.w_f(maps[self.inner]), s_l.shape[2:])

    def _modules_read(self) -> list[str]:
        return [self.trunk.features] if self.inner is None else [self.trunk.features, self.inner]


def _module_of(trunk: Network, stage: str | None) -> str | None:
    """The trunk's module whose feature maps are a stage's; those of the last stage are the trunk's own."""
    if stage is None:
        return None
    return trunk.features if stage == "stage5" else trunk.stages[stage]


def classifier(depth: int, width: int, classes: int) -> nn.Sequential:
    """conv 3x3 - conv 3x3 - conv 1x1 (section 4.1)."""
    layers = nn.Sequential(
        nn.Conv2d(depth, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, classes, 1))
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, std=0.01)
    return layers


def save_two_classifiers(net: TwoClassifiers, path: Path, side: int, **facts: str | int | float) -> None:
    """Write weights and what it takes to build the network again; `side` is that of its input."""
    save_described(net, path, "two_classifiers", {
        "network": net.trunk.name, "output_stride": net.trunk.output_stride, "classes": list(net.classes),
        "inner": net.stage, "width": net.w_l[0].out_channels, "side": side, "facts": facts})


def read_two_classifiers(path: Path | str) -> dict[str, Any]:
    """Read what `save_two_classifiers` wrote beside the weights."""
    return read_described(path, "two_classifiers", Header, "a network with two classifiers", "csoa_train")


def load_two_classifiers(path: Path | str) -> TwoClassifiers:
    """The network in evaluation mode, its normalisation folded, on the CPU."""
    header = read_two_classifiers(path)
    with built_from(path):
        trunk = load_network(header["network"], header["output_stride"], pretrained=False)
        net = fold_normalisation(TwoClassifiers(trunk, header["inner"], header["classes"], header["width"]))
    fill_described(net, path, header["network"], len(header["classes"]))
    return net.requires_grad_(False).to(memory_format=torch.channels_last)
