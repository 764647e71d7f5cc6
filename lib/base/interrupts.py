"""What a program does when it is told to stop: by Ctrl-C, or by a request to terminate."""
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """A request to terminate went to this program alone: what it has started has not heard of it."""


@contextmanager
def heard() -> Iterator[None]:
    """Ctrl-C and requests to terminate raise KeyboardInterrupt inside, so that what was begun is put away."""
    if threading.current_thread() is not threading.main_thread():   # signals are no matter of others
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _interrupt if number == signal.SIGINT else _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Programs that are started inside do not hear the Ctrl-C of a terminal; this one does, at the end.

    They are told when to end by this one, and while they are still starting they could only complain.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
