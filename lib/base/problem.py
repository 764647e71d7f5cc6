"""The one exception that users see, a sentence that names thing, rule and way out, and how commands end."""
import difflib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable

from lib.base.interrupts import heard
from lib.base.memory import RAN_OUT, is_out_of_memory

LONGEST_WORD = 100   # characters of another's word that a sentence quotes
LONGEST_PATH = 300   # characters of a path
BROKEN_PIPE = 128 + signal.SIGPIPE   # the exit status that shells know it by
_SPACE = "free some space, or name a place on another disk"
REMEDIES: dict[int | None, str] = {
    errno.ENOSPC: _SPACE, errno.EDQUOT: _SPACE, errno.EFBIG: _SPACE,
    errno.EACCES: "see to its permissions, or name another place",
    errno.EPERM: "see to its permissions, or name another place",
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "take shorter names, or fewer folders in each other",
}


class Problem(Exception):
    """Something the user can put right, in one sentence; command lines print it without a traceback."""


def nearest(word: str, known: Iterable[str]) -> str:
    """End of a sentence about an unknown word: `; did you mean "test"?`, or ` (known: train, test)`.

    The first is the closest known spelling; where none is close, the second lists all that is known.
    """
    spellings = [str(spelling) for spelling in known]
    close = difflib.get_close_matches(str(word)[:LONGEST_WORD], spellings, n=1, cutoff=0.5)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f" (known: {', '.join(spellings) or 'none'})"


def quoted(word: object) -> str:
    """A word in quotation marks as a sentence shows it: in one line, without unseen characters, not long."""
    text = repr(str(word))[1:-1]
    if len(text) > LONGEST_WORD:
        text = f"{text[:LONGEST_WORD]}..."
    return f'"{text}"'


def say(sentence: object) -> None:
    """One line on standard error, whatever a file's name in it holds: line breaks and codes are spelt out."""
    print(one_line(str(sentence)), file=sys.stderr)


def one_line(text: str) -> str:
    """A text whose line breaks, and all else that a terminal would obey, are spelt out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def exit_status(command: Callable[[], int | None], interrupted: str) -> int:
    """Run a command and return its exit status, with one sentence on standard error where something is wrong.

    The status is what the command returns (0 for None), 1 after a `Problem`, an error of a file or want of
    memory, and 130 after an interruption, for which the sentence is `interrupted`. Where nobody reads on what
    it prints, it ends in silence.
    """
    _show_every_name()
    try:
        with heard():
            status = command() or 0
            sys.stdout.flush()   # while it can still be said that this fails
            return status
    except Problem as problem:
        say(problem)
        return 1
    except BrokenPipeError:   # whoever reads what is printed, such as `head`, has read enough
        _print_no_more()
        return BROKEN_PIPE
    except OSError as error:   # a full disk, a folder that is read-only, a file where a folder should be
        if is_out_of_memory(error):
            say(RAN_OUT)
            return 1
        what = _shortened(str(error.filename or "Files"))
        remedy = REMEDIES.get(error.errno, "mend that, or name another place")
        say(f"{what}: {error.strerror or error}; {remedy}.")
        return 1
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        say(RAN_OUT)
        return 1
    except KeyboardInterrupt:
        say(interrupted)
        return 130


def _show_every_name() -> None:
    """Show what the terminal has no letters for, such as a file's name of another encoding, by its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _shortened(path: str) -> str:
    """A path that can be read, by its beginning and its end."""
    if len(path) <= LONGEST_PATH:
        return path
    return f"{path[:LONGEST_PATH // 3]}...{path[-LONGEST_PATH // 2:]}"


def _print_no_more() -> None:
    """Let go of what is still to be printed, or Python would complain about it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
