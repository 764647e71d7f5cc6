"""Processes that end with the one that they work for, even if that is killed and cannot say so."""
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

EVERY = 1.0   # seconds between two looks
SHELLS: tuple[str, ...] = ("sh", "bash", "dash", "zsh", "fish", "ksh")
WORKS_FOR = "SUITE_WORKS_FOR"   # of the environment: the process that has started DVC

Link = tuple[int, int]   # a process and its parent; when that ends, the process gets another


def end_with(parent: int) -> None:
    """End this process soon after its parent has ended."""
    _watch([(os.getpid(), parent)])


def end_with_dvc() -> None:
    """End a stage soon after the DVC that runs it, or what started that; without DVC nothing is watched.

    DVC would find the stage undone and run it a second time beside the first.
    """
    if "DVC_STAGE" not in os.environ:
        return
    links = [(os.getpid(), os.getppid())]
    if _name(os.getppid()) in SHELLS:   # DVC runs its commands by one, which may take their place or wait
        links.append((os.getppid(), _parent(os.getppid())))
    dvc = links[-1][1]
    if os.environ.get(WORKS_FOR) == str(_parent(dvc)):
        links.append((dvc, _parent(dvc)))
    _watch(links)


def end_descendants(by: signal.Signals) -> None:
    """Send a signal to all that this process has started, and to what that has."""
    for process in _descendants(os.getpid()):
        with suppress(ProcessLookupError):   # it has just ended
            os.kill(process, by)


def _watch(links: list[Link]) -> None:
    threading.Thread(target=_end_when_broken, args=(links,), daemon=True).start()


def _end_when_broken(links: list[Link]) -> None:
    while all(_parent(process) == parent for process, parent in links):
        time.sleep(EVERY)
    end_descendants(signal.SIGKILL)
    os._exit(1)


def _parent(process: int) -> int:
    """A process's parent; 0 where there is no such process, or where only Linux could say."""
    if process == os.getpid():
        return os.getppid()
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(words[1])


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def _descendants(process: int) -> list[int]:
    """All that a process has started, and what that has."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        children.setdefault(_parent(int(folder.name)), []).append(int(folder.name))
    found = []
    waiting = list(children.get(process, []))
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found
