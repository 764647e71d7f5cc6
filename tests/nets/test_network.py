"""Promises of every network.

Strides, recorded activations, freed hooks, the classifier, and refusals in one sentence.
"""
import copy
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.nets import NETWORKS, load_network
from lib.nets.network import Network, NetworkInfo, undilate

WITH_CLASSIFIER = [n for n in NETWORKS if n not in ("vgg16_conv", "torchvision_vgg16")]
PADDED = [n for n in NETWORKS if n != "torchvision_inception_v3"]
STRIDES = {
    "efficientnet_lite0": (32, 16, 8),
    "googlenet_bvlc": (32, 16),
    "googlenet_gap": (16,),
    "vgg16_conv": (16, 8),
    "torchvision_googlenet": (32, 16),
    "torchvision_vgg16": (16,),
    "torchvision_resnet50": (32, 16, 8),
}
NETS: dict[str, Network] = {}


@pytest.fixture
def net(request: pytest.FixtureRequest) -> Network:
    if request.param not in NETS:
        torch.manual_seed(1)
        NETS[request.param] = load_network(request.param, pretrained=False)
    return NETS[request.param]


def shapes_only(name: str, **options: Any) -> Network:
    """A network without numbers: only the shapes of its maps can be asked for."""
    with torch.device("meta"):
        return load_network(name, pretrained=False, **options)


