"""How much memory a program has held, not what it holds now or what another one held that started it."""
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lib.base import process as memory
from lib.base.paths import ROOT

PROGRAM = """
from lib.base.process import peak_mb
before = peak_mb()
held = b"x" * (200 << 20)
while_held = peak_mb()
del held
print(before, while_held, peak_mb())
"""


@pytest.mark.skipif(not memory.Path("/proc/self/status").exists(), reason="only Linux tells a program's own peak")
def test_the_most_that_was_held() -> None:
    ballast = b"x" * (300 << 20)   # of the program that starts the other
    told = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before, held, after = map(float, told.split())
    assert before < 150 and held - before == pytest.approx(200, abs=10) and after == pytest.approx(held, abs=1)
    assert memory.peak_mb() > len(ballast) / 2 ** 20


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.Path, "exists", lambda self: False)
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3 * 1024))
    assert memory.peak_mb() == 3
