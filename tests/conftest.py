"""Fixtures of all tests: one seed, and a small data set whose truth is known."""
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import scene

from lib.data.dataset import Dataset, Sample
from lib.data.writer import writing


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Six images: the second has no foreground, the third void pixels, the fifth graded saliency beside its class mask."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    with writing(folder, "scenes", "1", "made by a test", "CC0", ["a", "b"]) as writer:
        for i in range(6):
            photo, truth = scene(10 + i, 70 + 5 * i, 60)
            photo.save(writer.path("images", f"s{i}.png"))
            if i == 1:
                truth[:] = 0
                truth[:5] = 255
            if i == 2:
                truth[:, :20] = 255
            writer.mask("class_masks", f"s{i}", truth)
            if i == 4:
                graded = np.zeros_like(truth)
                graded[10:30, 10:50], graded[30:40, 10:50] = 128, 127
                writer.mask("saliency", f"s{i}", graded)
            writer.sample(f"s{i}", f"images/s{i}.png", "test", ["a"])
    return Dataset(Path(folder)).split("test")
