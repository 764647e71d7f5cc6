"""Training of a filling module: the loss, what is drawn in which pass, and that it can be resumed."""
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iam_toys import DEPTHS, TRAINING, toy_filling
from killed import Killed
from sentences import is_one_sentence
from torch import Tensor

from lib.base.problem import Problem
from lib.papers.iam import training as module
from lib.papers.iam.filling import ExtentFilling
from lib.papers.iam.lessons import Batch, Lesson
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.training import filling_loss, train_filling
from lib.params import load_params
from lib.proposals.segments import pack
from lib.training.checkpoint import TrainedFile

M = 16   # side of the maps
SMALL = replace(TRAINING, side=64, map_side=M, batch=2)


def lesson(seed: int, peaks: int = 2, proposals: int = 5) -> Lesson:
    """Peaks at the middle of squares that the trunk's maps show.

    The proposals of a peak are such squares, each a little larger than the one before.
    """
    rng = np.random.default_rng(seed)
    masks = np.zeros((peaks, proposals, M, M), bool)
    prms = torch.zeros(peaks, M, M)
    shown = torch.zeros(M, M)
    for p in range(peaks):
        y, x = rng.integers(1, 6, 2)
        for j in range(proposals):
            masks[p, j, y:y + 4 + j, x:x + 4 + j] = True
        prms[p, y + 2, x + 2] = 1
        shown[y:y + 4, x:x + 4] = 1
    level = torch.nn.functional.avg_pool2d(shown[None], 4)
    valid = torch.ones(M, M, dtype=torch.bool)
    valid[12 + seed % 4:] = False
    places = torch.arange(peaks * proposals).view(peaks, proposals)
    levels = [torch.cat([level] * depth).half() for depth in DEPTHS]
    return Lesson(str(seed), ("red",), prms.half(), levels, pack(masks.reshape(-1, M, M)), places, valid)


LESSONS = [lesson(seed) for seed in range(5)]


def trained(folder: Path, k: int = 5, seed: int = 0, taught: Sequence[Lesson] = LESSONS,
            fingerprint: str = "f", **changes: Any) -> tuple[list[dict[str, Any]], ExtentFilling]:
    filling = toy_filling().requires_grad_(True)
    torch.manual_seed(sum(map(ord, folder.name)))   # whatever a new process starts with
    target = TrainedFile(folder / "weights.safetensors", folder / "curves.csv", fingerprint)
    training = replace(SMALL, **changes)
    rows = train_filling(filling, taught, FillingJob(k, seed), training, target, "toy, k5")
    return rows, filling


