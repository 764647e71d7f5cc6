"""What the tests of lib/nets share."""
import pytest
import torch

from lib.base.paths import mirror_folder
from lib.base.problem import Problem


@pytest.fixture(scope="session")
def mirror():
    try:
        return mirror_folder()
    except Problem as problem:
        pytest.skip(f"needs the mirror: {problem}")


@pytest.fixture
def image():
    """Two random images of side 64, RGB in 0..1."""
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
