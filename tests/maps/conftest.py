"""Fixtures of the tests of lib/maps."""
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def double() -> Iterator[None]:
    """Double precision and one seed; afterwards nothing may be active in this thread."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
    assert torch._C._len_torch_function_stack() == 0
