"""For the tests of IAM: a tiny network that tells colours apart, and photographs of coloured rectangles.

With true masks, proposals, and settings.
"""
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lib.base.files import write_json
from lib.data.dataset import Dataset, Sample
from lib.data.writer import writing
from lib.nets.fcn import Fcn
from lib.nets.network import Network, NetworkInfo
from lib.papers.iam.filling import ExtentFilling
from lib.papers.iam.settings import (
    FillingSettings,
    FillingTraining,
    IamNetwork,
    IamSettings,
    IamTrainRun,
    MaskSettings,
    RetrievalSettings,
    settings_of,
)
from lib.proposals.segments import save_proposals
from lib.refine.settings import ConvCrfSettings, CrfSettings
from lib.training.settings import TrainingSettings

COLOURS = {"red": (230, 30, 30), "green": (30, 230, 30), "blue": (30, 30, 230)}
CLASSES = tuple(COLOURS)
LABELS = [("red",), ("green",), ("blue",), ("red", "blue"), ("green", "blue"), ("red", "green"),
          ("red", "red"), ("blue", "green")]
RETRIEVAL = RetrievalSettings(alpha=0.8, beta=1.0, gamma=1e-5, background=0.95, width=3, nms=0.3, overlap=0.2)
FILLING = FillingSettings(retrieval=RETRIEVAL, channels=4, width=6, r=3, ranking="matching", most=6, peaks=2)
CONV_CRF = ConvCrfSettings(filter_size=3, theta_alpha=60, theta_beta=20, theta_gamma=3, bilateral=2,
                           spatial=1, iterations=2)
DENSE_CRF = CrfSettings(theta_alpha=60, theta_beta=10, theta_gamma=3, bilateral=2, spatial=1, iterations=2)
MASKS = MaskSettings(level=0.5, crf=CONV_CRF, dense_crf=DENSE_CRF)
SETTINGS: IamSettings = settings_of(FILLING, MASKS)
TRAINING = FillingTraining(side=64, map_side=32, batch=3, passes=2, optimiser="adam", rate=0.01)
CLASSIFIER = TrainingSettings(side=64, ratios=(0.9, 1.1), batch=4, width=0, dropout=0.0, start="zero",
                              frozen=None, views=0, optimiser="adamw", head_epochs=3, epochs=0, head_rate=0.3,
                              rate=1e-3, weight_decay=1e-4)
NETWORK = IamNetwork(classifier=CLASSIFIER, filling=TRAINING, k=[1, 3], seeds=[0])
RUN = IamTrainRun("colours", {"toy": NETWORK}, None)
DEPTHS: tuple[int, ...] = (6, 8, 8)   # of the stages


def toy_trunk(name: str = "toy", output_stride: int | None = None, pretrained: bool = True,
              classes: tuple[str, ...] = ()) -> Network:
    """A plain sequence at stride 8; may stand in for load_network.

    The first three channels of every stage are how red, green and blue a place is.
    """
    with torch.random.fork_rng():   # as pretrained weights: whatever else is random stays as it is
        torch.manual_seed(1)
        body = _body()
        _paint(body)
    return Network(body, NetworkInfo(
        name=name,
        output_stride=8,
        features="relu3",
        stages={"stage2": "relu1", "stage3": "relu2", "stage4": "relu3"},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: 2 * rgb,
        linear="linear",
        weights={"file": "toy"},   # fixed ones
        classes=classes,
    ))


def _body() -> nn.Sequential:
    body = nn.Sequential()
    body.add_module("conv1", nn.Conv2d(3, 6, 4, stride=4))
    body.add_module("relu1", nn.ReLU())
    body.add_module("conv2", nn.Conv2d(6, 8, 3, stride=2, padding=1))
    body.add_module("relu2", nn.ReLU())
    body.add_module("conv3", nn.Conv2d(8, 8, 3, padding=1))
    body.add_module("relu3", nn.ReLU())
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    body.add_module("linear", nn.Linear(8, 4))
    return body


@torch.no_grad()
def _paint(body: nn.Sequential) -> None:
    for c in range(3):
        body.conv1.weight[c] = -0.5 / 16
        body.conv1.weight[c, c] = 1 / 16
        for layer, share in ((body.conv2, 1 / 9), (body.conv3, 0.02)):
            layer.weight[c] = 0
            layer.weight[c, c] = share
        body.conv3.weight[c, c, 1, 1] = 1
    for layer in (body.conv1, body.conv2, body.conv3):
        layer.bias[:3] = 0


