"""How much memory may still be taken, and how it looks when it has run out; torch is not imported for it."""
import ctypes
import gc
import math
import os
import sys
from pathlib import Path

# By errors of torch, of the loader of libraries, and of threads.
SAID: tuple[str, ...] = ("not enough memory", "DefaultCPUAllocator", "out of memory", "bad_alloc",
                         "failed to map segment", "annot allocate memory", "can't start new thread")
RAN_OUT = "Memory ran out; take smaller images, or end what else runs here."
MEGABYTE = 2 ** 20
CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
# The GNU C library's: no memory straight from the kernel, and up to 2 GiB at the end of the heap stays.
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1
MOST_KEPT = 2 ** 31 - 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, a GPU's or the machine's."""
    if isinstance(error, MemoryError):
        return True
    may_mean_it = isinstance(error, (RuntimeError, ImportError, OSError))
    return may_mean_it and any(words in str(error) for words in SAID)


def release() -> None:
    """Let go of what nobody uses any more, of a GPU's memory too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def reuse_freed() -> None:
    """Let this process, and those that it starts, use again what they free, instead of giving it back.

    Every large tensor would else be made of fresh pages, which the kernel clears one by one (or, where
    THP_MEM_ALLOC_ENABLE asks for large ones, first looks for): a quarter to a third of the time of a training
    step whose batches differ in size. Without the GNU C library nothing changes.
    """
    os.environ.setdefault("MALLOC_MMAP_MAX_", "0")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(MOST_KEPT))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, int(os.environ["MALLOC_MMAP_MAX_"]))
        mallopt(M_TRIM_THRESHOLD, int(os.environ["MALLOC_TRIM_THRESHOLD_"]))


def free_mb() -> float:
    """Megabytes that this program may still take: what the machine has left, or its container.

    Infinite where nobody says.
    """
    return min(_of_the_machine(), _of_the_container())


def _of_the_machine() -> float:
    if not MEMINFO.is_file():   # not Linux
        return math.inf
    lines = [line.split() for line in MEMINFO.read_text().splitlines()]
    kilobytes = [int(words[1]) for words in lines if words[0] == "MemAvailable:"]
    return kilobytes[0] / 1024 if kilobytes else math.inf


def _of_the_container() -> float:
    """What is left below the limit of this control group; files that are cached give way."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        taken = int((CGROUP / "memory.current").read_text())
        facts = (CGROUP / "memory.stat").read_text().split()
    except OSError:
        return math.inf
    if limit == "max":
        return math.inf
    cached = int(facts[facts.index("inactive_file") + 1])
    return (int(limit) - taken + cached) / MEGABYTE