def shapes(network: Network, side: int, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    found = network.activations(torch.empty(1, 3, side, side, device="meta"), list(names))
    return {name: tuple(found[name].shape) for name in names}


def hooks(network: Network) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def toy() -> Network:
    body = nn.Sequential()
    body.add_module("conv", nn.Conv2d(3, 4, 3, stride=2, padding=1))
    body.add_module("relu", nn.ReLU(inplace=True))
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    body.add_module("linear", nn.Linear(4, 5))
    return Network(body, NetworkInfo(
        name="toy",
        output_stride=2,
        features="relu",
        stages={},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 2 * rgb - 1,
        linear="linear",
    ))


def test_importing_the_room_is_light() -> None:
    code = "import sys, lib.nets.weights; assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("side", [224, 448])
@pytest.mark.parametrize("name", PADDED)
def test_response_sides_are_input_over_stride(name: str, side: int) -> None:
    net = shapes_only(name)
    names = [n for group in net.responses.values() for n in group]
    found = shapes(net, side, names)
    for stride, group in net.responses.items():
        assert {found[n][2:] for n in group} == {(side // stride, side // stride)}
    assert len(names) == len(set(names)) > 10


@pytest.mark.parametrize("name, stride", [(n, s) for n, offered in STRIDES.items() for s in offered])
def test_feature_map_has_the_output_stride(name: str, stride: int) -> None:
    network = shapes_only(name, output_stride=stride)
    assert network.output_stride == stride and max(network.responses) == stride
    for side in (224, 448):
        shape = shapes(network, side, [network.features])[network.features]
        assert shape[2:] == (side // stride, side // stride)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_stages_are_nominal_powers_of_two(name: str) -> None:
    net = shapes_only(name)
    found = shapes(net, 448, net.stages.values())
    assert list(net.stages) == ["stage1", "stage2", "stage3", "stage4", "stage5"]
    nominal = [min(s, net.output_stride) for s in (2, 4, 8, 16, 32)]
    near = [2 ** round(torch.tensor(448 / found[m][-1]).log2().item()) for m in net.stages.values()]
    assert near == nominal


def test_inception_v3_sides_are_those_of_its_paper() -> None:
    network = shapes_only("torchvision_inception_v3")
    found = shapes(network, 299, network.stages.values())
    assert [found[m][-1] for m in network.stages.values()] == [147, 71, 35, 17, 8]


@pytest.mark.parametrize("net", WITH_CLASSIFIER, indirect=True)
def test_logits_are_pooled_features_through_the_classifier(net: Network) -> None:
    image = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        found = net.activations(image, [net.features])
        weight, bias = net.classifier
        by_hand = found[net.features].mean((2, 3)) @ weight.T + bias
        logits = net(image)
    assert logits.shape == (2, 1000) and logits.std() > 0
    torch.testing.assert_close(by_hand, logits, rtol=1e-4, atol=1e-4 * logits.abs().max().item())
    torch.testing.assert_close(found["logits"], logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["vgg16_conv", "torchvision_vgg16"])
def test_no_classifier_where_no_single_linear_layer_follows_the_pooling(name: str) -> None:
    network = shapes_only(name)
    with pytest.raises(Problem, match="no single linear layer"):
        _ = network.classifier


@pytest.mark.parametrize("net", [n for n in NETWORKS if n != "torchvision_vgg16"], indirect=True)
def test_nothing_overwrites_a_recorded_activation(net: Network) -> None:
    """Each module's output, copied the moment it is made, equals what `activations` holds at the end."""
    image = torch.rand(1, 3, 96, 96)
    copies = {}
    calls = {}
    handles = []

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            copies[name] = output.clone()
            calls[name] = calls.get(name, 0) + 1
        return hook

    for name, module in net.body.named_modules():
        handles.append(module.register_forward_hook(keep(name)))
    try:
        with torch.inference_mode():
            net(image)
    finally:
        for handle in handles:
            handle.remove()
    with torch.inference_mode():
        found = net.activations(image, list(copies))
    assert set(calls.values()) == {1}, "a module called twice has two outputs under one name"
    for name, value in copies.items():
        assert torch.equal(found[name], value), name
    assert not hooks(net)


def test_in_place_relu_is_switched_off_before_it_spoils_the_convolution(image: Tensor) -> None:
    network = toy()
    found = network.activations(image, ["conv", "relu"])
    expected = F.conv2d(2 * image - 1, network.body.conv.weight, network.body.conv.bias, stride=2, padding=1)
    torch.testing.assert_close(found["conv"], expected)
    assert found["conv"].min() < 0 and torch.equal(found["relu"], expected.clamp(min=0))


def test_activations_are_part_of_the_graph(image: Tensor) -> None:
    network = toy()
    found = network.activations(image, ["relu"])
    gradient, = torch.autograd.grad(found["logits"][:, 3].sum(), found["relu"])
    weight, _ = network.classifier
    torch.testing.assert_close(gradient, (weight[3] / 32 ** 2).view(1, 4, 1, 1).expand(2, 4, 32, 32))


def test_hooks_are_freed_after_an_exception_inside_forward() -> None:
    network = toy()
    with pytest.raises(RuntimeError):
        network.activations(torch.rand(1, 5, 8, 8), ["conv", "relu", "linear"])   # five channels
    assert hooks(network) == 0
    network.activations(torch.rand(1, 3, 8, 8), ["conv"])
    assert hooks(network) == 0


def test_unknown_module_is_named_with_the_nearest_and_leaves_no_hook(image: Tensor) -> None:
    network = toy()
    with pytest.raises(Problem, match='toy has no module "lineer"; did you mean "linear"'):
        network.activations(image, ["conv", "lineer"])
    assert hooks(network) == 0


def test_module_that_does_not_run_is_a_problem(image: Tensor) -> None:
    network = toy()
    network.body.linear.add_module("spare", nn.ReLU())
    with pytest.raises(Problem, match="linear.spare.*takes no part"):
        network.activations(image, ["linear.spare"])
    assert hooks(network) == 0


def test_evaluation_mode_and_trainable_parameters() -> None:
    network = load_network("googlenet_bvlc", pretrained=False)
    assert not any(m.training for m in network.modules())
    assert all(p.requires_grad and p.device.type == "cpu" for p in network.parameters())
    assert network.weights == {} and hooks(network) == 0


def test_a_network_can_be_copied(image: Tensor) -> None:
    network = load_network("googlenet_bvlc", pretrained=False)
    with torch.inference_mode():
        assert torch.equal(copy.deepcopy(network)(image), network(image))


def test_undilate_keeps_sizes_and_weights() -> None:
    dilated = nn.Conv2d(1, 1, 5, padding=4, dilation=2, bias=False)
    x = torch.rand(1, 1, 9, 9)
    plain = F.conv2d(x, dilated.weight, padding=2)
    assert torch.equal(undilate(nn.Sequential(dilated))(x), plain)


@pytest.mark.parametrize("name, arguments, message", [
    ("efficientnet_lite", {}, 'no network "efficientnet_lite"; did you mean "efficientnet_lite0"'),
    ("googlenet_bvlc", {"tial": "dilated"}, 'no option "tial"; did you mean "tail"'),
    ("vgg16_conv", {"tail": "dilated"}, 'vgg16_conv has no option "tail"'),
    ("googlenet_bvlc", {"tail": "dilate"}, "tail is dilated or undilated, not 'dilate'"),
    ("googlenet_bvlc", {"output_stride": 8}, "output_stride is 32 or 16, not 8"),
    ("efficientnet_lite0", {"output_stride": 4}, "output_stride is 32, 16 or 8, not 4"),
    ("googlenet_gap", {"output_stride": 32}, "output_stride is 16, not 32"),
])
def test_wrong_requests_are_one_sentence(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Problem, match=message.replace("(", r"\(")) as problem:
        load_network(name, pretrained=False, **arguments)
    assert "\n" not in str(problem.value)
