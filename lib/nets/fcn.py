"""Fully convolutional multi-label networks: any trunk of `lib.nets` with a convolutional classifier on its last map (DCSM, section 3.2)."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lib.maps.peaks import peak_stimulation
from lib.nets.network import Network
from lib.problem import Problem

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
