"""Which layers a block of each network means.

For VGG the inputs of its convolutions, elsewhere the units of each resolution.
"""
import pytest
import torch
from dcsm_toys import toy_trunk
from sentences import is_one_sentence
from torch import nn

from lib.base.problem import Problem
from lib.nets import load_network
from lib.nets.network import Network
from lib.papers.dcsm.blocks import blocks, layers

NAMES: tuple[str, ...] = ("block1", "block2", "block3", "block4", "block5")
NETS: dict[tuple[str, int | None], Network] = {}
VGG = {
    "block1": ("image", "relu1_1"),
    "block2": ("pool1", "relu2_1"),
    "block3": ("pool2", "relu3_1", "relu3_2"),
    "block4": ("pool3", "relu4_1", "relu4_2"),
    "block5": ("pool4", "relu5_1", "relu5_2"),
}


def net(name: str, stride: int | None = None) -> Network:
    if (name, stride) not in NETS:
        NETS[name, stride] = load_network(name, stride, pretrained=False)
    return NETS[name, stride]


def vgg_numbers() -> dict[str, str]:
    """Counted from configuration D of VGG's paper: conv1_1 is module 0 of its sequence, relu1_1 module 1."""
    numbers: dict[str, str] = {}
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for one in range(1, convolutions + 1):
            numbers[f"conv{block}_{one}"] = str(len(numbers))
            numbers[f"relu{block}_{one}"] = str(len(numbers))
        numbers[f"pool{block}"] = str(len(numbers))
    return numbers


@pytest.mark.parametrize("stride", [16, 8])
def test_vgg_blocks_are_the_inputs_of_its_thirteen_convolutions(stride: int) -> None:
    network, numbers = net("vgg16_conv", stride), vgg_numbers()
    expected = {}
    for block, names in VGG.items():
        expected[block] = tuple(numbers.get(name, name) for name in names)
    assert blocks(network) == expected
    assert isinstance(network.body[int(numbers["pool2"])], nn.MaxPool2d)
    convolutions = [i for i, module in enumerate(network.body) if isinstance(module, nn.Conv2d)]
    assert layers(network, NAMES)[1:] == [str(i - 1) for i in convolutions[1:]]
    assert len(convolutions) == 13


def test_vgg_gives_exactly_what_its_convolutions_take() -> None:
    network = net("vgg16_conv", 16)
    taken, handles = [], []

    def take(_module: nn.Module, inputs: tuple[torch.Tensor, ...], _output: torch.Tensor) -> None:
        taken.append(inputs[0])

    for module in network.body:
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(take))
    names = layers(network, NAMES)
    with torch.inference_mode():
        outputs = network.activations(torch.rand(1, 3, 32, 32), names[1:])
    for handle in handles:
        handle.remove()
    assert names[0] == "image" and len(taken) == 13
    assert all(torch.equal(outputs[name], given) for name, given in zip(names[1:], taken[1:], strict=True))


EXPECTED = {   # resolution of block 1 .. 5, and how many units work at it
    ("efficientnet_lite0", 16): ((2, 4, 8, 16, 16), (1, 2, 2, 6, 5)),
    ("efficientnet_lite0", 32): ((2, 4, 8, 16, 32), (1, 2, 2, 6, 5)),
    ("googlenet_bvlc", 16): ((2, 4, 8, 16, 16), (1, 1, 2, 5, 2)),
    ("torchvision_resnet50", 32): ((2, 4, 8, 16, 32), (1, 3, 4, 6, 3)),
    ("vgg16_conv", 16): ((1, 2, 4, 8, 16), (2, 2, 3, 3, 3)),
    ("vgg16_conv", 8): ((1, 2, 4, 8, 8), (2, 2, 3, 3, 3)),
}


@pytest.mark.parametrize("name, stride", EXPECTED)
def test_layers_exist_and_work_at_the_resolution_of_their_block(name: str, stride: int) -> None:
    network, (strides, numbers) = net(name, stride), EXPECTED[name, stride]
    by_block = blocks(network)
    assert tuple(by_block) == NAMES and tuple(map(len, by_block.values())) == numbers
    every = [layer for names in by_block.values() for layer in names]
    modules = dict(network.body.named_modules())
    assert len(set(every)) == len(every)
    assert all(layer == "image" or layer in modules for layer in every)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        outputs = network.activations(image, [layer for layer in every if layer != "image"])
    outputs = {"image": image} | outputs
    for names, expected in zip(by_block.values(), strides, strict=True):
        assert {64 // outputs[layer].shape[-1] for layer in names} == {expected}


UNITS = {
    "efficientnet_lite0": [f"blocks.{i}.{j}" for i, n in enumerate((1, 2, 2, 3, 3, 4, 1)) for j in range(n)],
    "googlenet_bvlc": [f"inception_{n}" for n in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")],
    "torchvision_resnet50": [f"layer{i}.{j}" for i, n in enumerate((3, 4, 6, 3), start=1) for j in range(n)],
}


@pytest.mark.parametrize("name, stride", [key for key in EXPECTED if key[0] != "vgg16_conv"])
def test_units_lie_between_the_ends_of_two_stages(name: str, stride: int) -> None:
    """Every unit of the network belongs to one block, in the order of the forward pass.

    The last ones end at the last map.
    """
    network = net(name, stride)
    every = layers(network, NAMES)
    order = [module for module, _ in network.body.named_modules()]
    places = [order.index(layer) for layer in every]
    assert places == sorted(places)
    assert [layer for layer in every if layer in UNITS[name]] == UNITS[name]
    assert len(every) - len(UNITS[name]) <= 2


def test_layers_come_in_the_order_of_the_forward_pass() -> None:
    assert layers(toy_trunk(), ("block3", "block2")) == ["2", "4", "7"]
    assert layers(toy_trunk(), ("block2", "block3")) == ["2", "4", "7"]
    assert layers(toy_trunk(), ("block1",)) == ["image"]


@pytest.mark.parametrize("network, chosen, message", [
    ("vgg16_conv", ("block4", "block6"), 'vgg16_conv has no block "block6"; did you mean "block'),
    ("toy", ("block4",), 'toy has no block "block4"; did you mean "block'),
    ("toy", ("conv3_1",), r'toy has no block "conv3_1" \(known: block1, block2, block3\)'),
])
def test_unknown_block_is_a_problem(network: str, chosen: tuple[str, ...], message: str) -> None:
    with pytest.raises(Problem, match=message) as problem:
        layers(toy_trunk() if network == "toy" else net(network, 16), chosen)
    assert is_one_sentence(problem.value)
