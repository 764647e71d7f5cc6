"""The one exception users see: a sentence that names the thing, the rule and the way out."""
import difflib
from collections.abc import Iterable


class Problem(Exception):
    """Something the user can put right. Its text is one sentence; command lines print it without a traceback."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the closest known spelling, else the list of what is known."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else f" (known: {', '.join(known) or 'none'})"
