"""A small network with known insides, and photographs of scenes whose truth is known."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu


class Kernel(NamedTuple):
    """Channels in and out of a convolution, and the side of its kernel."""
    inputs: int
    outputs: int
    side: int


KERNELS = {
    "two": Kernel(3, 6, 3),
    "four": Kernel(6, 6, 3),
    "eight": Kernel(6, 5, 3),
    "branch": Kernel(5, 4, 1),
    "last": Kernel(9, 12, 3),
}
CLASSES = 8


class TinyNetwork(nn.Module):
    """A network with no more than the papers ask of one.

    Four levels, a branch at stride 8, global average pooling, one linear layer.
    """

    name = "tiny"
    features = "last"

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.responses = {2: ("two",), 4: ("four",), 8: ("eight", "branch"), 16: ("last",)}
        generator = torch.Generator().manual_seed(seed)
        for name, kernel in KERNELS.items():
            shape = (kernel.outputs, kernel.inputs, kernel.side, kernel.side)
            fan_in = kernel.inputs * kernel.side ** 2
            weight = torch.randn(*shape, generator=generator) / fan_in ** 0.5
            self.register_parameter(name, nn.Parameter(weight))
        self.weight = nn.Parameter(6 * torch.randn(CLASSES, KERNELS["last"].outputs, generator=generator))
        self.bias = nn.Parameter(torch.randn(CLASSES, generator=generator))

    @property
    def classifier(self) -> tuple[Tensor, Tensor]:
        return self.weight, self.bias

    def maps(self, rgb: Tensor) -> dict[str, Tensor]:
        """The output of every layer, and the logits."""
        two = relu(conv2d(4 * rgb - 2, self.two, stride=2, padding=1))
        four = relu(conv2d(two, self.four, stride=2, padding=1))
        eight = relu(conv2d(four, self.eight, stride=2, padding=1))
        branch = relu(conv2d(eight, self.branch))
        last = relu(conv2d(torch.cat([eight, branch], 1), self.last, stride=2, padding=1))
        logits = last.mean((2, 3)) @ self.weight.T + self.bias
        return {"two": two, "four": four, "eight": eight, "branch": branch, "last": last, "logits": logits}

    def forward(self, rgb: Tensor) -> Tensor:
        return self.maps(rgb)["logits"]

    def activations(self, rgb: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        outputs = self.maps(rgb)
        return {name: outputs[name] for name in (*names, "logits")}


def scene(seed: int, width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    """Two coloured rectangles on a noisy gradient, and where they are."""
    rng = np.random.default_rng(seed)
    values = np.linspace(rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), width)[None].repeat(height, 0)
    truth = np.zeros((height, width), dtype=np.uint8)
    for label in (1, 2):
        x, y = int(rng.uniform(0, 0.5) * width), int(rng.uniform(0, 0.5) * height)
        rectangle = np.s_[y:y + height // 3, x:x + width // 3]
        values[rectangle] = rng.uniform(0, 255, 3)
        truth[rectangle] = label
    noisy = values + rng.normal(0, 12, values.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), truth
