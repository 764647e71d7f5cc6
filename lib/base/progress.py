"""Progress bars on long work, silent where nobody is looking."""
import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """Iterate with a bar on standard error; quiet when that is not a terminal."""
    return tqdm(items, desc=label, total=total, disable=not sys.stderr.isatty(), leave=False)
