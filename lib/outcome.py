"""How a command ends: its exit status, and one sentence where something is wrong."""
import sys
from collections.abc import Callable

from lib.problem import Problem


def exit_status(command: Callable[[], int | None], interrupted: str) -> int:
    """What the command returns (0 for nothing), 1 after a `Problem`'s sentence, 130 after the one for an interruption."""
    try:
        return command() or 0
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
