"""Networks as IAM's training stage leaves them, heads random, to time where nothing is trained."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lib.nets import load_network
from lib.nets.fcn import Fcn, fully_convolutional, save_fcn
from lib.papers.found import Request, WeightFile
from lib.papers.iam.filling import ExtentFilling, load_filling, save_filling
from lib.papers.iam.method import PYRAMID_STAGES

PROBE = 64   # side of the image that finds how many channels the trunk's maps have


def write(request: Request, params: Any, folder: Path, classes: Sequence[str]) -> Path:
    """The filling module's file; the classifier's lies in the folder above it."""
    name, network = next(iter(params.tier[request.tier].iam_train.networks.items()))
    classifier = network.classifier
    torch.manual_seed(0)
    fcn = fully_convolutional(load_network(name), classes, classifier.width, classifier.dropout, "peaks")
    save_fcn(fcn, folder / "weights.safetensors")
    settings = params.iam_filling
    filling = ExtentFilling(_depths(fcn), settings.channels, settings.width, settings.r)
    path = folder / "filling" / "weights.safetensors"
    save_filling(filling, path, name, network.filling.side, network.filling.map_side)
    return path


def _write_small(path: Path) -> None:
    save_filling(ExtentFilling([6, 8], 3, 5), path, "efficientnet_lite0", 64, 32)


FILE = WeightFile("filling", _write_small, load_filling, has_trunk=False)


@torch.no_grad()
def _depths(fcn: Fcn) -> list[int]:
    stages = [fcn.trunk.stages[stage] for stage in PYRAMID_STAGES]
    _, maps = fcn.scores_and_layers(torch.zeros(1, 3, PROBE, PROBE), stages)
    return [maps[stage].shape[1] for stage in stages]
