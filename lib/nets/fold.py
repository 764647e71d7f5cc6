"""Normalisation folded into the convolutions before it: the same network to rounding, with half the work on the way back."""
from contextlib import ExitStack
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from lib.nets.network import Network

PROBE = 96   # side of the image that finds what is normalised


class OnTrunk(Protocol):
    """A network made of a trunk and whatever reads it."""
    trunk: Network


Net = TypeVar("Net", bound=OnTrunk)


@torch.no_grad()
def fold_normalisation(net: Net) -> Net:
    """In place, for a network in evaluation mode whose statistics will not change: conv - batch norm - act becomes conv - act.

    Names stay: where a batch norm was is its activation, or nothing.
    """
    body = net.trunk.body
    for name, norm, convolution in _pairs(net.trunk):
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = torch.zeros_like(norm.bias) if convolution.bias is None else convolution.bias
        convolution.bias = nn.Parameter((bias - norm.running_mean) * scale + norm.bias, requires_grad=False)
        convolution.weight = nn.Parameter(convolution.weight * scale[:, None, None, None], requires_grad=False)
        body.set_submodule(name, getattr(norm, "act", nn.Identity()))
    return net


def _pairs(trunk: Network) -> list[tuple[str, nn.BatchNorm2d, nn.Conv2d]]:
    """Every batch norm whose input is a convolution's output, found by one forward pass."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}   # the tensor is kept so that its id is not given again
    found: list[tuple[str, nn.BatchNorm2d, nn.Conv2d]] = []

    def made_by(module: nn.Conv2d, _inputs: tuple, output: Tensor) -> None:
        made[id(output)] = (module, output)

    with ExitStack() as hooks:
        for name, module in trunk.body.named_modules():
            if isinstance(module, nn.Conv2d):
                hooks.callback(module.register_forward_hook(made_by).remove)
            elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                def fed(norm: nn.BatchNorm2d, inputs: tuple, name: str = name) -> None:
                    if id(inputs[0]) in made:
                        found.append((name, norm, made[id(inputs[0])][0]))
                hooks.callback(module.register_forward_pre_hook(fed).remove)
        trunk(torch.zeros(1, 3, PROBE, PROBE, device=next(trunk.parameters()).device))
    return found
