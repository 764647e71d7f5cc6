"""For the tests of DCSM: small networks, photographs, a data set, and settings.

The derivatives of the networks can be taken by hand.
"""
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lib.data.dataset import Dataset
from lib.data.writer import writing
from lib.nets.fcn import Fcn
from lib.nets.network import Network, NetworkInfo
from lib.papers.dcsm.settings import DcsmSettings, MapsImages, MapsRun, MapsSettings
from lib.refine.settings import CrfSettings

SIDE = 64   # what the papers' 500 pixels are here: scales 250, 500, 750 are 32, 64, 96
CLASSES: tuple[str, ...] = ("ant", "bee", "cow", "dog")
CRF = CrfSettings(theta_alpha=20, theta_beta=10, theta_gamma=3, bilateral=1, spatial=1, iterations=3)
CRF_PAPER = CrfSettings(theta_alpha=10, theta_beta=20, theta_gamma=2, bilateral=2, spatial=1, iterations=2)
SETTINGS = DcsmSettings(scales=(250, 500), blocks=("block2", "block3"), candidates=3, reading="paper",
                        normaliser="own", alpha=3.0, alpha_simonyan=8.0, map_stride=2, crf=CRF,
                        crf_paper=CRF_PAPER)
OURS = replace(SETTINGS, scales=(250, 500, 750), candidates=2)   # for images of one's own
MAPS = MapsSettings(scales=(250, 500), other_scales=(750,), blocks=("block2", "block3"),
                    other_blocks=("block1",), candidates=2, wide=15, threshold=0.5)
RUN = MapsRun(dataset="scenes", side=SIDE, networks={"toy": MapsImages(val=1, test=3, ablations=2)})
BLOCKS = {"block1": ("image",), "block2": ("2", "4"), "block3": ("7",)}   # of `toy_trunk`


def wrap(body: nn.Sequential, features: str, name: str = "toy") -> Network:
    """Any plain sequence as a network; images are shifted to -1..1."""
    return Network(body, NetworkInfo(
        name=name,
        output_stride=4,
        features=features,
        stages={},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 2 * rgb - 1,
        linear=None,
    ))


def toy_trunk(name: str = "toy", *_arguments: object, **_options: object) -> Network:
    """Three blocks of one, two and one convolution; may stand in for `load_network`."""
    body = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    return wrap(body, "9", name)


def toy_fcn(seed: int, name: str = "toy") -> Fcn:
    """Random weights, lively enough for scores on both sides of the threshold.

    The parts are those that `fully_convolutional` has.
    """
    generator = torch.Generator().manual_seed(seed)
    head = nn.Sequential(nn.Dropout(0.3), nn.Conv2d(8, len(CLASSES), 1))
    fcn = Fcn(toy_trunk(name), head, CLASSES)
    with torch.no_grad():
        for name, value in fcn.named_parameters():
            scale = 0.1 if name.endswith("bias") else 2.0 / value[0].numel() ** 0.5
            value.copy_(scale * torch.randn(value.shape, generator=generator))
        fcn.head[1].bias.copy_(torch.tensor([-1.5, -2.5, -1.5, -2.5]))
    return fcn.requires_grad_(False)


def toy_photo(seed: int, width: int = 96, height: int = 64) -> Image.Image:
    """Coloured rectangles on a plain ground, with a little noise."""
    rng = np.random.default_rng(seed)
    values = np.ones((height, width, 3)) * rng.uniform(0, 255, 3)
    for _ in range(3):
        x, y = int(rng.uniform(0, 0.7) * width), int(rng.uniform(0, 0.7) * height)
        values[y:y + height // 3, x:x + width // 4] = rng.uniform(0, 255, 3)
    return Image.fromarray(np.clip(values + rng.normal(0, 6, values.shape), 0, 255).astype(np.uint8))


def toy_dataset(folder: Path, val: int = 2, test: int = 4) -> Dataset:
    """Photographs of three shapes with random class masks, some pixels void."""
    with writing(folder, "scenes", "1", "made by a test", "CC0", CLASSES) as writer:
        for i in range(val + test):
            rng = np.random.default_rng(100 + i)
            width, height = ((96, 64), (60, 80), (90, 60))[i % 3]
            toy_photo(i, width, height).save(writer.path("images", f"p{i}.png"))
            squares = rng.integers(0, 5, (height // 10 + 1, width // 10 + 1))
            truth = squares.repeat(10, 0).repeat(10, 1)[:height, :width].astype(np.uint8)
            truth[:3] = 255
            writer.mask("class_masks", f"p{i}", truth)
            writer.sample(f"p{i}", f"images/p{i}.png", "val" if i < val else "test", ["ant"])
    return Dataset(folder)


def random_maps(classes: int, height: int = 3, width: int = 5, seed: int = 0) -> Tensor:
    return torch.rand(classes, height, width, generator=torch.Generator().manual_seed(seed))


class GuidedRelu(torch.autograd.Function):
    """Springenberg et al.: backwards only where the input and the gradient are both positive."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        x, = ctx.saved_tensors
        return gradient * (x > 0) * (gradient > 0)


def literal_gradients(fcn: Fcn, rgb: Tensor, number: int, guided: bool) -> dict[str, Tensor]:
    """eq. 3 for one class of one image: |dS_c / dL|, the maximum over channels `(h, w)`.

    At the image and behind every module.
    """
    image = rgb.clone().requires_grad_()
    layers = {"image": image}
    y = 2 * image - 1
    for name, module in fcn.trunk.body.named_children():
        y = GuidedRelu.apply(y) if guided and isinstance(module, nn.ReLU) else module(y)
        layers[name] = y
    for value in layers.values():
        value.retain_grad()
    fcn.head(y)[0, number].sum().backward()
    return {name: value.grad[0].abs().amax(0) for name, value in layers.items()}