def same(a: ExtentFilling, b: ExtentFilling) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in a.state_dict().items())


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Every batch."""
    found, real = [], module.batch_of

    def watched(*arguments: Any) -> Batch | None:
        found.append(real(*arguments))
        return found[-1]

    monkeypatch.setattr(module, "batch_of", watched)
    return found


# the loss

def a_batch() -> tuple[Tensor, Batch]:
    generator = torch.Generator().manual_seed(4)
    valid = torch.zeros(3, 6, 6, dtype=torch.bool)
    valid[0, :2, :3] = True
    valid[1] = True
    valid[2, :, :5] = True
    targets = torch.rand(3, 6, 6, generator=generator) < 0.4
    logits = 3 * torch.randn(3, 6, 6, generator=generator)
    return logits, Batch(torch.zeros(3, 6, 6), targets, valid, [], torch.arange(3))


def test_the_loss_is_a_mean_over_the_image_and_over_peaks() -> None:
    """Peak by peak: 6, 36 and 30 pixels weigh alike together."""
    logits, batch = a_batch()
    means = []
    peaks = zip(logits.double().numpy(), batch.targets.numpy(), batch.valid.numpy(), strict=True)
    for z, is_target, is_valid in peaks:
        q = 1 / (1 + np.exp(-z))
        likelihood = np.where(is_target, q, 1 - q)
        means.append(np.mean([-np.log(likelihood[i]) for i in np.ndindex(6, 6) if is_valid[i]]))
    assert filling_loss(logits, batch).item() == pytest.approx(np.mean(means), rel=1e-5)


def test_padding_does_not_count() -> None:
    logits, batch = a_batch()
    logits.requires_grad_()
    loss = filling_loss(logits, batch)
    loss.backward()
    assert (logits.grad[~batch.valid] == 0).all() and (logits.grad[batch.valid] != 0).all()
    other = replace(batch, targets=batch.targets ^ ~batch.valid)
    assert torch.equal(filling_loss(torch.where(batch.valid, logits, 50), other), loss)


# passes

def test_the_loss_falls(tmp_path: Path) -> None:
    rows, filling = trained(tmp_path, k=1, passes=15, rate=0.03)
    first = np.mean([row["loss"] for row in rows if row["epoch"] == 1])
    last = np.mean([row["loss"] for row in rows if row["epoch"] == 15])
    assert last < 0.6 * first, (first, last)
    assert not filling.training and not any(p.requires_grad for p in filling.parameters())


def test_rows_and_the_fall_of_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five lessons, two a step: three steps a pass."""
    rates, real = [], module._optimiser

    def watched(*arguments: Any) -> torch.optim.Optimizer:
        optimiser = real(*arguments)
        optimiser.register_step_pre_hook(note_rates)
        return optimiser

    def note_rates(optimiser: torch.optim.Optimizer, *_rest: Any) -> None:
        rates.append([group["lr"] for group in optimiser.param_groups])

    monkeypatch.setattr(module, "_optimiser", watched)
    rows, _ = trained(tmp_path, passes=2, rate=0.02)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]
    assert all(tuple(row) == module.COLUMNS and row["loss"] == round(row["loss"], 5) > 0 for row in rows)
    assert np.allclose(rates, [[0.02 * (1 - n / 6) ** 0.9] for n in range(6)])


def test_the_first_loss_and_the_statistics(tmp_path: Path, drawn: list[Batch]) -> None:
    """Each peak with the trunk's maps of its own image, batch normalisation as in training."""
    rows, filling = trained(tmp_path)
    first, fresh = drawn[0], toy_filling().train()
    assert first.image.tolist() == [0, 0, 1, 1]
    own = filling_loss(fresh(first.prms, first.levels, first.image), first).item()
    anothers = filling_loss(fresh(first.prms, first.levels, first.image.flip(0)), first).item()
    assert rows[0]["loss"] == pytest.approx(own, abs=1e-5)
    assert rows[0]["loss"] != pytest.approx(anothers, abs=1e-3)
    assert filling.encoder[0][1].num_batches_tracked == 6


def test_every_lesson_once_a_pass_in_another_order(tmp_path: Path, drawn: list[Batch]) -> None:
    trained(tmp_path, k=1, passes=2)
    known = {one.prms.float().numpy().tobytes(): one.id for one in LESSONS}
    order = []
    for batch in drawn:
        for prms in batch.prms.split(2):   # the two peaks of a lesson
            order.append(known[prms.numpy().tobytes()])
    assert sorted(order[:5]) == sorted(order[5:]) == list("01234") and order[:5] != order[5:]


def test_draws_differ_between_passes_and_repeat_with_the_seed(tmp_path: Path, drawn: list[Batch]) -> None:
    def targets(name: str, seed: int, k: int) -> list[Tensor]:
        drawn.clear()
        trained(tmp_path / name, k, seed, LESSONS[:1], passes=6)
        return [batch.targets for batch in drawn]

    first = targets("a", 3, 5)
    assert len({one.numpy().tobytes() for one in first}) > 2
    assert all(map(torch.equal, first, targets("b", 3, 5)))
    assert not all(map(torch.equal, first, targets("c", 4, 5)))
    best = targets("d", 3, 1)   # the best one, 4 x 4, in every pass
    assert (torch.stack(best).sum((2, 3)) == 16).all()
    assert not (torch.stack(first).sum((2, 3)) == 16).all()


