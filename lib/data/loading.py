"""What the work needs next is read while it goes on: in processes of their own, where there is a GPU to feed.

The order and the values of what is read do not depend on the number of processes.
"""
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lib.base.environment import whole_number
from lib.base.problem import Problem
from lib.data.dataset import Sample

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DECODERS = "DECODERS"   # of the environment: how many processes read ahead
MOST_DECODERS = 8       # of one process that computes, unless it is told otherwise
AHEAD = 2               # readings that wait for the work, for each process

T = TypeVar("T")
Reading = Callable[[], T]   # a partial of a function, not a lambda: it is sent to another process


def decoders() -> int:
    """How many processes read ahead.

    $DECODERS, or else as many as this process has cores where there is a GPU, and none where the cores have
    the networks to run.
    """
    given = os.environ.get(DECODERS)
    if given is not None:
        if not given.isdecimal():
            raise Problem(f'{DECODERS}: "{given}" is no number of processes; give 0 or a whole number above.')
        return int(given)

    import torch

    if not torch.cuda.is_available():
        return 0
    processes = max(1, whole_number("LOCAL_WORLD_SIZE", 1))
    cores = os.cpu_count() or 1
    return min(MOST_DECODERS, cores // processes)


def loaded(readings: Sequence[Reading[T]], workers: int | None = None, pinned: bool = True) -> Iterator[T]:
    """What every reading returns, in order.

    workers   processes that read ahead; None is `decoders()`, 0 reads here, when its turn comes
    pinned    put tensors where a GPU can fetch them by itself, if there is one
    """
    number = decoders() if workers is None else workers
    if number == 0 or len(readings) < 2:
        yield from (reading() for reading in readings)
        return

    import torch
    from torch.utils.data import DataLoader

    loader = DataLoader(
        _Readings(readings), batch_size=None, num_workers=min(number, len(readings)), collate_fn=_as_it_is,
        pin_memory=pinned and torch.cuda.is_available(), prefetch_factor=AHEAD,
        generator=torch.Generator())   # else the loader draws from torch's own, and dropout would differ
    try:
        for value, problem in loader:
            if problem is not None:
                raise Problem(problem)
            yield value
    except RuntimeError as error:
        if "DataLoader worker" not in str(error) or "Caught" in str(error):
            raise
        raise Problem("A process that decodes photographs was killed, perhaps for want of memory (/dev/shm "
                      f"counts); lower {DECODERS}, or set it to 0 to decode without further processes."
                      ) from None


def with_photos(parts: Sequence[Sequence[Sample]]) -> Iterator[Sequence[Sample]]:
    """Batches of samples, in order; where processes read ahead, their photographs are decoded already."""
    if decoders() == 0:
        yield from parts
        return
    yield from loaded([partial(_decoded, part) for part in parts], pinned=False)


def to_device(batch: "Tensor", device: "torch.device") -> "Tensor":
    """Images `(B, C, H, W)` on a device, channels last; a GPU fetches pinned ones while the work goes on."""
    import torch

    return batch.to(device, memory_format=torch.channels_last, non_blocking=device.type == "cuda")


@dataclass(frozen=True)
class _Readings:
    """Readings by number, as torch's loader wants them."""
    readings: Sequence[Reading]

    def __len__(self) -> int:
        return len(self.readings)

    def __getitem__(self, number: int) -> tuple[object, str | None]:
        """What was read, or else the sentence of the problem: an exception would come back as a traceback."""
        try:
            return self.readings[number](), None
        except Problem as problem:
            return None, str(problem)


def _as_it_is(value: T) -> T:
    return value


def _decoded(part: Sequence[Sample]) -> list[Sample]:
    return [replace(sample, decoded=sample.photo()) for sample in part]
