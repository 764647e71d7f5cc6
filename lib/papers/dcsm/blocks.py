"""Where DCSM takes its derivatives: the layers of every block of a network (table 2)."""
from torch import nn

from lib.base.problem import Problem, nearest
from lib.nets.fcn import IMAGE
from lib.nets.network import Network

UNITS = ("InvertedResidual", "DepthwiseSeparableConv", "Inception", "Bottleneck", "BasicBlock", "InceptionA", "InceptionB", "InceptionC",
         "InceptionD", "InceptionE")   # what a network that is not a plain sequence of convolutions is built of


def blocks(network: Network) -> dict[str, tuple[str, ...]]:
    """Block -> the modules at whose outputs derivatives are taken; "image" is the network's input.

    VGG: the inputs of the convolutions, as the authors' code has it (that of conv3_1 is pool2). Other networks: the outputs of the
    residual or inception units that work at the block's resolution, where none does the end of that stage.
    """
    return _inputs_of_convolutions(network) if _is_plain(network) else _outputs_of_units(network)


def layers(network: Network, chosen: tuple[str, ...]) -> list[str]:
    """The layers of the named blocks, in the order of the forward pass."""
    known = blocks(network)
    for name in chosen:
        if name not in known:
            raise Problem(f'{network.name} has no block "{name}"{nearest(name, known)}')
    return [layer for name, found in known.items() if name in chosen for layer in found]


def _is_plain(network: Network) -> bool:
    return isinstance(network.body.get_submodule(network.features.rpartition(".")[0]), nn.Sequential) and not any(
        type(module).__name__ in UNITS for module in network.body.modules())


def _inputs_of_convolutions(network: Network) -> dict[str, tuple[str, ...]]:
    prefix = network.features.rpartition(".")[0]
    found: dict[str, tuple[str, ...]] = {}
    block, before = 1, IMAGE
    for name, module in network.body.get_submodule(prefix).named_children():
        if isinstance(module, nn.Conv2d):
            found[f"block{block}"] = (*found.get(f"block{block}", ()), before)
        before = f"{prefix}.{name}" if prefix else name
        if isinstance(module, (nn.MaxPool2d, nn.Identity)):   # Identity: a pooling that was dropped
            block += 1
    return found


def _outputs_of_units(network: Network) -> dict[str, tuple[str, ...]]:
    names = [name for name, _ in network.body.named_modules()]
    units = {name for name, module in network.body.named_modules() if type(module).__name__ in UNITS}
    found, start = {}, 0
    for number, end in enumerate(network.stages.values(), start=1):
        stop = max(i for i, name in enumerate(names) if name == end or name.startswith(f"{end}."))
        inside = tuple(name for name in names[start:stop + 1] if name in units)
        found[f"block{number}"] = inside or (end,)
        start = stop + 1
    return found