def test_the_seed_decides(tmp_path: Path) -> None:
    """Nothing else does: neither what was random before nor where the checkpoint lies."""
    rows, one = trained(tmp_path / "a", seed=1)
    again, two = trained(tmp_path / "b", seed=1)
    _, other = trained(tmp_path / "c", seed=2)
    assert rows == again and same(one, two) and not same(one, other)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_optimisers(tmp_path: Path, name: str, kind: type) -> None:
    filling = toy_filling()
    optimiser = module._optimiser(filling, replace(SMALL, optimiser=name))
    assert type(optimiser) is kind
    numbers = [len(group["params"]) for group in optimiser.param_groups]
    assert sum(numbers) == len(list(filling.parameters()))
    assert not same(trained(tmp_path, passes=1, optimiser=name)[1], filling)


# resuming

@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_what_was_interrupted_ends_as_if_it_were_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     steps: int, optimiser: str) -> None:
    """In the first, second or third pass of three; the passes that were whole are not repeated."""
    rows, whole = trained(tmp_path / "whole", passes=3, optimiser=optimiser)
    real, left = module.batch_of, iter(range(steps))

    def killing(*arguments: Any) -> Batch | None:
        if next(left, None) is None:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(module, "batch_of", killing)
    with pytest.raises(Killed):
        trained(tmp_path / "cut", passes=3, optimiser=optimiser)
    assert (tmp_path / "cut" / "checkpoint.pt").is_file() == (steps >= 3)
    taken = []

    def counting(*arguments: Any) -> Batch | None:
        taken.append(1)
        return real(*arguments)

    monkeypatch.setattr(module, "batch_of", counting)
    again, filling = trained(tmp_path / "cut", passes=3, optimiser=optimiser)
    assert again == rows and same(filling, whole) and len(taken) == 9 - steps // 3 * 3
    assert not filling.training and not any(p.requires_grad for p in filling.parameters())


def test_a_checkpoint_of_something_else_is_forgotten(tmp_path: Path, drawn: list[Batch]) -> None:
    rows, whole = trained(tmp_path / "a")
    trained(tmp_path / "b", fingerprint="other", seed=3)
    drawn.clear()
    again, filling = trained(tmp_path / "b")
    assert again == rows and same(filling, whole) and len(drawn) == 6
    drawn.clear()
    finished, filling = trained(tmp_path / "b")
    assert finished == rows and same(filling, whole) and not drawn and not filling.training


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"x" * 50)
    with pytest.raises(Problem, match="cannot be read as a checkpoint .*; delete it"):
        trained(tmp_path)


# problems

def without(one: Lesson) -> Lesson:
    return replace(one, places=torch.full_like(one.places, -1), masks=one.masks[:0])


def test_steps_without_any_proposal_are_left_out(tmp_path: Path) -> None:
    """With two lessons, one a step, the second or the first step of a pass is missing."""
    rows, _ = trained(tmp_path, taught=[without(LESSONS[0]), LESSONS[1]], batch=1, passes=4)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert all(row["step"] in (2 * row["epoch"] - 1, 2 * row["epoch"]) for row in rows)


def raises(message: str, run: Callable[[], object]) -> None:
    with pytest.raises(Problem, match=message) as caught:
        run()
    assert is_one_sentence(caught.value)


def test_without_any_proposal_the_parameter_is_named(tmp_path: Path) -> None:
    """By its place in params.yaml."""
    raises("toy, k5, pass 1/2: no peak of any training image has a proposal that holds enough of it; "
           "lower iam_filling.retrieval.overlap or find more proposals",
           lambda: trained(tmp_path, taught=[without(one) for one in LESSONS]))
    assert load_params().iam_filling.retrieval.overlap == 0.2
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    broken = replace(LESSONS[0], levels=[torch.full_like(level, torch.inf) for level in LESSONS[0].levels])
    raises("toy, k5, pass 1/2: the loss is no longer finite in step 1; lower the rate",
           lambda: trained(tmp_path, taught=[broken]))
    assert not (tmp_path / "checkpoint.pt").exists()
