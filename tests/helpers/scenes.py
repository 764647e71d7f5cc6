"""A small network with known insides, and photographs of scenes whose truth is known."""
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import relu


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
