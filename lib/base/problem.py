"""The one exception users see: a sentence that names the thing, the rule and the way out."""
import difflib
import sys
from collections.abc import Callable, Iterable


class Problem(Exception):
    """Something the user can put right. Its text is one sentence; command lines print it without a traceback."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the closest known spelling, else the list of what is known."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else f" (known: {', '.join(known) or 'none'})"


def exit_status(command: Callable[[], int | None], interrupted: str) -> int:
    """What the command returns (0 for nothing), 1 after a sentence about a `Problem` or a file, 130 after the one for an interruption."""
    try:
        return command() or 0
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except OSError as error:   # a full disk, a folder that may not be written, a file where a folder should be
        print(f"{error.filename or 'Files'}: {error.strerror or error}; free it, or name another place.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
