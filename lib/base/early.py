"""What a program does before all else is imported; `_signal` is part of the interpreter and there at once."""
import _signal


def end_without_a_word() -> None:
    """From now on Ctrl-C ends this program without a traceback; nothing has been begun yet.

    A program that was started deaf to it stays so.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
