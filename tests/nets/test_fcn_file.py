"""Files of trained networks: what was saved comes back to the bit, anything else is one sentence."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lib.base.problem import Problem
from lib.nets import fcn as fcn_file, load_network
from lib.nets.fcn import Fcn, fully_convolutional, load_fcn, read_header, save_fcn
from lib.nets.network import Network, NetworkInfo
from lib.nets.saved import sealed
from lib.training.checkpoint import TrainedFile

CLASSES = ["cat", "dog", "cow"]


def trunk(name: str, output_stride: int | None = None, pretrained: bool = True) -> Network:
    """A stand-in for load_network.

    Two convolutions, with a batch normalisation that has statistics to keep.
    """
    stride = output_stride or 4
    body = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=stride // 2, padding=1),
        nn.ReLU(),
    )
    return Network(body, NetworkInfo(
        name=name,
        output_stride=stride,
        features="4",
        stages={},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 2 * rgb - 1,
        linear=None,
    ))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The tiny trunk under every name; whether pretrained weights were asked for."""
    calls = []

    def stand_in(name: str, output_stride: int | None = None, pretrained: bool = True) -> Network:
        calls.append(pretrained)
        return trunk(name, output_stride)

    monkeypatch.setattr(fcn_file, "load_network", stand_in)
    return calls


def trained(name: str = "toy", width: int = 0, stride: int = 4) -> Fcn:
    fcn = fully_convolutional(trunk(name, stride), CLASSES, width)
    with torch.no_grad():
        for value in fcn.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.1, 1)
    fcn.trunk.body[1].num_batches_tracked.fill_(17)
    return fcn.to(memory_format=torch.channels_last)


def same_weights(one: Fcn, other: Fcn) -> bool:
    """Names, values and types."""
    own, found = one.state_dict(), other.state_dict()
    if own.keys() != found.keys():
        return False
    return all(torch.equal(own[key], found[key]) and own[key].dtype == found[key].dtype for key in own)


def tampered(path: Path, change: Callable[[dict, dict[str, Tensor]], None]) -> Path:
    header, weights = read_header(path), load_file(path)
    change(header, weights)
    save_file(weights, path, sealed(weights, "fcn", header))
    return path


@pytest.mark.parametrize("width", [0, 5])
@pytest.mark.parametrize("stride", [4, 2])
def test_what_is_saved_comes_back_to_the_bit(tmp_path: Path, asked: list[bool], width: int,
                                             stride: int) -> None:
    fcn = trained(width=width, stride=stride)
    rgb = torch.rand(2, 3, 36, 28)
    path = tmp_path / "deep" / "weights.safetensors"
    save_fcn(fcn, path, fingerprint="abc", epochs=3)
    torch.manual_seed(99)
    back = load_fcn(str(path), "toy")   # as README has it
    assert same_weights(fcn, back)
    assert back.name == "toy" and back.classes == tuple(CLASSES) and back.trunk.output_stride == stride
    assert torch.equal(back.score_maps(rgb), fcn.score_maps(rgb))
    assert not any(module.training for module in back.modules())
    assert not any(parameter.requires_grad for parameter in back.parameters())
    assert asked == [False] and [file.name for file in path.parent.iterdir()] == ["weights.safetensors"]


def test_the_pooling_comes_back(tmp_path: Path, asked: list[bool]) -> None:
    fcn = trained()
    rgb = torch.rand(2, 3, 36, 28)
    fcn.pooling = "peaks"
    save_fcn(fcn, tmp_path / "w")
    assert torch.equal(load_fcn(tmp_path / "w")(rgb), fcn(rgb))
    assert not torch.equal(fcn(rgb), fcn.score_maps(rgb).amax((2, 3)))


def test_facts_lie_beside_the_weights(tmp_path: Path) -> None:
    save_fcn(trained(width=5), tmp_path / "w", fingerprint="abc", epochs=3)
    assert read_header(tmp_path / "w") == {
        "network": "toy",
        "output_stride": 4,
        "classes": CLASSES,
        "width": 5,
        "pooling": "max",
        "facts": {"fingerprint": "abc", "epochs": 3},
    }


def test_a_real_network_comes_back(tmp_path: Path) -> None:
    fcn = fully_convolutional(load_network("efficientnet_lite0", 8, pretrained=False), CLASSES)
    fcn = fcn.to(memory_format=torch.channels_last)
    save_fcn(fcn, tmp_path / "w")
    back = load_fcn(tmp_path / "w", "efficientnet_lite0")
    rgb = torch.rand(1, 3, 64, 64)
    assert back.trunk.output_stride == 8 and same_weights(fcn, back)
    with torch.no_grad():
        found = back.score_maps(rgb)
        assert torch.equal(found, fcn.score_maps(rgb)) and found.shape == (1, 3, 8, 8)


