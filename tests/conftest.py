"""Fixtures of all tests: one seed, and a small data set whose truth is known."""
import os

import numpy as np
import pytest
import torch
from scenes import scene

from lib.data.dataset import VOID, Dataset, Sample
from lib.data.writer import writing

os.environ["JOBS"] = "1"   # tests run beside each other already


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Six images, of which three are special.

    The second has no foreground, the third has void pixels, and the fifth has graded saliency beside its
    class mask.
    """
    folder = tmp_path_factory.mktemp("data") / "scenes"
    with writing(folder, "scenes", "1", "made by a test", "CC0", ["a", "b"]) as writer:
        for i in range(6):
            photo, truth = scene(10 + i, 70 + 5 * i, 60)
            photo.save(writer.path("images", f"s{i}.png"))
            if i == 1:
                truth[:] = 0
                truth[:5] = VOID
            if i == 2:
                truth[:, :20] = VOID
            writer.mask("class_masks", f"s{i}", truth)
            if i == 4:
                writer.mask("saliency", f"s{i}", _graded(truth.shape))
            writer.sample(f"s{i}", f"images/s{i}.png", "test", ["a"])
    return Dataset(folder).split("test")


def _graded(shape: tuple[int, int]) -> np.ndarray:
    """Saliency of which half lies just above the middle, and half just below."""
    saliency = np.zeros(shape, dtype=np.uint8)
    saliency[10:30, 10:50] = 128
    saliency[30:40, 10:50] = 127
    return saliency
