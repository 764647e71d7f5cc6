"""A pretrained network's linear layer at every place.

Its mean over the map is what the network itself says.
"""
import pytest
import torch
from iam_toys import toy_photo, toy_trunk
from torch import Tensor

from lib.base.problem import Problem
from lib.maps.peaks import peak_stimulation
from lib.nets import fcn as module
from lib.nets.fcn import imagenet_fcn
from lib.nets.network import Network
from lib.training.batches import square

CLASSES: tuple[str, ...] = ("ant", "bee", "cow", "dog")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tiny trunk under every name, with class names unless it is called "nameless"."""
    calls = []

    def stand_in(name: str) -> Network:
        calls.append(name)
        return toy_trunk(name, classes=() if name == "nameless" else CLASSES)

    monkeypatch.setattr(module, "load_network", stand_in)
    return calls


@pytest.fixture
def rgb() -> Tensor:
    return torch.stack([square(toy_photo(("red", "blue"), seed)[0], 64) for seed in (1, 2)])


def test_the_mean_of_the_score_maps_is_what_the_network_says(asked: list[str], rgb: Tensor) -> None:
    maps, logits = imagenet_fcn("toy").score_maps(rgb), toy_trunk()(rgb)
    assert maps.shape == (2, 4, 8, 8) and logits.std() > 0.01
    assert torch.allclose(maps.mean((2, 3)), logits, atol=1e-5) and asked == ["toy"]


def test_every_place_by_hand(asked: list[str], rgb: Tensor) -> None:
    net = toy_trunk()
    last = net.activations(rgb, ["relu3"])["relu3"]
    weight, bias = net.classifier
    expected = weight @ last[1, :, 2, 5] + bias
    assert torch.allclose(imagenet_fcn("toy").score_maps(rgb)[1, :, 2, 5], expected, atol=1e-5)


def test_class_scores_are_means_over_peaks(asked: list[str], rgb: Tensor) -> None:
    fcn = imagenet_fcn("toy")
    maps = fcn.score_maps(rgb)
    assert torch.equal(fcn(rgb), peak_stimulation(maps)) and not torch.allclose(fcn(rgb), maps.amax((2, 3)))


def test_names_and_nothing_to_train(asked: list[str]) -> None:
    fcn = imagenet_fcn("toy")
    assert (fcn.name, fcn.classes) == ("toy", CLASSES)
    assert imagenet_fcn("nameless").classes == ("0", "1", "2", "3")
    assert not any(p.requires_grad for p in fcn.parameters()) and not any(m.training for m in fcn.modules())
    assert fcn.trunk.body.conv2.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_network_without_one_linear_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> Network:
        net = toy_trunk(name)
        net.linear = None
        return net

    monkeypatch.setattr(module, "load_network", without)
    with pytest.raises(Problem, match="toy has no single linear layer"):
        imagenet_fcn("toy")
