"""Files of trained filling modules: what was saved comes back to the bit, anything else is one sentence."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from iam_toys import DEPTHS
from safetensors.torch import load_file, save_file
from sentences import is_one_sentence
from torch import Tensor

from lib.base.problem import Problem
from lib.nets.saved import sealed
from lib.papers.iam.filling import ExtentFilling, load_filling, read_filling, save_filling


def trained(r: int = 3, depths: tuple[int, ...] = DEPTHS) -> ExtentFilling:
    """All numbers differ from those of a new module, statistics too."""
    filling = ExtentFilling(depths, 3, 5, r)
    with torch.no_grad():
        for value in filling.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.1, 1)
            else:
                value.fill_(17)
    return filling


def given(depths: tuple[int, ...] = DEPTHS) -> tuple[Tensor, list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(3)
    prms = torch.rand(3, 16, 16, generator=generator)
    levels = [torch.randn(2, depth, 4, 4, generator=generator) for depth in depths]
    return prms, levels, torch.tensor([1, 0, 1])


@pytest.mark.parametrize(("r", "depths"), [(3, DEPTHS), (5, (2, 9))])
def test_what_is_saved_comes_back_to_the_bit(tmp_path: Path, r: int, depths: tuple[int, ...]) -> None:
    filling = trained(r, depths)
    save_filling(filling, tmp_path / "deep" / "w", "toy", 64, 32, fingerprint="abc", k=5)
    torch.manual_seed(99)
    back = load_filling(str(tmp_path / "deep" / "w"), "toy")
    own, found = filling.state_dict(), back.state_dict()
    assert own.keys() == found.keys()
    for key in own:
        assert torch.equal(own[key], found[key]) and own[key].dtype == found[key].dtype
    assert torch.equal(back(*given(depths)), filling.eval()(*given(depths)))
    assert not any(module.training for module in back.modules())
    assert not any(parameter.requires_grad for parameter in back.parameters())
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["w"]


def test_what_lies_beside_the_weights(tmp_path: Path) -> None:
    save_filling(trained(5), tmp_path / "w", "toy", 64, 32, fingerprint="abc", k=5)
    assert read_filling(tmp_path / "w") == {
        "network": "toy", "depths": list(DEPTHS), "channels": 3, "width": 5, "r": 5, "side": 64,
        "map_side": 32, "facts": {"fingerprint": "abc", "k": 5}}


def one_sentence(path: Path, *words: str, expected: str | None = None) -> None:
    with pytest.raises(Problem) as caught:
        load_filling(path, expected)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and all(word in message for word in words), message
    assert is_one_sentence(caught.value), message


def test_of_another_network(tmp_path: Path) -> None:
    save_filling(trained(), tmp_path / "w", "vgg16_conv", 64, 32)
    one_sentence(tmp_path / "w", "this filling module was trained on vgg16_conv, not on toy", expected="toy")
    assert load_filling(tmp_path / "w", "vgg16_conv").width == load_filling(tmp_path / "w").width == 5


def test_a_missing_file(tmp_path: Path) -> None:
    one_sentence(tmp_path / "none", "there are no such weights", "dvc repro iam_train")
    one_sentence(tmp_path, "there are no such weights")   # a folder is no file


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:len(b) // 2], lambda b: b[:5],
                                    lambda b: b"", lambda b: b"x" * len(b), lambda b: b + b"more"])
def test_a_damaged_file(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    save_filling(trained(), tmp_path / "w", "toy", 64, 32)
    (tmp_path / "w").write_bytes(damage((tmp_path / "w").read_bytes()))
    one_sentence(tmp_path / "w", "damaged, or not the weights of a filling module", "train it again")


@pytest.mark.parametrize("metadata", [None, {"fcn": "{}"}, {"filling": "{"}, {"filling": "{}"},
                                      {"filling": "[]"}])
def test_other_weights(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "w", metadata)
    one_sentence(tmp_path / "w", "damaged, or not the weights of a filling module", "train it again")


def reseal(path: Path, header: dict[str, object]) -> None:
    weights = load_file(path)
    save_file(weights, path, sealed(weights, "filling", header))


@pytest.mark.parametrize("key", ["network", "depths", "channels", "width", "r", "side", "map_side", "facts"])
def test_a_header_without_one_of_its_fields(tmp_path: Path, key: str) -> None:
    save_filling(trained(), tmp_path / "w", "toy", 64, 32)
    header = read_filling(tmp_path / "w")
    del header[key]
    reseal(tmp_path / "w", header)
    one_sentence(tmp_path / "w", "damaged, or not the weights of a filling module",
                 f"{key}: the parameter is missing")


@pytest.mark.parametrize("change", [{"depths": [6, 8, 9]}, {"depths": [6, 8]}, {"channels": 4}, {"width": 6},
                                    {"r": 5}])
def test_another_architecture(tmp_path: Path, change: dict[str, object]) -> None:
    save_filling(trained(), tmp_path / "w", "toy", 64, 32)
    header = read_filling(tmp_path / "w") | change
    reseal(tmp_path / "w", header)
    one_sentence(tmp_path / "w", "another architecture", "train it again")
