"""A network as CSoA's training stage leaves it, its classifiers random, to time where nothing is trained."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.nets import load_network
from lib.papers.csoa.runs import POSITION, Job
from lib.papers.csoa.training import build
from lib.papers.csoa.two_classifiers import TwoClassifiers, load_two_classifiers, save_two_classifiers
from lib.papers.found import Request, WeightFile


def write(request: Request, params: Any, folder: Path, classes: Sequence[str]) -> Path:
    """Its file, for the network that the tier trains first on its images of single objects."""
    tier = params.tier[request.tier]
    name, run = next(iter(tier.csoa_train.runs[tier.csoa.dataset].items()))
    path = folder / "weights.safetensors"
    net = build(Job("csoa", POSITION, 0), name, classes, run.training)
    save_two_classifiers(net, path, run.training.side)
    return path


def _write_small(path: Path) -> None:
    trunk = load_network("efficientnet_lite0", pretrained=False)
    save_two_classifiers(TwoClassifiers(trunk, "stage4", ["cat", "dog"], 6), path, 32)


FILE = WeightFile("two_classifiers", _write_small, load_two_classifiers)
