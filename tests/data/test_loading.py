"""What is read ahead: the same, in the same order, whatever the number of processes."""
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.data.images import square_tensor
from lib.data.loading import decoders, loaded, to_device, with_photos
from lib.metrics.scoring import batches


@pytest.fixture
def photographs(tmp_path: Path) -> list[Sample]:
    samples = []
    for i in range(5):
        values = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{i}.png")
        samples.append(Sample(str(i), tmp_path, f"{i}.png", "test", ("a",)))
    return samples


def read(sample: Sample) -> tuple[torch.Tensor, int]:
    """A photograph's square, and the process that decoded it."""
    return square_tensor(sample.photo(), 16), os.getpid()


def broken(number: int) -> int:
    if number == 2:
        raise Problem("Image 2: cannot be decoded.")
    return number


def faulty(number: int) -> int:
    raise ValueError(f"a fault of the code, {number}")


def killed(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_order_and_values_do_not_depend_on_the_processes(photographs: list[Sample], workers: int) -> None:
    readings = [partial(read, sample) for sample in photographs]
    torch.manual_seed(7)
    expected_next = torch.rand(1)
    torch.manual_seed(7)
    found = list(loaded(readings, workers))
    assert torch.equal(torch.rand(1), expected_next)   # dropout draws on as it would
    for (square, _), sample in zip(found, photographs, strict=True):
        assert torch.equal(square, square_tensor(sample.photo(), 16))
    processes = {process for _, process in found}
    assert (processes == {os.getpid()}) == (workers == 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_problem_is_the_same_sentence(workers: int) -> None:
    found = loaded([partial(broken, number) for number in range(4)], workers)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(Problem, match="^Image 2: cannot be decoded.$"):
        next(found)


def test_a_fault_stays_a_fault_with_its_place() -> None:
    with pytest.raises(ValueError, match="in faulty"):
        list(loaded([partial(faulty, number) for number in range(2)], 1))


def test_a_killed_process_is_one_sentence() -> None:
    with pytest.raises(Problem) as caught:
        list(loaded([partial(killed, number) for number in range(3)], 1))
    assert str(caught.value).startswith("A process that decodes photographs was killed")
    assert "DECODERS" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("gpu, given, cores, beside, expected", [
    (False, None, 16, None, 0),    # the cores have the networks to run
    (True, None, 4, None, 4),
    (True, None, 64, None, 8),
    (True, None, 16, "4", 4),      # four processes with a GPU each
    (True, "0", 16, None, 0),
    (False, "3", 2, None, 3),
])
def test_how_many_processes(monkeypatch: pytest.MonkeyPatch, gpu: bool, given: str | None, cores: int,
                            beside: str | None, expected: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    for name, value in (("DECODERS", given), ("LOCAL_WORLD_SIZE", beside)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert decoders() == expected


def test_a_number_of_processes_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECODERS", "many")
    with pytest.raises(Problem, match='^DECODERS: "many" is no number of processes; give 0 or .*$'):
        decoders()


@pytest.mark.parametrize("number", ["0", "2"])
def test_batches_of_samples_with_photographs(photographs: list[Sample], monkeypatch: pytest.MonkeyPatch,
                                             number: str) -> None:
    """As scoring takes them: the same samples and photographs, decoded ahead where processes read."""
    monkeypatch.setenv("DECODERS", number)
    parts = [list(part) for part in batches(photographs, 2, "test")]
    assert parts == [photographs[:2], photographs[2:4], photographs[4:]]
    for sample in (sample for part in parts for sample in part):
        assert (sample.decoded is not None) == (number == "2")
        plain = next(one for one in photographs if one.id == sample.id)
        assert np.array_equal(np.asarray(sample.photo()), np.asarray(plain.photo()))


def test_a_photograph_that_is_missing_is_named(photographs: list[Sample],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECODERS", "1")
    (photographs[3].folder / "3.png").unlink()
    with pytest.raises(Problem, match="3.png: there is no such image.$"):
        list(with_photos([photographs[:2], photographs[2:]]))


def test_images_on_a_device_are_channels_last() -> None:
    batch = torch.rand(2, 3, 4, 5)
    moved = to_device(batch, torch.device("cpu"))
    assert torch.equal(moved, batch) and moved.is_contiguous(memory_format=torch.channels_last)


def test_only_a_gpu_asks_for_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for photographs, which no GPU fetches."""
    asked: list[bool] = []

    class Loader:
        def __init__(self, readings: object, pin_memory: bool, **_: object) -> None:
            asked.append(pin_memory)

        def __iter__(self) -> object:
            return iter(())

    monkeypatch.setattr(torch.utils.data, "DataLoader", Loader)
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        list(loaded([partial(broken, 0)] * 2, 1))
    list(loaded([partial(broken, 0)] * 2, 1, pinned=False))
    assert asked == [False, True, False]
