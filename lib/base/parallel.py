"""One or several processes: the device of each, and what a batch-wide loss needs from all of them."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed

from lib.base.environment import whole_number
from lib.base.problem import Problem

# What torchrun says to every process that it starts.
STARTER: tuple[str, ...] = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def device() -> torch.device:
    """Device of this process: its GPU, or the CPU where there is none.

    Nothing else chooses one: tensors stay where they are put, and what is made for them is made beside them.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # By default a GPU rounds what it convolves to 10 bits (TF32), and maps would differ from the CPU's.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", torch.cuda.current_device())


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that torchrun started, over NCCL where they have GPUs and over gloo elsewhere."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    _check_starter()
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(whole_number("LOCAL_RANK"))
        backend = "nccl"
    distributed.init_process_group(backend)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _check_starter() -> None:
    """Refuse an environment that says only a part of what torchrun says: processes would wait for ever."""
    missing = [name for name in STARTER if not os.environ.get(name)]
    if missing:
        raise Problem(f"WORLD_SIZE: is set without {missing[0]}; "
                      "start this with torchrun, or unset WORLD_SIZE.")
    size, rank = whole_number("WORLD_SIZE"), whole_number("RANK")
    if rank >= size:
        raise Problem(f"RANK: {rank} must be less than WORLD_SIZE, {size}; start this with torchrun.")


def share() -> tuple[int, int]:
    """Rank of this process, and the number of processes: (0, 1) outside of `processes`."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def together() -> None:
    """Go on when every process has come here."""
    if share()[1] > 1:
        distributed.barrier()


def gathered(values: Tensor) -> Tensor:
    """Rows `(B, ...)` of all processes by rank, with derivatives; alone, the process's own rows."""
    if share()[1] == 1:
        return values
    return _Gathered.apply(values)


def averaged(value: Tensor) -> Tensor:
    """A number's mean over all processes."""
    if share()[1] == 1:
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / share()[1]


class _Gathered(torch.autograd.Function):
    """Each process differentiates its own copy of the loss; a row's derivative is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = []
        for _ in range(share()[1]):
            parts.append(torch.empty_like(values, memory_format=torch.contiguous_format))
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        distributed.all_reduce(total)
        rank, number = share()
        return total.chunk(number)[rank]
