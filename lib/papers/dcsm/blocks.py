"""Where DCSM takes its derivatives: the layers of every block of a network (table 2)."""
from torch import nn

from lib.base.problem import Problem, nearest
from lib.nets.fcn import IMAGE
from lib.nets.network import Network

# What a network that is not a plain sequence of convolutions is built of.
UNITS = {
    "InvertedResidual", "DepthwiseSeparableConv", "Bottleneck", "BasicBlock",
    "Inception", "InceptionA", "InceptionB", "InceptionC", "InceptionD", "InceptionE",
}


def blocks(network: Network) -> dict[str, tuple[str, ...]]:
    """Block -> the modules at whose outputs derivatives are taken; "image" is the network's input.

    VGG: the inputs of the convolutions, as the authors' code has it (that of conv3_1 is pool2).
    Other networks: the outputs of the residual or inception units that work at the block's resolution;
    where none does, the end of that stage.
    """
    return _inputs_of_convolutions(network) if _is_plain(network) else _outputs_of_units(network)


def layers(network: Network, chosen: tuple[str, ...]) -> list[str]:
    """The layers of the named blocks, in the order of the forward pass."""
    known = blocks(network)
    for name in chosen:
        if name not in known:
            raise Problem(f'{network.name} has no block "{name}"{nearest(name, known)}')
    inside = [names for block, names in known.items() if block in chosen]
    return [layer for names in inside for layer in names]


def _is_plain(network: Network) -> bool:
    """Whether the network is one sequence of convolutions, as VGG is."""
    around = network.body.get_submodule(_parent(network.features))
    has_units = any(type(module).__name__ in UNITS for module in network.body.modules())
    return isinstance(around, nn.Sequential) and not has_units


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _inputs_of_convolutions(network: Network) -> dict[str, tuple[str, ...]]:
    prefix = _parent(network.features)
    inputs: dict[str, list[str]] = {}
    number, before = 1, IMAGE
    for name, module in network.body.get_submodule(prefix).named_children():
        if isinstance(module, nn.Conv2d):
            inputs.setdefault(f"block{number}", []).append(before)
        before = f"{prefix}.{name}" if prefix else name
        if isinstance(module, (nn.MaxPool2d, nn.Identity)):   # Identity: a pooling that was dropped
            number += 1
    return {block: tuple(names) for block, names in inputs.items()}


def _outputs_of_units(network: Network) -> dict[str, tuple[str, ...]]:
    modules = dict(network.body.named_modules())
    names = list(modules)
    outputs: dict[str, tuple[str, ...]] = {}
    start = 0
    for number, end in enumerate(network.stages.values(), start=1):
        stop = max(place for place, name in enumerate(names) if name == end or name.startswith(f"{end}."))
        between = names[start:stop + 1]
        units = tuple(name for name in between if type(modules[name]).__name__ in UNITS)
        outputs[f"block{number}"] = units or (end,)
        start = stop + 1
    return outputs
