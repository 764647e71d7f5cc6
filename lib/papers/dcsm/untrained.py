"""A network as DCSM's training stage leaves it, its head random, to time where nothing is trained."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lib.nets import load_network
from lib.nets.fcn import fully_convolutional, save_fcn
from lib.papers.found import Request


def write(request: Request, params: Any, folder: Path, classes: Sequence[str]) -> Path:
    """Its file, for the network that the tier trains first."""
    name, settings = next(iter(params.tier[request.tier].dcsm_train.networks.items()))
    torch.manual_seed(0)
    path = folder / "weights.safetensors"
    save_fcn(fully_convolutional(load_network(name), classes, settings.width, settings.dropout), path)
    return path
