"""torchvision's networks rebuilt with ReLU modules.

Same numbers as torchvision's own, weights from files or not at all.
"""
import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.nets import load_network

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
OPTIONS = {"init_weights": False, "transform_input": True}
MODELS = {
    "torchvision_googlenet": partial(torchvision.models.GoogLeNet, **OPTIONS),
    "torchvision_inception_v3": partial(torchvision.models.Inception3, **OPTIONS),
    "torchvision_resnet50": torchvision.models.resnet50,
}


def own(name: str) -> nn.Module:
    """torchvision's model as its weight files fit it (auxiliary classifiers included)."""
    torch.manual_seed(3)
    model = MODELS[name]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):   # away from the identity
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.1)
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_same_logits_as_torchvisions_own(name: str, tmp_path: Path) -> None:
    theirs, path = own(name), tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    ours = load_network(name, output_stride=32, weights=path)
    assert ours.weights == {"file": "weights.pth", "sha256": sha256(path)}
    image = torch.rand(1, 3, 96, 96)
    with torch.inference_mode():
        expected = theirs((image - MEAN) / DEVIATION)
        tolerance = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(ours(image), expected, rtol=1e-3, atol=tolerance)
        assert expected.std() > 0


def test_resnet_stride_16_is_torchvisions_dilation(tmp_path: Path) -> None:
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=[False, False, True]).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = load_network("torchvision_resnet50", output_stride=16, weights=tmp_path / "weights.pth")
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs((image - MEAN) / DEVIATION)
        tolerance = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(ours(image), expected, rtol=1e-3, atol=tolerance)
    # relu1, relu2, bn3, the shortcut
    assert len([name for name in ours.responses[4] if name.startswith("layer1.0")]) == 4


def test_every_relu_is_a_module_of_its_own() -> None:
    """Guided backpropagation hooks nn.ReLU: none may hide in a function or serve twice."""
    counts = {"torchvision_googlenet": 57, "torchvision_inception_v3": 94, "torchvision_resnet50": 49}
    for name, count in counts.items():
        modules = load_network(name, pretrained=False).modules()
        relus = [module for module in modules if isinstance(module, nn.ReLU)]
        assert len(relus) == count and not any(relu.inplace for relu in relus)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(Problem, match="resnet.pth: weights of another architecture"):
        load_network("torchvision_resnet50", weights=path)


def test_weights_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args: Any, **_more: Any) -> None:
        raise OSError("no network")
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    words = "weights .* could not be fetched \\(no network\\).*weights=FILE"
    with pytest.raises(Problem, match=words) as problem:
        load_network("torchvision_googlenet")
    assert "\n" not in str(problem.value)


def test_cached_weights_are_used_only_if_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / "googlenet-1378be20.pth"
    file.parent.mkdir()
    file.write_bytes(b"half a file")
    with pytest.raises(Problem, match="googlenet-1378be20.pth: damaged"):
        load_network("torchvision_googlenet")


def test_fetched_weights_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = own("torchvision_googlenet")

    def fetch(url: str, destination: str, hash_prefix: str, progress: bool) -> None:
        torch.save(theirs.state_dict(), destination)
        assert hash_prefix == "1378be20" and url.endswith("googlenet-1378be20.pth")
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("lib.nets.torchvision_nets.sha256", lambda path: "1378be20" + "0" * 56)
    network = load_network("torchvision_googlenet")
    assert torch.equal(network.classifier[0], theirs.fc.weight)
    assert network.weights["file"] == "googlenet-1378be20.pth"
    assert copy.deepcopy(network.weights) == network.weights


def test_inception_as_spg_changed_it_reads_every_position() -> None:
    """Up to Mixed_5d it is the same network; of Mixed_6a's map the original has every second position.

    Nothing comes after Mixed_6e.
    """
    torch.manual_seed(0)
    whole = load_network("torchvision_inception_v3", pretrained=False)
    wide = load_network("torchvision_inception_v3", 8, pretrained=False)
    own = wide.body.state_dict()
    wide.body.load_state_dict({key: value for key, value in whole.body.state_dict().items() if key in own})
    rgb = torch.rand(1, 3, 139, 139)   # sides 15 at Mixed_5d, 7 after the original's Mixed_6a
    with torch.no_grad():
        before, after = (net.activations(rgb, ["Mixed_5d", "Mixed_6a"]) for net in (whole, wide))
        end = wide.activations(rgb, [wide.features, wide.stages["stage4"]])
    assert torch.allclose(before["Mixed_5d"], after["Mixed_5d"], atol=1e-6)
    assert before["Mixed_6a"].shape[-1] == 7 and after["Mixed_6a"].shape[-1] == 15
    assert torch.allclose(after["Mixed_6a"][..., 1::2, 1::2], before["Mixed_6a"], atol=1e-5)
    assert wide.stages["stage4"] == "Mixed_6b" and wide.features == "Mixed_6e"
    assert torch.equal(end["logits"], end["Mixed_6e"])
    assert end["Mixed_6b"].shape == end["Mixed_6e"].shape == (1, 768, 15, 15)
    assert not any(name.startswith("Mixed_7") for name in own)


def test_vgg16_without_its_last_two_poolings() -> None:
    torch.manual_seed(0)
    vgg = load_network("torchvision_vgg16", 8, pretrained=False)
    with torch.no_grad():
        names = ["features.22", vgg.stages["stage4"], vgg.features]
        found = vgg.activations(torch.rand(1, 3, 64, 64), names)
    assert found["features.23"].shape == found["features.29"].shape == (1, 512, 8, 8)
    assert torch.equal(found["features.23"], found["features.22"])   # where pool4 was, not where pool5 was
    assert not torch.equal(found["features.23"], found["features.29"])
    assert torch.equal(found["logits"], found["features.29"])
    assert not any(name.startswith("classifier") for name in vgg.body.state_dict())
    assert not isinstance(vgg.body.features[30], torch.nn.MaxPool2d)
