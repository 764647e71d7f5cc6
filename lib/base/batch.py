"""How many items at a time: found by trying, and halved where memory runs out."""
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, Literal, TypeVar

from lib.base.memory import free_mb, is_out_of_memory, release
from lib.base.problem import Problem
from lib.base.process import held_mb, peak_mb, wait_for_gpu

AUTO: Literal["auto"] = "auto"
Batch = int | Literal["auto"] | None   # what may be asked for; None is what is usual
MOST = 256       # items that are tried at a time
# Of the time an item: twice as many at a time must need less, or they are not worth their memory.
WORTH = 0.95

Item = TypeVar("Item")
Result = TypeVar("Result")


def batch_size(asked: Batch, usual: int, items: Sequence[Item],
               work: Callable[[Sequence[Item]], object]) -> int:
    """Items at a time: as many as are asked for, or as usual, or (`auto`) as the work is fastest with."""
    if asked == AUTO:
        return largest_batch(lambda size: work(items[:size]), min(len(items), MOST))
    return asked or usual


def largest_batch(run: Callable[[int], object], most: int) -> int:
    """How many items `run` is to take at a time: 1, doubled as long as that is faster and fits into memory.

    A GPU says when its memory runs out. The machine may kill a program that takes too much: twice as many are
    tried if twice the memory that was taken so far is free.
    """
    held = held_mb()
    run(1)   # warms up
    size = 1
    seconds = _seconds(run, size)
    while 2 * size <= most and 2 * (peak_mb() - held) < free_mb():
        try:
            next_seconds = _seconds(run, 2 * size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            break
        if next_seconds / (2 * size) > WORTH * seconds / size:
            break
        size *= 2
        seconds = next_seconds
    release()
    return size


def _seconds(run: Callable[[int], object], size: int) -> float:
    start = perf_counter()
    run(size)
    wait_for_gpu()
    return perf_counter() - start


@dataclass
class Sparing(Generic[Item, Result]):
    """Work on a batch that goes on with half as many items at a time where memory runs out, once.

    work   items -> their results
    join   puts the results of the parts of a batch together
    most   items at a time, once they were halved
    """
    work: Callable[[Sequence[Item]], Result]
    join: Callable[[list[Result]], Result]
    most: int | None = None

    def __call__(self, items: Sequence[Item]) -> Result:
        try:
            return self._done(items)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._refuse_twice(len(items))
        # After the error is gone, which holds on to all that filled the memory.
        self._halve(len(items))
        return self(items)

    def _done(self, items: Sequence[Item]) -> Result:
        size = self.most or len(items)
        if len(items) <= size:
            return self.work(items)
        return self.join([self.work(items[start:start + size]) for start in range(0, len(items), size)])

    def _refuse_twice(self, number: int) -> None:
        size = min(self.most or number, number)
        if self.most is not None or size == 1:
            raise Problem(f"Memory ran out with {size} at a time; give a smaller --batch or smaller images, "
                          "or end what else runs here.") from None

    def _halve(self, number: int) -> None:
        self.most = -(-number // 2)   # rounded up
        print(f"Memory ran out with {number} at a time; going on with {self.most}.", file=sys.stderr)
        release()
