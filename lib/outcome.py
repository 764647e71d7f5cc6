"""How a command ends: its exit status, and one sentence where something is wrong."""
import sys
from collections.abc import Callable

from lib.problem import Problem


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
