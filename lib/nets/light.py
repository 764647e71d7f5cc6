"""Importing torchvision and timm without torch's compiler, which neither of them needs here."""
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let a stand-in answer what packages ask the compiler while they are imported.

    They ask whether it can be used, and mark functions that it is not to touch. The real one takes longer to
    import than torch, torchvision and timm together (6 s on one core), in every process, and this suite
    compiles nothing. Who has it already keeps it, and whoever imports it later gets it.
    """
    if COMPILER in sys.modules:
        yield
        return
    compiler, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    compiler.utils = utils
    compiler.disable = _as_it_is
    utils.is_compile_supported = lambda device: False
    sys.modules.update({COMPILER: compiler, f"{COMPILER}.utils": utils})
    try:
        yield
    finally:
        for name in (COMPILER, f"{COMPILER}.utils"):
            del sys.modules[name]


def _as_it_is(function: Callable | None = None, *_: Any, **__: Any) -> Callable:
    """A decorator, with or without arguments, that changes nothing."""
    return function if callable(function) else _as_it_is
