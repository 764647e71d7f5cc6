"""Fully convolutional multi-label networks: any trunk of `lib.nets` with a convolutional classifier on its last map (DCSM, section 3.2)."""
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.base.problem import Problem
from lib.maps.peaks import peak_stimulation
from lib.nets import load_network
from lib.nets.network import Network
from lib.nets.saved import fill_described, read_described, save_described

IMAGE = "image"   # the name of the input among the layers
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {"max": lambda maps: maps.amax((2, 3)), "peaks": peak_stimulation}   # maps (B, K, h, w) to scores


class Fcn(nn.Module):
    """Class score maps of images of any size; global max pooling (DCSM), or the mean over their peaks (PRM), makes them class scores.

    `trunk` is cut after its last convolutional map; `head` maps that `(B, D, h, w)` to score maps `(B, K, h, w)`.
    """

    def __init__(self, trunk: Network, head: nn.Sequential, classes: Sequence[str], pooling: str = "max") -> None:
        super().__init__()
        self.trunk, self.head, self.classes, self.pooling = trunk, head, tuple(classes), pooling
        self.eval()

    @property
    def name(self) -> str:
        return self.trunk.name

    def score_maps(self, rgb: Tensor) -> Tensor:
        """S `(B, K, h, w)` of RGB images `(B, 3, H, W)` in 0..1."""
        return self.look(rgb, ())[0]

    def look(self, rgb: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Score maps and the outputs of the named modules of the trunk from one forward pass; "image" is the input itself."""
        names = [name for name in layers if name != IMAGE]
        seen = self.trunk.activations(rgb, [*names, self.trunk.features])
        found = {IMAGE: rgb} | {name: seen[name] for name in names}
        return self.head(seen[self.trunk.features]), {name: found[name] for name in layers}

    def forward(self, rgb: Tensor) -> Tensor:
        """Class scores f(x) `(B, K)`."""
        return self.pooled(self.score_maps(rgb))

    def pooled(self, maps: Tensor) -> Tensor:
        """Class scores `(B, K)` of score maps: what each has to say in one number."""
        return POOLINGS[self.pooling](maps)


def fully_convolutional(trunk: Network, classes: Sequence[str], width: int = 0, dropout: float = 0.5,
                        pooling: str = "max") -> Fcn:
    """An untrained head on a trunk: one 1x1 convolution (`width` 0), or VGG's fc6, fc7 and fc8 as convolutions of that width."""
    if not classes:
        raise Problem("A network needs at least one class to score.")
    with torch.no_grad():
        depth = trunk.activations(torch.zeros(1, 3, 64, 64), [trunk.features])[trunk.features].shape[1]
    head = nn.Sequential(*_fc_layers(depth, width, dropout), nn.Conv2d(width or depth, len(classes), 1))
    for layer in head:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(head[-1].weight, std=0.01)
    return Fcn(trunk, head, classes, pooling)


def _fc_layers(depth: int, width: int, dropout: float) -> list[nn.Module]:
    if not width:
        return [nn.Dropout(dropout)]
    return [nn.Conv2d(depth, width, 3, padding=1), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Dropout(dropout)]


FIELDS = ("network", "output_stride", "classes", "width", "pooling", "facts")


def save_fcn(fcn: Fcn, path: Path, **facts: str | int | float) -> None:
    """Write weights and what it takes to build the network again, whole or not at all; `facts` are kept beside."""
    save_described(fcn, path, "fcn", {"network": fcn.name, "output_stride": fcn.trunk.output_stride, "classes": list(fcn.classes), "width": _width(fcn),
                                      "pooling": fcn.pooling, "facts": facts})


def read_header(path: Path | str) -> dict:
    """What `save_fcn` wrote beside the weights."""
    return read_described(path, "fcn", FIELDS, "a multi-label network", "dcsm_train")


def load_fcn(path: Path | str, expected: str | None = None) -> Fcn:
    """The network in evaluation mode, on the CPU; `expected` is the trunk that the caller counts on."""
    header = read_header(path)
    if expected not in (None, header["network"]):
        raise Problem(f"{path}: these are weights of {header['network']}, not of {expected}; name the file that belongs to it.")
    fcn = fully_convolutional(load_network(header["network"], header["output_stride"], pretrained=False), header["classes"], header["width"],
                              pooling=header["pooling"])
    fill_described(fcn, path, header["network"], len(header["classes"]))
    return fcn.requires_grad_(False).to(memory_format=torch.channels_last)


def _width(fcn: Fcn) -> int:
    return fcn.head[0].out_channels if len(fcn.head) > 2 else 0


def imagenet_fcn(name: str) -> Fcn:
    """Score maps of the classes that the network was trained on; class scores are means over peaks."""
    trunk = load_network(name)
    weight, bias = trunk.classifier
    head = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    with torch.no_grad():
        head.weight.copy_(weight[..., None, None])
        head.bias.copy_(bias)
    fcn = Fcn(trunk, nn.Sequential(head), trunk.classes or [str(k) for k in range(len(weight))], "peaks")
    return fcn.requires_grad_(False).to(memory_format=torch.channels_last)
