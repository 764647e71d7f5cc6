"""Fixtures of the tests of lib/nets."""
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lib.base.paths import mirror_folder
from lib.base.problem import Problem


@pytest.fixture(scope="session")
def mirror() -> Path:
    try:
        return mirror_folder()
    except Problem as problem:
        pytest.skip(f"needs the mirror: {problem}")


@pytest.fixture
def image() -> Tensor:
    """Two random images of side 64, RGB in 0..1."""
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
