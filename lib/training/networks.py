"""Multi-label networks (DCSM's, PRM's), one folder each: weights.safetensors and what a run in progress needs to go on."""
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lib.base.files import digest, whole_file
from lib.base.parallel import device
from lib.base.problem import Problem
from lib.data.dataset import Dataset, subset
from lib.nets import load_network
from lib.nets.fcn import fully_convolutional, read_header, save_fcn
from lib.training.checkpoint import as_csv
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
        weights, checkpoint = folder / name / "weights.safetensors", folder / name / "checkpoint.pt"
        if _finished(weights, fingerprint) and (logs / f"{name}.csv").is_file():
            continue
        torch.manual_seed(seed)   # the head's first weights
        fcn = fully_convolutional(load_network(name), dataset.classes, settings.width, settings.dropout, pooling)
        fcn = fcn.to(device(), memory_format=torch.channels_last)
        rows = train(fcn, dataset.split("train"), subset(dataset.split("val"), VALIDATION), settings, seed, checkpoint, fingerprint)
        with whole_file(logs / f"{name}.csv") as part:
            part.write_text(as_csv(rows, COLUMNS), encoding="utf-8")
        save_fcn(fcn.cpu(), weights, fingerprint=fingerprint)
        checkpoint.unlink(missing_ok=True)


def _finished(weights: Path, fingerprint: str) -> bool:
    """Weights that are missing or damaged are trained (again)."""
    try:
        return read_header(weights)["facts"].get("fingerprint") == fingerprint
    except Problem:
        return False


def _fingerprint(dataset: Dataset, network: str, settings: TrainingSettings, seed: int, pooling: str, code: Mapping[str, Any]) -> str:
    """Of everything that the weights follow from: settings, seed, data and code."""
    return digest({"network": network, "settings": dataclasses.asdict(settings), "seed": seed, "pooling": pooling,
                   "data": dataset.hash, "code": dict(code)})
