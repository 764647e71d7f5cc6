"""Weight files: the right one loads, every other one is a sentence that names it."""
import csv
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lib.base.files import sha256
from lib.base.paths import mirror_folder
from lib.base.problem import Problem
from lib.nets import load_network
from lib.nets.googlenet import FILE, SHA256
from lib.nets.weights import (
    fill,
    fill_in_order,
    imagenet_classes,
    load_safetensors,
    load_state_dict,
    package_file,
)


@pytest.fixture
def small_mirror(tmp_path: Path) -> Path:
    """A mirror with one small weight file; gives the file."""
    path = tmp_path / "weights" / "small.safetensors"
    path.parent.mkdir()
    weight = torch.tensor([[0.5, -2.0]], dtype=torch.float16)
    bias = torch.tensor([3.0], dtype=torch.float16)
    save_file({"weight": weight, "bias": bias}, path)
    manifest = {"weights/small.safetensors": {"sha256": sha256(path), "bytes": 1}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return path


def flip_byte(path: Path, position: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_mirror_folder_is_the_one_given_else_the_variable(tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    given, named = tmp_path / "given", tmp_path / "named"
    for folder in (given, named):
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")
    monkeypatch.setenv("MIRROR", str(named))
    assert mirror_folder() == named and mirror_folder(given) == given
    with pytest.raises(Problem, match="not the mirror.*MIRROR"):
        mirror_folder(tmp_path / "nowhere")


def test_half_precision_file_becomes_float32(small_mirror: Path) -> None:
    state = load_safetensors(small_mirror, sha256(small_mirror))
    assert state["weight"].dtype == torch.float32
    assert state["weight"].tolist() == [[0.5, -2.0]] and state["bias"].tolist() == [3.0]


def test_flipped_byte_is_a_damaged_file(small_mirror: Path) -> None:
    pinned = sha256(small_mirror)
    flip_byte(small_mirror)
    with pytest.raises(Problem, match="small.safetensors: damaged"):
        load_safetensors(small_mirror, pinned)


def test_a_file_that_agrees_with_its_manifest_but_not_with_the_pin(small_mirror: Path) -> None:
    with pytest.raises(Problem, match="small.safetensors: not the weights that this suite was written for"):
        load_safetensors(small_mirror, "0" * 64)


def test_missing_file_and_damaged_manifest(small_mirror: Path) -> None:
    pinned = sha256(small_mirror)
    (small_mirror.parents[1] / "manifest.json").write_text("{")
    with pytest.raises(Problem, match="manifest.json: damaged"):
        load_safetensors(small_mirror, pinned)
    (small_mirror.parents[1] / "manifest.json").unlink()
    small_mirror.unlink()
    with pytest.raises(Problem, match="small.safetensors: missing"):
        load_safetensors(small_mirror, pinned)


def test_flipped_byte_in_the_real_file_stops_the_network(mirror: Path, tmp_path: Path) -> None:
    copy = tmp_path / FILE
    copy.parent.mkdir()
    copy.write_bytes((mirror / FILE).read_bytes())
    (tmp_path / "manifest.json").write_bytes((mirror / "manifest.json").read_bytes())
    assert load_network("googlenet_bvlc", mirror=tmp_path).weights == {"file": copy.name, "sha256": SHA256}
    flip_byte(copy, position=1_000_000)
    with pytest.raises(Problem, match="googlenet_bvlc.fp16.safetensors: damaged"):
        load_network("googlenet_bvlc", mirror=tmp_path)


def test_fill_refuses_another_architecture(tmp_path: Path) -> None:
    body, path = nn.Linear(2, 3), tmp_path / "x.pth"
    with pytest.raises(Problem, match='x.pth: weights of another architecture \\(the file lacks "bias"'):
        fill(body, {"weight": torch.zeros(3, 2)}, path)
    with pytest.raises(Problem, match='also holds "extra"'):
        fill(body, {"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "extra": torch.zeros(1)}, path)
    with pytest.raises(Problem, match=r'"weight" is \(2, 3\), this network needs \(3, 2\)'):
        fill(body, {"weight": torch.zeros(2, 3), "bias": torch.zeros(3)}, path)
    fill(body, {"weight": torch.ones(3, 2), "bias": torch.ones(3)}, path)
    assert body.weight.eq(1).all() and body.bias.eq(1).all()


def test_fill_in_order_checks_count_shape_and_type(tmp_path: Path) -> None:
    body = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2))
    path = tmp_path / "x.pth"
    good = {
        "a": torch.full((2, 1, 1, 1), 7.0),
        "b": torch.full((2,), 1.0),
        "c": torch.full((2,), 2.0),
        "d": torch.full((2,), 3.0),
        "e": torch.full((2,), 4.0),
        "f": torch.tensor(5),
    }
    fill_in_order(body, good, path)
    assert [v.flatten()[0].item() for v in body.state_dict().values()] == [7, 1, 2, 3, 4, 5]
    swapped = {k: good[k] for k in "bacdef"}
    with pytest.raises(Problem, match='"b" is .*, "0.weight" needs'):
        fill_in_order(body, swapped, path)
    with pytest.raises(Problem, match="5 tensors, this network has 6"):
        fill_in_order(body, {k: good[k] for k in "abcde"}, path)
    with pytest.raises(Problem, match="another architecture"):
        fill_in_order(body, {**good, "f": torch.tensor(5.0)}, path)


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("a weight file ran code",)


def test_state_dict_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(Problem, match="no such weight file"):
        load_state_dict(path)
    torch.save({"weight": torch.zeros(100)}, path)
    assert load_state_dict(path, sha256(path))["weight"].shape == (100,)
    with pytest.raises(Problem, match="x.pth: damaged"):
        load_state_dict(path, "0" * 64)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(Problem, match="x.pth: cannot be read"):
        load_state_dict(path)
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(Problem, match="x.pth: cannot be read") as problem:
        load_state_dict(path)
    assert "\n" not in str(problem.value) and "ran code" not in capsys.readouterr().out
    torch.save([1, 2], path)
    with pytest.raises(Problem, match="something other than a state dict"):
        load_state_dict(path)


def test_package_that_is_not_installed() -> None:
    with pytest.raises(Problem, match='Python package "no-such-package-of-weights", which is not installed'):
        package_file("no-such-package-of-weights", ".pth")


def test_class_names_are_those_of_imagenet(mirror: Path) -> None:
    names = imagenet_classes()
    with open(mirror / "imagenet_sample" / "classes.csv", newline="", encoding="utf-8") as stream:
        listed = [row["name"].replace("_", " ") for row in csv.DictReader(stream)]
    assert names[0] == "tench" and names[207] == "golden retriever" and names[999] == "toilet tissue"
    assert list(names) == listed
