"""A small network with known insides, photographs of several sizes, and a data set of them."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import relu

from lib.data.dataset import Dataset, Sample
from lib.data.writer import writing
from lib.papers.rcam_settings import BoxSettings, RcamSettings
from lib.refine.crf import CrfSettings


class TinyNetwork(nn.Module):
    """What the papers ask of a network and no more: four levels, a branch at stride 8, global average pooling, one linear layer."""
    name, features = "tiny", "last"
    responses = {2: ("two",), 4: ("four",), 8: ("eight", "branch"), 16: ("last",)}

    def __init__(self, seed: int) -> None:
        super().__init__()
        sizes = {"two": (3, 6, 3), "four": (6, 6, 3), "eight": (6, 5, 3), "branch": (5, 4, 1), "last": (9, 12, 3)}
        generator = torch.Generator().manual_seed(seed)
        for name, (given, made, side) in sizes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(made, given, side, side, generator=generator) / (given * side * side) ** 0.5))
        self.weight = nn.Parameter(6 * torch.randn(8, 12, generator=generator))
        self.bias = nn.Parameter(torch.randn(8, generator=generator))

    @property
    def classifier(self) -> tuple[Tensor, Tensor]:
        return self.weight, self.bias

    def maps(self, rgb: Tensor) -> dict[str, Tensor]:
        conv = nn.functional.conv2d
        found = {"two": relu(conv(4 * rgb - 2, self.two, stride=2, padding=1))}
        found["four"] = relu(conv(found["two"], self.four, stride=2, padding=1))
        found["eight"] = relu(conv(found["four"], self.eight, stride=2, padding=1))
        found["branch"] = relu(conv(found["eight"], self.branch))
        found["last"] = relu(conv(torch.cat([found["eight"], found["branch"]], 1), self.last, stride=2, padding=1))
        return found | {"logits": found["last"].mean((2, 3)) @ self.weight.T + self.bias}

    def activations(self, rgb: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        found = self.maps(rgb)
        return {name: found[name] for name in (*names, "logits")}


def scene(seed: int, width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    """Two coloured rectangles on a noisy gradient, and where they are."""
    rng = np.random.default_rng(seed)
    values = np.linspace(rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), width)[None].repeat(height, 0)
    truth = np.zeros((height, width), dtype=np.uint8)
    for label in (1, 2):
        x, y = int(rng.uniform(0, 0.5) * width), int(rng.uniform(0, 0.5) * height)
        region = np.s_[y:y + height // 3, x:x + width // 3]
        values[region], truth[region] = rng.uniform(0, 255, 3), label
    return Image.fromarray(np.clip(values + rng.normal(0, 12, values.shape), 0, 255).astype(np.uint8)), truth


@pytest.fixture(scope="session")
def network() -> TinyNetwork:
    return TinyNetwork(seed=15).eval()


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    return [scene(seed, width, height)[0] for seed, width, height in ((0, 150, 90), (1, 80, 140), (2, 200, 200), (3, 64, 64))]


@pytest.fixture(scope="session")
def settings() -> RcamSettings:
    return RcamSettings(sizes=(64, 128), guide_stride=8, components=3, max_lag=0.5, lag_components=1, window="radius", eps=0.02,
                        crf=CrfSettings(160, 10, 3, 1, 0.5, 2), crf_cited=CrfSettings(160, 3, 3, 5, 3, 2),
                        boxes=BoxSettings(source="windows", least_side=0.0, count=2, overlap=0.4, least_score=0.1, margin=0.1), googlenet_tail="dilated")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Six images: the second has no foreground, the third void pixels, the fifth graded saliency beside its class mask."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    with writing(folder, "scenes", "1", "made by a test", "CC0", ["a", "b"]) as writer:
        for i in range(6):
            photo, truth = scene(10 + i, 70 + 5 * i, 60)
            photo.save(writer.path("images", f"s{i}.png"))
            if i == 1:
                truth[:] = 0
                truth[:5] = 255
            if i == 2:
                truth[:, :20] = 255
            writer.mask("class_masks", f"s{i}", truth)
            if i == 4:
                graded = np.zeros_like(truth)
                graded[10:30, 10:50], graded[30:40, 10:50] = 128, 127
                writer.mask("saliency", f"s{i}", graded)
            writer.sample(f"s{i}", f"images/s{i}.png", "test", ["a"])
    return Dataset(Path(folder)).split("test")
