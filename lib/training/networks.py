"""Multi-label networks (DCSM's, PRM's), one folder each.

It holds weights.safetensors, and what a training in progress needs to resume.
"""
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from lib.base.files import digest
from lib.base.parallel import device
from lib.base.work import each
from lib.data.dataset import Dataset, subset
from lib.nets import load_network
from lib.nets.fcn import fully_convolutional, read_header, save_fcn
from lib.training.checkpoint import TrainedFile, TrainingFolders
from lib.training.multilabel import COLUMNS, train
from lib.training.settings import TrainingSettings

VALIDATION = 150   # images, spread evenly, that an epoch is checked on


@dataclass(frozen=True)
class Recipe:
    """Everything that one network's weights follow from, beside data and code."""
    network: str
    settings: TrainingSettings
    seed: int
    pooling: str


def train_networks(dataset: Dataset, networks: Mapping[str, TrainingSettings], seed: int,
                   folders: TrainingFolders, code: Mapping[str, Any], pooling: str = "max") -> None:
    """Train every network that is not there yet; one that was interrupted is resumed.

    `code`: digests of the definitions that decide what comes out, by name.
    """
    tasks = []
    for name, settings in networks.items():
        recipe = Recipe(name, settings, seed, pooling)
        task = Task(recipe, folders.file(name, _fingerprint(dataset, recipe, code)))
        if not task.target.is_finished(read_header):
            tasks.append(task)
    for _ in each(partial(_trainer, dataset), tasks, f"networks on {dataset.name}"):
        pass


@dataclass(frozen=True)
class Task:
    """A network to train, and where it is to lie."""
    recipe: Recipe
    target: TrainedFile

    @property
    def name(self) -> str:
        """The network's."""
        return self.recipe.network


def _trainer(dataset: Dataset) -> Callable[[Task], None]:
    return partial(_train, dataset)


def _train(dataset: Dataset, task: Task) -> None:
    recipe = task.recipe
    target = task.target
    settings = recipe.settings
    torch.manual_seed(recipe.seed)   # the head's first weights
    trunk = load_network(recipe.network)
    fcn = fully_convolutional(trunk, dataset.classes, settings.width, settings.dropout, recipe.pooling)
    fcn = fcn.to(device(), memory_format=torch.channels_last)
    validation = subset(dataset.split("val"), VALIDATION)
    rows = train(fcn, dataset.split("train"), validation, settings, recipe.seed, target)
    target.finish(rows, COLUMNS, lambda: save_fcn(fcn.cpu(), target.weights, fingerprint=target.fingerprint))


def _fingerprint(dataset: Dataset, recipe: Recipe, code: Mapping[str, Any]) -> str:
    """A digest of everything that the weights follow from: settings, seed, data and code."""
    return digest(dataclasses.asdict(recipe) | {"data": dataset.hash, "code": dict(code)})
