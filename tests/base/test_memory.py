"""What is freed is used again: by this process and by those that it starts."""
import os
import subprocess
import sys

import pytest

from lib.base.memory import reuse_freed
from lib.base.paths import ROOT

FAULTS = """
import resource
{before}
def faults():
    block = bytearray(200 * 2 ** 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del block
    block = bytearray(200 * 2 ** 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
"""
PAGES = 200 * 2 ** 20 // 4096
VARIABLES: tuple[str, ...] = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")


def faults(before: str, **variables: str) -> int:
    """Pages that the kernel had to give for 200 MB that were freed a moment ago."""
    own = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    program = [sys.executable, "-c", FAULTS.format(before=before)]
    done = subprocess.run(program, check=True, capture_output=True, text=True, cwd=ROOT, env=own | variables)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's memory")
def test_freed_memory_is_used_again() -> None:
    assert faults("") > PAGES / 2
    assert faults("from lib.base.memory import reuse_freed; reuse_freed()") < PAGES / 10


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's memory")
def test_processes_that_are_started_hear_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through variables, which a user may set otherwise."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("lib.base.memory.ctypes.CDLL", lambda _: None)   # this process stays as it is
    reuse_freed()
    assert faults("", **{name: os.environ[name] for name in VARIABLES}) < PAGES / 10
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    reuse_freed()
    assert os.environ["MALLOC_MMAP_MAX_"] == "65536"
