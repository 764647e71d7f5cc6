"""A GPU that is not there: tensors with shapes, types and a device, and without values.

Devices that are mixed raise, and so does whatever needs a value: there the CPU would wait for the GPU.
"""
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

GPU = torch.device("cuda", 0)
# Before torch takes derivatives of tensors on "cuda", it asks the driver for the GPU: these stand for it.
GPU_WITH_DERIVATIVES = torch.device("meta")
BOTH = (GPU, GPU_WITH_DERIVATIVES)
WAITING = (DataDependentOutputException, DynamicOutputShapeException)
NO_NUMPY = ".numpy() is not supported"   # the third way to wait: torch has no exception of its own for it

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def fake_gpu() -> Iterator[None]:
    """While active, tensors are fake; those of the CPU that come from outside become so."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def placed(module: Module, device: torch.device) -> Module:
    """A copy of a module of the CPU on a fake device."""
    module = copy.deepcopy(module)
    with fake_gpu():
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    fake = torch.empty_like(parameter, device=device)
                    part._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = torch.empty_like(buffer, device=device)
    return module


def waits(error: BaseException) -> bool:
    """Whether an error means that the CPU would have had to wait for the GPU."""
    return isinstance(error, WAITING) or NO_NUMPY in str(error)


def on(device: torch.device, *shape: int) -> Tensor:
    """A fake tensor; call it while the GPU is there."""
    return torch.empty(shape, device=device)
