"""BVLC GoogLeNet against a transcription with plain functions.

Its dilated tail against the published form; GoogLeNet-GAP.
"""
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.nets import load_network
from lib.nets.googlenet import ChannelNorm, bgr_minus_mean
from lib.nets.network import Network


def conv(state: Mapping[str, Tensor], name: str, x: Tensor, **more: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **more).relu()


def inception(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    pooled = F.max_pool2d(x, 3, 1, padding=1)
    c3x3 = conv(state, f"{name}.c3x3_reduce", x)
    c5x5 = conv(state, f"{name}.c5x5_reduce", x)
    return torch.cat([
        conv(state, f"{name}.c1x1", x),
        conv(state, f"{name}.c3x3", c3x3, padding=1),
        conv(state, f"{name}.c5x5", c5x5, padding=2),
        conv(state, f"{name}.pool_proj", pooled),
    ], 1)


def caffe_googlenet(state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The published deploy network from the input after mean subtraction to the logits."""
    x = F.max_pool2d(conv(state, "conv1_7x7_s2", x, stride=2, padding=3), 3, 2, ceil_mode=True)
    x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
    x = conv(state, "conv2_3x3", conv(state, "conv2_3x3_reduce", x), padding=1)
    x = F.max_pool2d(F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0), 3, 2, ceil_mode=True)
    x = inception(state, "inception_3b", inception(state, "inception_3a", x))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    for block in "abcde":
        x = inception(state, f"inception_4{block}", x)
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = inception(state, "inception_5b", inception(state, "inception_5a", x))
    return x.mean((2, 3)) @ state["loss3_classifier.weight"].T + state["loss3_classifier.bias"]


@pytest.fixture(scope="module")
def published() -> Network:
    """Random weights of a size that keeps every layer alive."""
    torch.manual_seed(2)
    network = load_network("googlenet_bvlc", output_stride=32, pretrained=False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network


def test_forward_is_the_published_network(published: Network) -> None:
    rgb = torch.rand(2, 3, 70, 97)   # odd sides: ceil-mode poolings matter
    bgr = torch.stack([rgb[:, 2] * 255 - 104, rgb[:, 1] * 255 - 117, rgb[:, 0] * 255 - 123], 1)
    with torch.inference_mode():
        expected = caffe_googlenet(published.body.state_dict(), bgr)
        assert expected.std() > 0.1
        tolerance = 1e-3 * expected.abs().max().item()
        torch.testing.assert_close(published(rgb), expected, rtol=1e-3, atol=tolerance)


def test_parameter_names_and_count(published: Network) -> None:
    state = published.body.state_dict()
    # BVLC GoogLeNet without its auxiliary classifiers
    assert sum(value.numel() for value in state.values()) == 6_998_552
    assert len(state) == 2 * (3 + 9 * 6 + 1)
    assert state["inception_4e.c5x5_reduce.weight"].shape == (32, 528, 1, 1)


@pytest.mark.parametrize("name, first", [("googlenet_bvlc", 1), ("torchvision_googlenet", 0)])
def test_dilated_tail_holds_the_published_map_at_every_second_position(name: str, first: int) -> None:
    dense = load_network(name, pretrained=False)
    sparse = load_network(name, output_stride=32, pretrained=False)
    undilated = load_network(name, tail="undilated", pretrained=False)
    weights = dense.body.state_dict().items()
    for other in (sparse, undilated):
        other.body.load_state_dict({key.replace("branch4.0.1", "branch4.0"): value for key, value in weights})
    image = torch.rand(1, 3, 224, 224)
    networks = (dense, sparse, undilated)
    with torch.inference_mode():
        maps = {net: net.activations(image, [net.features])[net.features] for net in networks}
    assert maps[sparse].shape == (1, 1024, 7, 7)
    assert maps[dense].shape == maps[undilated].shape == (1, 1024, 14, 14)
    scale = maps[sparse].abs().max().item()
    every_second = maps[dense][:, :, first::2, first::2]
    torch.testing.assert_close(every_second, maps[sparse], rtol=1e-4, atol=1e-5 * scale)
    assert (maps[undilated][:, :, first::2, first::2] - maps[sparse]).abs().max() > 0.01 * scale


@pytest.mark.parametrize("side, network", [
    (224, "googlenet_bvlc"),
    (448, "googlenet_bvlc"),
    (224, "googlenet_gap"),
])
def test_rcam_gathers_1008_maps_at_stride_8(side: int, network: str) -> None:
    net = load_network(network, pretrained=False)
    with torch.inference_mode():
        found = net.activations(torch.rand(1, 3, side, side), net.responses[8])
    maps = [found[n] for n in net.responses[8]]
    assert len(maps) == 12 and sum(m.shape[1] for m in maps) == 1008
    assert all(m.shape[2:] == (side // 8, side // 8) and m.min() >= 0 for m in maps)


def test_channel_norm_is_caffes() -> None:
    x = torch.randn(2, 64, 3, 4) * 100
    literal = torch.empty_like(x)
    for c in range(64):
        window = x[:, max(c - 2, 0):c + 3]
        literal[:, c] = x[:, c] / (1 + 1e-4 / 5 * (window ** 2).sum(1)) ** 0.75
    torch.testing.assert_close(ChannelNorm(64)(x), literal)
    assert not ChannelNorm(64).state_dict()


def test_input_is_bgr_minus_the_mean() -> None:
    rgb = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    assert bgr_minus_mean(rgb, (104.0, 117.0, 123.0)).flatten().tolist() == [-104.0, 10.5, 132.0]


def test_gap_head_is_two_groups_to_1024_maps() -> None:
    net = load_network("googlenet_gap", pretrained=False)
    head = net.body.CAM_conv
    assert head.weight.shape == (1024, 416, 3, 3) and head.groups == 2
    assert net.classifier[0].shape == (1000, 1024)
    names = list(dict(net.body.named_children()))
    assert names[names.index("inception_4e") + 1] == "CAM_conv"
    with torch.inference_mode():
        for side in (224, 448):
            maps = net.activations(torch.rand(1, 3, side, side), ["inception_4e", "CAM_conv"])
            assert maps["CAM_conv"].shape == (1, 1024, side // 16, side // 16)
            half = maps["inception_4e"][:, :416]
            first = F.conv2d(half, head.weight[:512], head.bias[:512], padding=1).relu()
            torch.testing.assert_close(maps["CAM_conv"][:, :512], first, rtol=1e-4, atol=1e-5)


def test_gap_trunk_comes_from_the_mirror_and_its_head_is_random(mirror: Path) -> None:
    full, gap = load_network("googlenet_bvlc", mirror=mirror), load_network("googlenet_gap", mirror=mirror)
    theirs, ours = full.body.state_dict(), gap.body.state_dict()
    trunk = [k for k in ours if not k.startswith("CAM")]
    assert len(trunk) == 2 * (3 + 7 * 6) and all(torch.equal(ours[k], theirs[k]) for k in trunk)
    assert gap.weights["file"] == full.weights["file"] and "random" in gap.weights["note"]


def test_gap_takes_a_state_dict_of_ones_own(tmp_path: Path) -> None:
    torch.save(load_network("googlenet_gap", pretrained=False).body.state_dict(), tmp_path / "gap.pth")
    one, two = (load_network("googlenet_gap", weights=tmp_path / "gap.pth") for _ in range(2))
    assert torch.equal(one.classifier[0], two.classifier[0])
    assert one.weights["file"] == "gap.pth" and len(one.weights["sha256"]) == 64
