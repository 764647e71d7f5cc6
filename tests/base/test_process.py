"""How long actions take, how much memory a program has held, and the answer of a process of its own."""
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base import process
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.base.process import answer_of, medians, peak_mb, wait_for_gpu

MEMORY = """
from lib.base.process import peak_mb
before = peak_mb()
held = b"x" * (200 << 20)
while_held = peak_mb()
del held
print(before, while_held, peak_mb())
"""


def printed_by(program: str) -> str:
    """Output of a program in a process of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a program's own peak")
def test_the_most_that_was_held() -> None:
    """Not what is held now, nor what another program held that started this one."""
    ballast = b"x" * (300 << 20)   # of the program that starts the other
    before, held, after = map(float, printed_by(MEMORY).split())
    assert before < 150 and held - before == pytest.approx(200, abs=10)
    assert after == pytest.approx(held, abs=1)
    assert peak_mb() > len(ballast) / 2 ** 20


def test_the_most_that_was_held_elsewhere_than_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.Path, "exists", lambda self: False)
    monkeypatch.setattr(process.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3 * 1024))
    assert peak_mb() == 3


class Clock:
    """Time that passes only where actions let it pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []

    def __call__(self) -> float:
        return self.now

    def action(self, name: str, *seconds: float) -> None:
        """Take the next of so many seconds."""
        self.now += seconds[self.done.count(name)]
        self.done.append(name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process, "perf_counter", clock)
    return clock


def test_medians_leave_the_first_round_out_and_take_turns(clock: Clock) -> None:
    """Rounds of 9 (which warms up), 1, 3, 2 and of 1, 5, 5, 0.00004 seconds."""
    actions = {"long": lambda: clock.action("long", 9, 1, 3, 2),
               "short": lambda: clock.action("short", 1, 5, 5, 4e-5)}
    assert medians(actions, rounds=3) == {"long": 2000, "short": 5000}
    assert clock.done == ["long", "short"] * 4


def test_medians_of_five_rounds_in_tenths_of_milliseconds(clock: Clock) -> None:
    assert medians({"a": lambda: clock.action("a", 9, 4, 1, 2.00006, 8, 0)}) == {"a": 2000.1}
    assert clock.done == ["a"] * 6


def use_gpu(monkeypatch: pytest.MonkeyPatch, initialised: bool, synchronize: Callable[[], None]) -> None:
    """Have torch tell whether it has initialised CUDA, and `synchronize` take the place of its waiting."""
    cuda = SimpleNamespace(is_initialized=lambda: initialised, synchronize=synchronize)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


def test_medians_hold_what_a_gpu_does_for_an_action(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The action only starts the work; the GPU needs two more seconds for it."""
    def synchronize() -> None:
        clock.now += 2

    use_gpu(monkeypatch, True, synchronize)
    assert medians({"a": lambda: clock.action("a", 1, 1, 1)}, rounds=2) == {"a": 3000}


@pytest.mark.parametrize("initialised", [True, False])
def test_only_a_gpu_that_is_in_use_is_waited_for(initialised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    use_gpu(monkeypatch, initialised, lambda: waited.append("waited"))
    wait_for_gpu()
    assert len(waited) == initialised


def test_torch_is_not_imported_to_wait() -> None:
    program = "import sys, lib.base.process as p; p.wait_for_gpu(); print('torch' in sys.modules)"
    assert printed_by(program) == "False\n"


def test_the_answer_is_the_last_line(tmp_path: Path) -> None:
    """json.tool prints the file's lines again."""
    (tmp_path / "lines").write_text('"progress"\n{"a": [1, 2.5]}\n')
    words = ["--json-lines", "--compact", str(tmp_path / "lines")]
    assert answer_of("json.tool", words, "it could not be read") == {"a": [1, 2.5]}


def test_a_failure_is_one_sentence() -> None:
    with pytest.raises(Problem, match="^the speed could not be measured: .*no_such_module"):
        answer_of("lib.no_such_module", [], "the speed could not be measured")