def toy_fcn(classes: tuple[str, ...] = CLASSES, bias: float = -0.5) -> Fcn:
    """Class maps `(B, 3, H / 8, W / 8)`: high on rectangles of the class's colour, below 0 far from them."""
    parts = nn.Dropout(0.5), nn.Conv2d(8, len(classes), 1)   # as `fully_convolutional` has them
    head = nn.Sequential(*parts)
    with torch.no_grad():
        head[1].weight.zero_()
        head[1].bias.fill_(bias)
        for c in range(len(classes)):
            head[1].weight[c, c] = 4
    return Fcn(toy_trunk(), head, classes, "peaks").requires_grad_(False)


def toy_filling(seed: int = 0, channels: int = FILLING.channels, width: int = FILLING.width) -> ExtentFilling:
    """Untrained but lively, for the levels of `toy_fcn`: activation maps are neither flat nor all alike."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        filling = ExtentFilling(DEPTHS, channels, width, FILLING.r).requires_grad_(False).eval()
        for module in filling.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        filling.head.weight.mul_(3)
        filling.logit.weight.mul_(3)
    return filling


def toy_photo(labels: tuple[str, ...], seed: int,
              size: tuple[int, int] | None = None) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """(photo, instance mask, class mask): a rectangle of each label's colour on dim noise.

    Portrait or landscape unless `size` (width, height) is given.
    """
    rng = np.random.default_rng(seed)
    width, height = size or ((56, 44) if seed % 2 else (44, 56))
    values = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    instances, classes = np.zeros((2, height, width), dtype=np.uint8)
    for place, label in enumerate(labels):
        y = int(rng.integers(2, height - 20))
        x = 2 + place * (width // len(labels))
        region = np.s_[y:y + 16, x:x + 16]
        values[region] = COLOURS[label]
        instances[region] = 1 + 2 * place
        classes[region] = 1 + CLASSES.index(label)
    return Image.fromarray(values), instances, classes


def toy_dataset(folder: Path, train: int = 8, val: int = 4, test: int = 4) -> Dataset:
    """Photographs with instance and class masks: numbers have gaps (1, 3), some pixels are void."""
    with writing(folder, "colours", "1", "made by a test", "CC0", CLASSES) as writer:
        for split, number in (("train", train), ("val", val), ("test", test)):
            for i in range(number):
                labels = LABELS[i % len(LABELS)]
                name = f"{split}{i}"
                photo, instances, classes = toy_photo(labels, i + 100 * len(split))
                photo.save(writer.path("images", f"{name}.png"))
                for kind, mask in (("instance_masks", instances), ("class_masks", classes)):
                    mask[:, -2:] = 255
                    writer.mask(kind, name, mask)
                writer.sample(name, f"images/{name}.png", split, sorted(set(labels)))
    return Dataset(folder)


def toy_masks(sample: Sample) -> np.ndarray:
    """Proposals `(P, H, W)`: each object, its upper half, and all of its rows.

    Then everything, nothing much in a corner, and the left half of the image.
    """
    instances = sample.mask("instance_masks")
    found = []
    for number in set(np.unique(instances).tolist()) - {0, 255}:
        mine = instances == number
        is_upper = np.arange(len(mine)) < np.nonzero(mine)[0].mean()
        found += [mine, mine & is_upper[:, None], np.broadcast_to(mine.any(1, keepdims=True), mine.shape)]
    everything = np.ones(instances.shape, bool)
    corner = np.zeros(instances.shape, bool)
    corner[-2:, -2:] = True
    left = np.zeros(instances.shape, bool)
    left[:, :left.shape[1] // 2] = True
    return np.stack([*found, everything, corner, left])


def toy_proposals(dataset: Dataset, folder: Path, splits: tuple[str, ...] = ("train", "val", "test"),
                  version: str = "1") -> Path:
    """The proposals of whole splits, as `lib.proposals.store` leaves them; returns the folder."""
    for split in splits:
        for sample in dataset.split(split):
            save_proposals(folder / split / f"{sample.id}.npz", toy_masks(sample))
    write_json(folder / "fingerprint.json", {"fingerprint": version})
    return folder


def run_with(unseen: list[str] | None = None, **training: object) -> IamTrainRun:
    """RUN with other numbers of FillingTraining, or of IamNetwork (k, seeds, classifier)."""
    own = {key: training.pop(key) for key in ("k", "seeds", "classifier") if key in training}
    network = replace(NETWORK, filling=replace(TRAINING, **training), **own)
    return replace(RUN, networks={"toy": network}, unseen=unseen)


def random_maps(seed: int, batch: int = 2, classes: int = 3, size: int = 8) -> Tensor:
    return torch.randn(batch, classes, size, size, generator=torch.Generator().manual_seed(seed))
