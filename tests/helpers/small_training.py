"""A tiny network, and small photographs that it can tell apart."""
import numpy as np
import torch
from PIL import Image
from torch import nn

from lib.nets.network import Network, NetworkInfo
from lib.training.settings import TrainingSettings

COLOURS = {"red": (230, 30, 30), "green": (30, 230, 30), "blue": (30, 30, 230)}
LABELS = [
    ("red",),
    ("green",),
    ("blue",),
    ("red", "blue"),
    ("green", "blue"),
    ("red", "green"),
    ("red", "green", "blue"),
    ("blue",),
]
SETTINGS = TrainingSettings(
    side=64,
    ratios=(0.7, 1.4),
    batch=3,
    width=0,
    dropout=0.5,
    start="zero",
    frozen=None,
    views=0,
    optimiser="adamw",
    head_epochs=2,
    epochs=2,
    head_rate=1e-2,
    rate=1e-3,
    weight_decay=1e-3,
)


def photograph(labels: tuple[str, ...], seed: int) -> Image.Image:
    """A patch of each label's colour on dim noise; portrait or landscape."""
    draw = np.random.default_rng(seed)
    shape = (40, 56, 3) if seed % 2 else (56, 44, 3)
    values = draw.integers(0, 90, shape, dtype=np.uint8)
    for place, label in enumerate(labels):
        left = 3 + 14 * place
        values[4:16, left:left + 11] = COLOURS[label]
    return Image.fromarray(values)


def trunk(name: str = "toy") -> Network:
    """A plain sequence at stride 8.

    There is a batch normalisation on either side of "relu1", where it may be frozen.
    """
    body = nn.Sequential()
    with torch.random.fork_rng():   # as pretrained weights: whatever else is random stays as it is
        torch.manual_seed(1)
        body.add_module("conv1", nn.Conv2d(3, 6, 4, stride=4))
        body.add_module("norm1", nn.BatchNorm2d(6))
        body.add_module("relu1", nn.ReLU())
        body.add_module("conv2", nn.Conv2d(6, 8, 3, stride=2, padding=1))
        body.add_module("norm2", nn.BatchNorm2d(8))
        body.add_module("relu2", nn.ReLU())
        body.add_module("pool", nn.AdaptiveAvgPool2d(1))
        body.add_module("flatten", nn.Flatten())
        body.add_module("linear", nn.Linear(8, 4))
    return Network(body, NetworkInfo(
        name=name,
        output_stride=8,
        features="relu2",
        stages={},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 4 * rgb - 1,
        linear="linear",
    ))
