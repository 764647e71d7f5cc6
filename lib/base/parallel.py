"""One training on several processes: what a batch-wide loss needs from all of them."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed


def share() -> tuple[int, int]:
    """(number of this process, how many there are)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextmanager
def processes() -> Iterator[None]:
    """Under torchrun, its processes as one group: over NCCL where they have GPUs, over gloo elsewhere."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def device() -> torch.device:
    """This process's GPU, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def together() -> None:
    """Go on when every process has come here."""
    if share()[1] > 1:
        distributed.barrier()


def gathered(values: Tensor) -> Tensor:
    """The rows `(B, ...)` of every process, in their order, with derivatives; alone, the rows themselves."""
    return values if share()[1] == 1 else _Gathered.apply(values)


def averaged(value: Tensor) -> Tensor:
    """A number's mean over all processes."""
    if share()[1] == 1:
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / share()[1]


class _Gathered(torch.autograd.Function):
    """Every process takes the derivative of its own copy of the loss; a row's derivative is their sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(share()[1])]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        distributed.all_reduce(total)
        number, processes = share()
        return total.chunk(processes)[number]
