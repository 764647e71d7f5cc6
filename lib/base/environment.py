"""The environment of this process, and of all that it starts, changed for a while."""
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lib.base.problem import Problem, quoted


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables inside, or take them away (None); afterwards each of them is as it was."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def whole_number(name: str, usual: int | None = None) -> int:
    """The whole number from 0 on that a variable holds; `usual` where it is not set and that is given."""
    text = os.environ.get(name)
    if text is None and usual is not None:
        return usual
    if text is None or not re.fullmatch("[0-9]{1,9}", text):
        raise Problem(f"{name}: must be a whole number in the environment, not {quoted(text or '')}; "
                      "set it as whoever starts the processes would, or unset it.")
    return int(text)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
