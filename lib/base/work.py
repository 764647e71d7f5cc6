"""One way to work on many items: processes of one thread each on this machine, or the workers of a cluster.

Results come in the order of the items and do not depend on how many processes there are. JOBS in the
environment says how many (one for each core otherwise); CLUSTER names a Dask scheduler, whose workers take
their place.
"""
import atexit
import os
import pickle
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

from lib.base.environment import environment
from lib.base.interrupts import deaf_children
from lib.base.memory import RAN_OUT, is_out_of_memory
from lib.base.orphans import end_with
from lib.base.problem import Problem, say
from lib.base.progress import progress
from lib.base.spent import leave_account

Item = TypeVar("Item")
Result = TypeVar("Result")

JOBS = "JOBS"         # environment variables
CLUSTER = "CLUSTER"
AHEAD = 4             # items that wait for each process: they keep it busy, and bound the memory
NAMED = 3             # failures that the sentence at the end names; all are printed before


@dataclass(frozen=True)
class Failed:
    """An item that could not be done: why, in one sentence, and where in the code if that is to be mended."""
    reason: str
    trace: str = ""


def jobs() -> int:
    """How many processes share work here: JOBS in the environment, or else the cores of this process."""
    text = os.environ.get(JOBS, "").strip()
    return number_of_jobs(text) if text else len(os.sched_getaffinity(0))


def use(jobs: str | None, cluster: str | None) -> None:
    """Share work as the command line asks for, here and in all that this program starts."""
    if jobs is not None:
        os.environ[JOBS] = str(number_of_jobs(jobs))
    if cluster:
        os.environ[CLUSTER] = cluster


def number_of_jobs(text: str) -> int:
    """A number of processes as a word; anything but a whole number from 1 on is refused."""
    if not text.isdecimal() or int(text) < 1:
        raise Problem(f"{JOBS}: must be a whole number of at least 1, not {text!r}.")
    return int(text)


def each(make: Callable[[], Callable[[Item], Result]], items: Sequence[Item], label: str) -> Iterator[Result]:
    """Results of a function on every item, in the items' order, with one progress bar.

    An item that fails is named and does not keep the others from being done; a Problem at the end says so.

    make   called once in every process; returns the function. It is a function of a module, or a `partial`
           of one: other processes have to find it. What it holds, such as a network, is sent to each once.
    """
    failures: list[tuple[Item, Failed]] = []
    outcomes = _outcomes(make, items, label)
    for item, outcome in zip(items, progress(outcomes, label, total=len(items)), strict=True):
        if isinstance(outcome, Failed):
            if len(items) > 1:
                say(f"{label}: {_name(item)}: {outcome.reason}")
            failures.append((item, outcome))
        else:
            yield outcome
    if failures:
        raise _problem(failures, len(items), label)


def _outcomes(make: Callable, items: Sequence, label: str) -> Iterator[Any]:
    """The result of every item, or why there is none."""
    if os.environ.get(CLUSTER):
        from lib.base.cluster import connected

        with connected(os.environ[CLUSTER]) as cluster:
            maker = cluster.shared(pickle.dumps(make))
            yield from _in_order(cluster.submit, cluster.workers, maker, items)
        return
    processes = min(jobs(), len(items))
    if processes <= 1:
        with one_thread():
            function = make()
            yield from (_outcome(function, item) for item in items)
        return
    try:
        with TemporaryDirectory() as folder:
            maker = Path(folder) / "maker"
            maker.write_bytes(pickle.dumps(make))
            yield from _in_order(_submit, jobs(), maker, items)
    except BrokenProcessPool:
        _end_pool()
        raise Problem(f"{label}: a process was killed, perhaps for want of memory; "
                      "run it again, it goes on where it was, or with fewer JOBS.") from None
    except BaseException:   # also an interruption, and a consumer that wants no more
        _end_pool()
        raise


class Failures(Problem):
    """Some items could not be done, all others are; `reasons` says why, by what people know an item by."""

    def __init__(self, message: str, reasons: Mapping[str, str]) -> None:
        super().__init__(message)
        self.reasons = dict(reasons)


class Submit(Protocol):
    """How a pool, or a cluster, takes work."""

    def __call__(self, function: Callable, /, *args: Any) -> "Future | Any": ...


