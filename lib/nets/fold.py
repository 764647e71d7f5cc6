"""Normalisation folded into the convolutions before it.

The network stays the same to rounding, with half the work in the backward pass.
"""
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from lib.nets.network import Network

FOLD_PROBE = 96   # side of the image that finds what is normalised


class OnTrunk(Protocol):
    """A network made of a trunk and whatever reads it."""

    trunk: Network


Net = TypeVar("Net", bound=OnTrunk)


@dataclass(frozen=True)
class Pair:
    """A batch norm, its name in the trunk's body, and the convolution whose output it normalises."""
    name: str
    norm: nn.BatchNorm2d
    convolution: nn.Conv2d


@torch.no_grad()
def fold_normalisation(net: Net) -> Net:
    """Make every convolution and the batch norm after it one convolution, in place.

    For a network in evaluation mode whose statistics will not change: conv - batch norm - act becomes conv -
    act. Names stay: where a batch norm was is its activation, or nothing.
    """
    body = net.trunk.body
    for pair in _pairs(net.trunk):
        norm = pair.norm
        convolution = pair.convolution
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = torch.zeros_like(norm.bias) if convolution.bias is None else convolution.bias
        folded_bias = (bias - norm.running_mean) * scale + norm.bias
        folded_weight = convolution.weight * scale[:, None, None, None]
        convolution.bias = nn.Parameter(folded_bias, requires_grad=False)
        convolution.weight = nn.Parameter(folded_weight, requires_grad=False)
        body.set_submodule(pair.name, getattr(norm, "act", nn.Identity()))
    return net


def _pairs(trunk: Network) -> list[Pair]:
    """Every batch norm whose input is a convolution's output, found by one forward pass."""
    # tensor's id -> (what made it, the tensor itself, which is kept so that its id is not given again)
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    names = {module: name for name, module in trunk.body.named_modules()}
    pairs: list[Pair] = []

    def note_output(convolution: nn.Conv2d, _inputs: tuple, output: Tensor) -> None:
        made[id(output)] = (convolution, output)

    def note_input(norm: nn.BatchNorm2d, inputs: tuple) -> None:
        if id(inputs[0]) in made:
            pairs.append(Pair(names[norm], norm, made[id(inputs[0])][0]))

    with ExitStack() as hooks:
        for module in names:
            if isinstance(module, nn.Conv2d):
                hooks.callback(module.register_forward_hook(note_output).remove)
            elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                hooks.callback(module.register_forward_pre_hook(note_input).remove)
        device = next(trunk.parameters()).device
        trunk(torch.zeros(1, 3, FOLD_PROBE, FOLD_PROBE, device=device))
    return pairs
