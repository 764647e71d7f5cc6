"""Score maps of images of any size: the head on the trunk's last map, nothing else."""
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.base.problem import Problem
from lib.nets import load_network
from lib.nets.fcn import IMAGE, Fcn, fully_convolutional
from lib.nets.network import Network, NetworkInfo


def trunk() -> Network:
    """Three convolutions at stride 4, and a classifier that the score maps do not need."""
    body = nn.Sequential()
    body.add_module("conv1", nn.Conv2d(3, 6, 3, stride=2, padding=1))
    body.add_module("relu1", nn.ReLU(inplace=True))
    body.add_module("conv2", nn.Conv2d(6, 8, 3, stride=2, padding=1))
    body.add_module("relu2", nn.ReLU(inplace=True))
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    body.add_module("linear", nn.Linear(8, 5))
    return Network(body, NetworkInfo(
        name="toy",
        output_stride=4,
        features="relu2",
        stages={"stage1": "relu1", "stage2": "relu2"},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 2 * rgb - 1,
        linear="linear",
    ))


def by_hand(fcn: Fcn, rgb: Tensor) -> Tensor:
    """Trunk and a head of one 1x1 convolution, written out."""
    body = fcn.trunk.body
    last = fcn.head[-1]
    x = F.conv2d(2 * rgb - 1, body.conv1.weight, body.conv1.bias, stride=2, padding=1).clamp(min=0)
    x = F.conv2d(x, body.conv2.weight, body.conv2.bias, stride=2, padding=1).clamp(min=0)
    return torch.einsum("bdhw,kd->bkhw", x, last.weight[:, :, 0, 0]) + last.bias[:, None, None]


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (61, 47), (9, 200), (4, 4)])
@torch.no_grad()
def test_score_maps_of_any_size(size: tuple[int, int]) -> None:
    fcn = fully_convolutional(trunk(), ["cat", "dog", "cow"])
    rgb = torch.rand(2, 3, *size)
    fcn.head[-1].bias.copy_(torch.tensor([0.5, -0.5, 2]))
    maps = fcn.score_maps(rgb)
    assert maps.shape == (2, 3, -(-size[0] // 4), -(-size[1] // 4))
    torch.testing.assert_close(maps, by_hand(fcn, rgb))


@torch.no_grad()
def test_class_scores_are_the_maxima_of_score_maps() -> None:
    fcn = fully_convolutional(trunk(), ["cat", "dog", "cow"])
    rgb = torch.rand(2, 3, 40, 56)
    maps = fcn.score_maps(rgb)
    expected = []
    for scores in maps:
        expected.append([max(score.flatten().tolist()) for score in scores])
    assert fcn(rgb).tolist() == expected


@torch.no_grad()
def test_layers_are_the_trunk_s_activations() -> None:
    fcn = fully_convolutional(trunk(), ["cat", "dog"])
    rgb = torch.rand(2, 3, 40, 56)
    names = ["relu2", IMAGE, "conv1", "relu1"]
    scores, layers = fcn.scores_and_layers(rgb, names)
    expected = fcn.trunk.activations(rgb, ["relu2", "conv1", "relu1"])
    assert list(layers) == names and layers[IMAGE] is rgb
    assert all(torch.equal(layers[name], expected[name]) for name in ("relu2", "conv1", "relu1"))
    assert layers["conv1"].min() < 0   # not overwritten by the ReLU after it
    assert torch.equal(scores, fcn.head(layers["relu2"])) and torch.equal(scores, fcn.score_maps(rgb))
    assert not any(module._forward_hooks for module in fcn.modules())


def test_layers_are_part_of_the_graph() -> None:
    fcn = fully_convolutional(trunk(), ["cat", "dog"])
    scores, layers = fcn.scores_and_layers(torch.rand(1, 3, 16, 16), ["relu2"])
    gradient, = torch.autograd.grad(scores[:, 1].sum(), layers["relu2"])
    torch.testing.assert_close(gradient, fcn.head[-1].weight[1].expand(1, 8, 4, 4))


def test_a_head_of_one_convolution() -> None:
    fcn = fully_convolutional(trunk(), ["cat", "dog", "cow"], dropout=0.3)
    assert [type(layer) for layer in fcn.head] == [nn.Dropout, nn.Conv2d] and fcn.head[0].p == 0.3
    assert fcn.head[1].weight.shape == (3, 8, 1, 1) and not fcn.head[1].bias.any()


@torch.no_grad()
def test_a_head_as_vgg_s() -> None:
    """fc6 (3x3), fc7 and fc8 as convolutions, with ReLU and dropout between."""
    fcn = fully_convolutional(trunk(), ["cat", "dog", "cow"], width=7)
    rgb = torch.rand(2, 3, 28, 20)
    fc6, fc7, fc8 = (layer for layer in fcn.head if isinstance(layer, nn.Conv2d))
    assert fc6.weight.shape == (7, 8, 3, 3)
    assert fc7.weight.shape == (7, 7, 1, 1)
    assert fc8.weight.shape == (3, 7, 1, 1)
    assert sum(isinstance(layer, nn.Dropout) for layer in fcn.head) == 2
    features = fcn.trunk.activations(rgb, ["relu2"])["relu2"]
    hidden = F.conv2d(features, fc6.weight, fc6.bias, padding=1).clamp(min=0)
    hidden = F.conv2d(hidden, fc7.weight, fc7.bias).clamp(min=0)
    torch.testing.assert_close(fcn.score_maps(rgb), F.conv2d(hidden, fc8.weight, fc8.bias))
    assert fcn.score_maps(rgb).shape == (2, 3, 7, 5)


@torch.no_grad()
def test_a_new_network_is_in_evaluation_mode_and_random_only_by_its_seed() -> None:
    networks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        networks.append(fully_convolutional(trunk(), ["cat", "dog"], width=5))
    rgb = torch.rand(1, 3, 20, 20)
    first, again, other = (net.score_maps(rgb) for net in networks)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(first, networks[0].score_maps(rgb))   # no dropout
    assert not any(module.training for module in networks[0].modules())
    assert networks[0].name == "toy" and networks[0].classes == ("cat", "dog")


@pytest.mark.parametrize("name, hint", [
    ("relu3", 'did you mean "relu'),
    ("stage1", "known: "),
    ("logits", "known: "),
    ("head.1", ""),
])
def test_an_unknown_layer_is_one_sentence(name: str, hint: str) -> None:
    fcn = fully_convolutional(trunk(), ["cat"])
    with pytest.raises(Problem, match=f'^toy has no module "{name}"') as caught:
        fcn.scores_and_layers(torch.rand(1, 3, 16, 16), ["conv1", name])
    assert hint in str(caught.value) and "\n" not in str(caught.value)
    assert not any(module._forward_hooks for module in fcn.modules())


def test_a_network_without_classes_is_one_sentence() -> None:
    with pytest.raises(Problem, match="^A network needs at least one class to score.$"):
        fully_convolutional(trunk(), [])


@torch.no_grad()
def test_a_real_trunk_at_any_size() -> None:
    fcn = fully_convolutional(load_network("efficientnet_lite0", pretrained=False), "abcd")
    scores, layers = fcn.scores_and_layers(torch.rand(1, 3, 64, 96), [*fcn.trunk.stages.values()])
    assert scores.shape == (1, 4, 4, 6)
    assert [x.shape[2:] for x in layers.values()] == [(32, 48), (16, 24), (8, 12), (4, 6), (4, 6)]
    assert fcn.head[-1].weight.shape == (4, 1280, 1, 1)
    assert fcn.score_maps(torch.rand(1, 3, 50, 70)).shape == (1, 4, 4, 5)