def test_an_interrupted_saving_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_fcn(trained(), tmp_path / "w", number=1)

    def half(_weights: dict, path: Path, _header: dict) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", half)
    with pytest.raises(KeyboardInterrupt):
        save_fcn(trained(), tmp_path / "w", number=2)
    assert read_header(tmp_path / "w")["facts"] == {"number": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["w"]


def one_sentence(path: Path, *words: str, expected: str | None = None) -> None:
    with pytest.raises(Problem) as caught:
        load_fcn(path, expected)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message, message
    assert all(word in message for word in words), message


def test_weights_of_another_network(tmp_path: Path, asked: list[bool]) -> None:
    save_fcn(trained("vgg16_conv"), tmp_path / "w")
    words = "these are weights of vgg16_conv, not of efficientnet_lite0"
    one_sentence(tmp_path / "w", words, expected="efficientnet_lite0")
    assert load_fcn(tmp_path / "w", "vgg16_conv").name == load_fcn(tmp_path / "w").name == "vgg16_conv"


def test_a_missing_file(tmp_path: Path) -> None:
    one_sentence(tmp_path / "none", "there are no such weights", "train the network first")
    one_sentence(tmp_path, "there are no such weights")   # a folder is no file


@pytest.mark.parametrize("damage", [
    lambda content: content[:-1],
    lambda content: content[:len(content) // 2],
    lambda content: content[:5],
    lambda content: b"",
    lambda content: b"x" * len(content),
    lambda content: content[:8] + b"[" + content[9:],
    lambda content: content + b"more",
])
def test_a_damaged_file(tmp_path: Path, asked: list[bool], damage: Callable[[bytes], bytes]) -> None:
    save_fcn(trained(), tmp_path / "w")
    (tmp_path / "w").write_bytes(damage((tmp_path / "w").read_bytes()))
    one_sentence(tmp_path / "w", "damaged, or not the weights of a multi-label network")


@pytest.mark.parametrize("metadata", [None, {}, {"other": "1"}, {"fcn": "{"}, {"fcn": "{}"}, {"fcn": "[]"}])
def test_other_weights(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "w", metadata)
    one_sentence(tmp_path / "w", "damaged, or not the weights of a multi-label network", "train it again")


@pytest.mark.parametrize("change", [
    lambda header, weights: header["classes"].append("ant"),
    lambda header, weights: header["classes"].pop(),
    lambda header, weights: header.update(width=5),
    lambda header, weights: weights.pop("head.1.bias"),
    lambda header, weights: weights.update(more=torch.zeros(1)),
    lambda header, weights: weights.update({"trunk.body.0.weight": torch.zeros(6, 3, 5, 5)}),
])
def test_another_architecture(tmp_path: Path, asked: list[bool], change: Callable) -> None:
    save_fcn(trained(), tmp_path / "w")
    path = tampered(tmp_path / "w", change)
    one_sentence(path, "another architecture than toy with", "classes", "train it again")


@pytest.mark.parametrize("change, words", [
    ({"width": -1}, "width: -1 is out of range"),
    ({"width": 10 ** 9}, "width: 1000000000 is out of range"),
    ({"width": "64"}, 'width: must be a whole number, not "64"'),
    ({"classes": [1, 2, 3]}, "classes[0]: must be a word, not 1"),
    ({"classes": None}, "classes: must be a list"),
    ({"pooling": "mean"}, '"mean" is not a choice'),
    ({"output_stride": 0}, "output_stride: 0 is out of range"),
    ({"facts": [1]}, "facts: must be a mapping"),
    ({"depth": 3}, "depth: there is no such parameter"),
])
def test_a_header_that_describes_no_network(tmp_path: Path, asked: list[bool], change: dict[str, object],
                                            words: str) -> None:
    save_fcn(trained(), tmp_path / "w")
    path = tampered(tmp_path / "w", lambda header, _: header.update(change))
    one_sentence(path, "damaged, or not the weights of a multi-label network", words)
    assert asked == []   # nothing was built


def test_a_header_that_is_nested_without_end(tmp_path: Path) -> None:
    weights = {"weight": torch.zeros(2)}
    save_file(weights, tmp_path / "w", {"fcn": "[" * 100_000})
    one_sentence(tmp_path / "w", "damaged, or not the weights of a multi-label network")


def test_every_flipped_bit_is_noticed(tmp_path: Path, asked: list[bool]) -> None:
    """Of the weights, the header, and the length of the header, each in some places."""
    save_fcn(trained(), tmp_path / "w")
    content = (tmp_path / "w").read_bytes()
    rows = tmp_path / "curves.csv"
    rows.write_text("")
    target = TrainedFile(tmp_path / "w", rows, "abc")
    save_fcn(trained(), tmp_path / "w", fingerprint="abc")
    assert target.is_finished(read_header)
    content = (tmp_path / "w").read_bytes()
    for place in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "w").write_bytes(damaged)
        with pytest.raises(Problem, match=r"w: (damaged|the weights are of another)"):
            load_fcn(tmp_path / "w")
        assert not target.is_finished(read_header), f"the bit in byte {place} goes unnoticed"


@pytest.mark.parametrize("value, words", [
    (float("nan"), "holds NaN or infinity"), (float("inf"), "holds NaN or infinity")])
def test_weights_that_are_no_numbers(tmp_path: Path, asked: list[bool], value: float, words: str) -> None:
    save_fcn(trained(), tmp_path / "w")
    path = tampered(tmp_path / "w", lambda _, weights: weights["head.1.bias"].fill_(value))
    one_sentence(path, 'damaged, "head.1.bias"', words)
    fcn = trained()
    with torch.no_grad():
        fcn.head[-1].bias[1] = value
    with pytest.raises(Problem, match=r'the training ended with "head.1.bias" no longer finite'):
        save_fcn(fcn, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64])
def test_weights_of_another_kind_of_number(tmp_path: Path, asked: list[bool], kind: torch.dtype) -> None:
    save_fcn(trained(), tmp_path / "w")
    path = tampered(tmp_path / "w", lambda _, weights: weights.update(
        {"head.1.bias": weights["head.1.bias"].to(kind)}))
    one_sentence(path, "holds numbers of the kind", "this network needs float32")


def test_an_unknown_network(tmp_path: Path) -> None:
    save_fcn(trained("efficientnet_light0"), tmp_path / "w")
    with pytest.raises(Problem, match='no network "efficientnet_light0"; did you mean "efficientnet_lite0"'):
        load_fcn(tmp_path / "w")
