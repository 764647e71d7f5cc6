"""For the tests of CSoA: a small network and photographs of two shapes.

Run by torchrun, it trains on several processes.
"""
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import distributed, nn

from lib.data.dataset import Box, Dataset
from lib.data.writer import writing
from lib.nets.network import Network, NetworkInfo
from lib.papers.csoa.batches import Squares, enlarged, single_objects
from lib.papers.csoa.method import Extractor, network_of
from lib.papers.csoa.runs import Job
from lib.papers.csoa.settings import CsoaSettings, CsoaTraining
from lib.papers.csoa.training import TrainingTask, train

CLASSES: tuple[str, ...] = ("disc", "bar", "rare")
SETTINGS = CsoaSettings(alpha=0.5, rise="linear", inner="mean", detach=True, scaling="minmax",
                        gamma=0.5, delta=1.0, weight=0.3)
TRAINING = CsoaTraining(side=32, output_stride=8, width=6, frozen=0, depthwise=True, embedded_side=32,
                        batch=4, batch_classes=2, epochs=2,
                        rate=0.002, head_rate=0.01, decay=0.9, weight_decay=0.001)
JOB = Job("csoa", "4-5", 3)


def toy_trunk(seed: int) -> Network:
    """Stages at strides 2, 4 and 4."""
    torch.manual_seed(seed)
    body = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return network_around(body, features="7")


def load_toy(name: str, output_stride: int | None = None, pretrained: bool = True) -> Network:
    """The toy trunk in the place of `lib.nets.load_network`."""
    return toy_trunk(1)


def network_around(body: nn.Sequential, features: str) -> Network:
    """A network whose stages end at modules 2 and 5, and at its last feature map."""
    return Network(body, NetworkInfo(
        name="toy",
        output_stride=4,
        features=features,
        stages={"stage3": "2", "stage4": "5", "stage5": features},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 2 * rgb - 1,
        linear=None,
        weights={"file": "toy"},   # fixed ones
    ))


def toy_photo(name: str, seed: int) -> tuple[Image.Image, Box]:
    """A bright disc or a bright bar somewhere on a dark, noisy ground."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 90, (40, 48, 3), dtype=np.uint8)
    x, y = int(draw.integers(2, 28)), int(draw.integers(2, 20))
    rows, columns = np.mgrid[:40, :48]
    if name == "disc":
        shape = (columns - x - 8) ** 2 + (rows - y - 8) ** 2 < 64
    else:
        shape = (abs(rows - y - 8) < 3) & (abs(columns - x - 8) < 8)
    pixels[shape] = 230
    ys, xs = np.nonzero(shape)
    box = Box(name, int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    return Image.fromarray(pixels), box


def toy_data(folder: Path, splits: tuple[str, ...] = ("train", "val", "test")) -> Dataset:
    """Eight images of either shape to train on, two for validation and two for the test.

    And one to train on of a class that is too rare.
    """
    with writing(folder, "shapes", "1", "made by a test", "CC0", CLASSES) as writer:
        for split, images in (("train", 8), ("val", 2), ("test", 2)):
            if split not in splits:
                continue
            for name in CLASSES[:2]:
                for i in range(images):
                    photo, box = toy_photo(name, i + 100 * images)
                    file = f"{split}_{name}{i}"
                    photo.save(writer.path("images", f"{file}.png"))
                    writer.sample(file, f"images/{file}.png", split, [name], [box], single_object=1)
        if "train" in splits:
            photo, box = toy_photo("bar", 7)
            photo.save(writer.path("images", "rare.png"))
            boxes = [replace(box, name="rare")]
            writer.sample("rare", "images/rare.png", "train", ["rare"], boxes, single_object=1)
    return Dataset(folder)


def train_toy(data: Path, checkpoint: Path, job: Job = JOB,
              training: CsoaTraining = TRAINING) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """(rows of the curves, weights)."""
    trunk = toy_trunk(1)
    torch.manual_seed(job.seed)
    net = network_of(job.variant, job.position, trunk, CLASSES[:2], training.width)
    net = net.double()   # a mask is not continuous: rounding may flip a pixel
    extractor = Extractor(toy_trunk(2)).double() if job.variant in ("coaug", "csoa") else None
    images = single_objects(Dataset(data, check=False), 2)
    task = TrainingTask(job, images, Squares(enlarged(training.side)), SETTINGS, training, extractor)
    rows = train(net, task, checkpoint, "f")
    return rows, net.state_dict()


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    trained = train_toy(Path(sys.argv[1]), Path(sys.argv[2]) / "checkpoint.pt")
    if distributed.get_rank() == 0:
        torch.save(trained, Path(sys.argv[2]) / "found.pt")
    distributed.destroy_process_group()
