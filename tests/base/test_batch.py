"""The batch that is found by trying, and work that goes on with half of it where memory runs out."""
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from lib.base import batch, memory
from lib.base.batch import AUTO, Sparing, batch_size, largest_batch
from lib.base.memory import free_mb, is_out_of_memory
from lib.base.problem import Problem, exit_status

CPU_SAYS = ("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 4398046511104 bytes.")


class Clock:
    """Time and memory that only the work takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fixed: float = 10.0, each: float = 1.0,
                 megabytes: float = 0.0) -> None:
        self.now = 0.0
        self.peak = 100.0
        self.fixed = fixed
        self.each = each
        self.megabytes = megabytes   # an item
        self.sizes: list[int] = []
        monkeypatch.setattr(batch, "perf_counter", lambda: self.now)
        monkeypatch.setattr(batch, "peak_mb", lambda: self.peak)
        monkeypatch.setattr(batch, "held_mb", lambda: 100.0)
        monkeypatch.setattr(batch, "free_mb", lambda: math.inf)

    def __call__(self, size: int) -> None:
        self.sizes.append(size)
        self.now += self.fixed + self.each * size
        self.peak = max(self.peak, 100 + self.megabytes * size)


def test_batches_double_while_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 + n seconds: 11, 6, 3.5, 2.25, 1.63, 1.31, 1.16, 1.08 seconds an item; the first try warms up."""
    work = Clock(monkeypatch)
    assert largest_batch(work, 1000) == 128
    assert work.sizes == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256]


def test_one_at_a_time_where_more_are_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert largest_batch(Clock(monkeypatch, fixed=0.05), 1000) == 1


@pytest.mark.parametrize("most, expected", [(1, 1), (3, 2), (4, 4), (7, 4)])
def test_no_more_than_there_are(monkeypatch: pytest.MonkeyPatch, most: int, expected: int) -> None:
    work = Clock(monkeypatch)
    assert largest_batch(work, most) == expected
    assert max(work.sizes) <= most


def out_of_memory(work: Clock, most: int, error: Exception) -> object:
    def run(size: int) -> None:
        work(size)
        if size > most:
            raise error
    return run


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), RuntimeError(CPU_SAYS),
    RuntimeError("[enforce fail] not enough memory: you tried to allocate 1 bytes."), MemoryError()])
def test_doubling_ends_where_memory_does(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert is_out_of_memory(error)
    assert largest_batch(out_of_memory(Clock(monkeypatch), 12, error), 1000) == 8


def test_other_errors_are_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("a fault of the code")
    with pytest.raises(RuntimeError, match="a fault of the code"):
        largest_batch(out_of_memory(Clock(monkeypatch), 12, error), 1000)


def test_on_a_cpu_free_memory_is_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 MB an item, 500 MB free: four took 400, eight would take 800."""
    work = Clock(monkeypatch, megabytes=100)
    monkeypatch.setattr(batch, "free_mb", lambda: 500)
    assert largest_batch(work, 1000) == 4
    assert max(work.sizes) == 4


@pytest.mark.parametrize("asked, expected", [(None, 4), (7, 7), (AUTO, 2)])
def test_what_is_asked_for_counts(monkeypatch: pytest.MonkeyPatch, asked: batch.Batch, expected: int) -> None:
    clock = Clock(monkeypatch)
    seen: list[Sequence[str]] = []

    def work(items: Sequence[str]) -> None:
        seen.append(items)
        clock(len(items))

    assert batch_size(asked, 4, "abc", work) == expected
    assert seen == (["a", "a", "ab"] if asked == AUTO else [])


class Work:
    """Doubles numbers; runs out of memory from some number of them on."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        if len(items) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [2 * item for item in items]


def sparing(work: Work) -> Sparing[int, list[int]]:
    return Sparing(work, lambda parts: [item for part in parts for item in part])


def test_halved_once_and_on(capsys: pytest.CaptureFixture[str]) -> None:
    """In order and complete, this batch and all later ones, with one sentence."""
    work = Work(5)
    spared = sparing(work)
    for _ in range(2):
        assert spared(range(9)) == list(range(0, 18, 2))
    assert spared(range(3)) == [0, 2, 4]
    assert work.sizes == [9, 5, 4, 5, 4, 3]
    assert capsys.readouterr().err == "Memory ran out with 9 at a time; going on with 5.\n"


@pytest.mark.parametrize("most, number, words", [(3, 9, "with 5 at a time"), (0, 1, "with 1 at a time")])
def test_a_second_failure_is_a_problem(most: int, number: int, words: str) -> None:
    with pytest.raises(Problem) as caught:
        sparing(Work(most))(range(number))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_other_errors_pass_through() -> None:
    def broken(items: Sequence[int]) -> list[int]:
        raise RuntimeError("a fault of the code")

    with pytest.raises(RuntimeError, match="a fault of the code"):
        Sparing(broken, sum)([1, 2])


def test_a_command_without_memory_ends_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise RuntimeError(CPU_SAYS)

    assert exit_status(command, "Interrupted.") == 1
    assert capsys.readouterr().err.startswith("Memory ran out; ")


def test_torch_says_so_when_memory_runs_out() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2 ** 50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_free_memory_is_the_least_of_machine_and_container(tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_mb() > 0
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:    2097152 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "none")
    assert free_mb() == 2048
    limits = {"memory.max": str(1024 * 2 ** 20), "memory.current": str(600 * 2 ** 20),
              "memory.stat": f"anon 5\ninactive_file {100 * 2 ** 20}"}
    for name, text in limits.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert free_mb() == 524
    (tmp_path / "memory.max").write_text("max\n")
    assert free_mb() == 2048
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert free_mb() == math.inf
