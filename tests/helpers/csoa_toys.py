"""For the tests of CSoA's training: a small network and photographs of two shapes. Run by torchrun, it trains on several processes."""
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
from lib.papers.csoa.batches import single_objects
from lib.papers.csoa.method import Extractor, network_of
from lib.papers.csoa.runs import Job
from lib.papers.csoa.settings import CsoaSettings, CsoaTraining
from lib.papers.csoa.training import train

CLASSES = ("disc", "bar", "rare")
SETTINGS = CsoaSettings(alpha=0.5, rise="linear", inner="mean", detach=True, scaling="minmax", gamma=0.5, delta=1.0, weight=0.3)
TRAINING = CsoaTraining(side=32, output_stride=8, width=6, frozen=0, depthwise=True, embedded_side=32, batch=4, batch_classes=2, epochs=2, rate=0.002, head_rate=0.01,
                        decay=0.9, weight_decay=0.001)
JOB = Job("csoa", "4-5", 3)


def toy_trunk(seed: int) -> Network:
    """Stages at strides 2, 4 and 4."""
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return Network(body, NetworkInfo(
        name="toy",
        output_stride=4,
        features="7",
        stages={"stage3": "2", "stage4": "5", "stage5": "7"},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 2 * rgb - 1,
        linear=None,
    ))


def toy_photo(name: str, seed: int) -> tuple[Image.Image, Box]:
    """A bright disc or a bright bar somewhere on a dark, noisy ground."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 90, (40, 48, 3), dtype=np.uint8)
    x, y = int(draw.integers(2, 28)), int(draw.integers(2, 20))
    rows, columns = np.mgrid[:40, :48]
    shape = (columns - x - 8) ** 2 + (rows - y - 8) ** 2 < 64 if name == "disc" else (abs(rows - y - 8) < 3) & (abs(columns - x - 8) < 8)
    pixels[shape] = 230
    ys, xs = np.nonzero(shape)
    return Image.fromarray(pixels), Box(name, int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)


def toy_data(folder: Path) -> Dataset:
    """Eight images of either shape to train on, two for validation and for the test, and one of a class that is too rare."""
    with writing(folder, "shapes", "1", "made by a test", "CC0", CLASSES) as writer:
        for split, images in (("train", 8), ("val", 2), ("test", 2)):
            for name in CLASSES[:2]:
                for i in range(images):
                    photo, box = toy_photo(name, i + 100 * images)
                    photo.save(writer.path("images", f"{split}_{name}{i}.png"))
                    writer.sample(f"{split}_{name}{i}", f"images/{split}_{name}{i}.png", split, [name], [box], single_object=1)
        photo, box = toy_photo("bar", 7)
        photo.save(writer.path("images", "rare.png"))
        writer.sample("rare", "images/rare.png", "train", ["rare"], [replace(box, name="rare")], single_object=1)
    return Dataset(folder)


def train_toy(data: Path, checkpoint: Path, job: Job = JOB, training: CsoaTraining = TRAINING) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """(rows of the curves, weights)."""
    trunk = toy_trunk(1)
    torch.manual_seed(job.seed)
    net = network_of(job.variant, job.position, trunk, CLASSES[:2], training.width).double()   # a mask is not continuous: rounding may flip a pixel
    extractor = Extractor(toy_trunk(2)).double() if job.variant in ("coaug", "csoa") else None
    rows = train(net, job, single_objects(Dataset(data, check=False), 2), SETTINGS, training, extractor, checkpoint, "f")
    return rows, net.state_dict()


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    found = train_toy(Path(sys.argv[1]), Path(sys.argv[2]) / "checkpoint.pt")
    if distributed.get_rank() == 0:
        torch.save(found, Path(sys.argv[2]) / "found.pt")
    distributed.destroy_process_group()
