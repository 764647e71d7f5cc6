"""Functions on items that other processes can find, for the tests of shared work."""
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lib.base.problem import Problem


def squares() -> Callable[[int], int]:
    return lambda number: number * number


def pids() -> Callable[[int], int]:
    def pid(_: int) -> int:
        time.sleep(0.3)
        return os.getpid()
    return pid


def sums(made: Path) -> Callable[[int], bytes]:
    """Sums whose last digits depend on how many threads share them; how often it is made, a file tells."""
    import numpy as np

    with made.open("a") as stream:
        stream.write("made\n")

    def add(number: int) -> bytes:
        values = np.random.default_rng(number).random((2000, 501), dtype=np.float32)
        return (values.T @ values).tobytes()
    return add


def poison(bad: dict[int, str]) -> Callable[[int], int]:
    """Some numbers fail: with a sentence, by a fault of the program, or by the death of their process."""
    def do(number: int) -> int:
        match bad.get(number):
            case "sentence":
                raise Problem("image 3 cannot be decoded; replace it.")
            case "fault":
                raise ValueError("no such thing")
            case "death":
                os.kill(os.getpid(), signal.SIGKILL)
        return number
    return do


def dies_once(note: Path, victim: int) -> Callable[[int], int]:
    """The first process that meets the victim is killed by it; the next one does it."""
    def do(number: int) -> int:
        if number == victim and not note.exists():
            note.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number
    return do


def unmakeable() -> Callable[[int], int]:
    raise Problem("weights.safetensors: missing; train it first.")


def nested() -> Callable[[int], int]:
    from lib.base.work import jobs

    return lambda _: jobs()