def _in_order(submit: Submit, processes: int, maker: Any, items: Sequence) -> Iterator[Any]:
    """Hand out items, a few ahead of what was taken, and wait for each in turn."""
    waiting: deque = deque()
    for item in items:
        waiting.append(submit(_outcome_there, maker, item))
        if len(waiting) >= AHEAD * processes:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _outcome_there(maker: Path | bytes, item: Any) -> Any:
    """In a process that works for another one; `maker` is pickled, and may hold a network."""
    try:
        function = _made(maker)
    except Exception as error:
        return _failed(error)
    outcome = _outcome(function, item)
    leave_account()   # now, since this process may live on when its stage has ended
    return outcome


@lru_cache(maxsize=1)
def _made(maker: Path | bytes) -> Callable:
    use_one_thread()
    content = maker.read_bytes() if isinstance(maker, Path) else maker
    return pickle.loads(content)()   # written by the process that this one belongs to


def _outcome(function: Callable, item: Any) -> Any:
    try:
        return function(item)
    except OSError:   # a full disk, a folder that is read-only: no other item would fare better
        raise
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> Failed:
    if isinstance(error, Problem):
        return Failed(str(error))
    if is_out_of_memory(error):
        return Failed(RAN_OUT)
    return Failed(f"{type(error).__name__}: {error}", traceback.format_exc())


def problem(reasons: Mapping[str, str], number: int, label: str) -> Failures:
    """What is told when all is done of which some failed; a single item speaks for itself."""
    if len(reasons) == number == 1:
        return Failures(next(iter(reasons.values())), reasons)
    named = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in list(reasons.items())[:NAMED])
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    words = f"{len(reasons)} of {number} failed, all others are done ({named}{more})."
    return Failures(f"{label}: {words}", reasons)


def _problem(failures: Sequence[tuple[Any, Failed]], number: int, label: str) -> Failures:
    reasons = {_name(item): failed.reason for item, failed in failures}
    told = problem(reasons, number, label)
    unexpected = [failed.trace for _, failed in failures if failed.trace]
    if unexpected:
        told.__cause__ = RuntimeError(f"\n{unexpected[0]}")
    return told


def _name(item: Any) -> str:
    """What people know an item by; one that is about a sample by the sample's id."""
    item = getattr(item, "sample", item)
    return str(getattr(item, "name", None) or getattr(item, "id", None) or item)


# Processes

@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside, as processes do that work side by side: sums come out the same."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    with threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)


@contextmanager
def in_this_process() -> Iterator[None]:
    """Share no work inside: for what has to see, or to change, what happens in this process."""
    with environment({JOBS: "1", CLUSTER: None}):
        yield


_pools: dict[int, ProcessPoolExecutor] = {}


def _pool(processes: int) -> ProcessPoolExecutor:
    """The pool of this process: made at its first use, and kept, since every worker has to import torch.

    Workers are spawned; a fork would inherit locks of torch's threads.
    """
    if processes not in _pools:
        _end_pool()
        begin = partial(_begin, os.getpid(), dict(os.environ))
        _pools[processes] = ProcessPoolExecutor(processes, get_context("spawn"), initializer=begin)
    return _pools[processes]


def _submit(function: Callable, /, *args: Any) -> Future:
    """Give work to the pool, which starts a worker as long as there is none to spare."""
    resource_tracker.ensure_running()   # which a first worker would start, and thereby unblock Ctrl-C
    with deaf_children():
        return _pool(jobs()).submit(function, *args)


@atexit.register
def _end_pool() -> None:
    """End the workers at once, whatever they are at: files are whole or not there."""
    while _pools:
        _, pool = _pools.popitem()
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()


def _begin(parent: int, variables: dict[str, str]) -> None:
    """The start of a worker: one thread, and gone when its parent is, which also hears Ctrl-C for it."""
    os.environ.update(variables)
    os.environ[JOBS] = "1"         # of work within this work
    os.environ["DECODERS"] = "0"   # as many processes as there should be are here already
    use_one_thread()
    end_with(parent)   # it would wait for work for ever


def use_one_thread() -> None:
    """Keep this process to one thread from now on, whatever it loads later."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"   # of libraries that are loaded later
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
