"""Fixtures of the tests of lib/training."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_training import COLOURS, LABELS, SETTINGS, photograph, trunk

from lib.data.dataset import Dataset
from lib.data.writer import writing
from lib.nets.fcn import Fcn, fully_convolutional
from lib.training.settings import TrainingSettings


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Eight images to train on, four to check."""
    with writing(tmp_path / "colours", "colours", "1", "here", "none", list(COLOURS)) as writer:
        for split, labels in (("train", LABELS), ("val", LABELS[:4])):
            for i, given in enumerate(labels):
                name = f"{split}{i}"
                photograph(given, i + 100 * (split == "val")).save(writer.path("images", f"{name}.png"))
                writer.sample(name, f"images/{name}.png", split, given)
    return Dataset(tmp_path / "colours")


@pytest.fixture
def tiny() -> Callable[..., Fcn]:
    """A tiny network, with the same first weights whenever it is asked for."""
    def build(settings: TrainingSettings = SETTINGS) -> Fcn:
        net = trunk()
        torch.manual_seed(2)
        return fully_convolutional(net, list(COLOURS), settings.width, settings.dropout)
    return build


@pytest.fixture
def settings() -> TrainingSettings:
    return SETTINGS
