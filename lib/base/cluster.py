"""Work on several machines: the workers of a Dask cluster, which see the same files at the same places."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from lib.base.problem import Problem

SECONDS = 10   # that a scheduler may take to answer
RETRIES = 2    # of an item whose worker died


@dataclass(frozen=True)
class Cluster:
    """The cluster as `lib.base.work` uses it.

    submit    hands out a call
    shared    sends what many calls need to every worker once; its answer stands for it in calls
    workers   how many there are
    """
    submit: Callable[..., Any]
    shared: Callable[[Any], Any]
    workers: int


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to the scheduler at an address; one that does not answer, and one without workers, is named."""
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise Problem("CLUSTER: needs the package distributed, as requirements.txt names it; "
                      "install it.") from None
    try:
        client = Client(address, timeout=SECONDS)
    except (OSError, ValueError, TimeoutError):
        raise Problem(f"CLUSTER: no Dask scheduler answers at {address}; "
                      "start one with `dask scheduler`, or leave CLUSTER out.") from None
    with client:
        workers = sum(client.nthreads().values())
        if not workers:
            raise Problem(f"CLUSTER: the scheduler at {address} has no workers; "
                          "start some with `dask worker` in a checkout of this project.")
        try:
            yield Cluster(_submitter(client), partial(client.scatter, broadcast=True), workers)
        except KilledWorker as error:
            raise Problem(f"CLUSTER: an item killed {RETRIES + 1} workers, perhaps for want of memory "
                          f"({error.task}); run it again, it goes on where it was.") from None


def _submitter(client: Any) -> Callable[..., Any]:
    """Every call is work of its own, even where its arguments equal those of another."""
    def submit(function: Callable, *args: Any) -> Any:
        return client.submit(function, *args, pure=False, retries=RETRIES)
    return submit

