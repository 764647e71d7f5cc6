"""Multi-label networks (DCSM's, PRM's), one folder each: weights.safetensors and what a run in progress needs to go on."""
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lib.base.files import digest
from lib.base.parallel import device
from lib.data.dataset import Dataset, subset
from lib.nets import load_network
from lib.nets.fcn import fully_convolutional, read_header, save_fcn
from lib.training.checkpoint import TrainedFile
from lib.training.multilabel import COLUMNS, train
from lib.training.settings import TrainingSettings

VALIDATION = 150   # images, spread evenly, that an epoch is checked on


def train_networks(dataset: Dataset, networks: Mapping[str, TrainingSettings], seed: int, folder: Path, logs: Path,
                   code: Mapping[str, Any], pooling: str = "max") -> None:
    """Train every network that is not there yet; one that was interrupted goes on.

    `code`: digests of the definitions that decide what comes out, by name.
    """
    for name, settings in networks.items():
        fingerprint = _fingerprint(dataset, name, settings, seed, pooling, code)
        target = TrainedFile(folder / name / "weights.safetensors", logs / f"{name}.csv", fingerprint)
        if not target.is_finished(read_header):
            _train(dataset, name, settings, seed, pooling, target)


def _train(dataset: Dataset, name: str, settings: TrainingSettings, seed: int, pooling: str, target: TrainedFile) -> None:
    torch.manual_seed(seed)   # the head's first weights
    fcn = fully_convolutional(load_network(name), dataset.classes, settings.width, settings.dropout, pooling)
    fcn = fcn.to(device(), memory_format=torch.channels_last)
    validation = subset(dataset.split("val"), VALIDATION)
    rows = train(fcn, dataset.split("train"), validation, settings, seed, target.checkpoint, target.fingerprint)
    target.finish(rows, COLUMNS, lambda: save_fcn(fcn.cpu(), target.weights, fingerprint=target.fingerprint))


def _fingerprint(dataset: Dataset, network: str, settings: TrainingSettings, seed: int, pooling: str, code: Mapping[str, Any]) -> str:
    """Of everything that the weights follow from: settings, seed, data and code."""
    return digest({"network": network, "settings": dataclasses.asdict(settings), "seed": seed, "pooling": pooling,
                   "data": dataset.hash, "code": dict(code)})
