"""A training that was killed goes on to exactly the losses and weights of one that was not."""
import dataclasses
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from killed import Killed
from torch import Tensor

from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.nets.fcn import Fcn
from lib.training import multilabel
from lib.training.checkpoint import TrainedFile
from lib.training.multilabel import Rows, train
from lib.training.settings import TrainingSettings

STEPS = 12   # two phases of two epochs of three mini-batches
Losses = list[tuple[tuple[int, ...], float]]   # by step
Tiny = Callable[..., Fcn]


@dataclasses.dataclass
class Run:
    """The end of a training."""
    losses: Losses   # of its own steps
    rows: Rows
    weights: dict[str, Tensor]


class Runs:
    """Trains anew each time, as a new process would, and can be killed in or after any step."""

    def __init__(self, dataset: Dataset, tiny: Tiny, settings: TrainingSettings, folder: Path,
                 monkeypatch: pytest.MonkeyPatch) -> None:
        self.dataset = dataset
        self.tiny = tiny
        self.settings = settings
        self.folder = folder
        self.losses: Losses = []
        self.left = STEPS
        self.seed = 3
        self.update = multilabel._update
        monkeypatch.setattr(multilabel, "_update", self._watched)
        monkeypatch.setattr(multilabel, "SAVE_EVERY", 2)

    def _watched(self, *args: Any) -> float:
        if not self.left:
            raise Killed
        self.left -= 1
        loss = self.update(*args)
        self.losses.append((args[2].key, loss))
        return loss

    def __call__(self, name: str, steps: int = STEPS, fingerprint: str = "f", **first: float) -> Run | None:
        """Train from `first`, weights of parts of the network; None if killed after `steps`."""
        self.losses = []
        self.left = steps
        torch.manual_seed(steps)   # whatever a new process starts with
        fcn = self.tiny(self.settings)
        for part, value in first.items():
            for parameter in getattr(fcn, part).parameters():
                parameter.data.fill_(value)
        target = TrainedFile(self.folder / name / "weights", self.folder / f"{name}.csv", fingerprint)
        train_split, val = self.dataset.split("train"), self.dataset.split("val")
        try:
            rows = train(fcn, train_split, val, self.settings, self.seed, target)
        except Killed:
            return None
        return Run(self.losses, rows, fcn.state_dict())


KINDS = {
    "photographs, adamw": {},
    "photographs, sgd": {"optimiser": "sgd", "frozen": "conv1"},
    "views": {"frozen": "relu1", "views": 2},
    "wide head": {"width": 6},
}


@pytest.fixture(params=KINDS)
def runs(request: pytest.FixtureRequest, dataset: Dataset, tiny: Tiny, settings: TrainingSettings,
         tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    given = dataclasses.replace(settings, **KINDS[request.param])
    return Runs(dataset, tiny, given, tmp_path, monkeypatch)


def same(found: Run, expected: Run) -> bool:
    if found.rows != expected.rows:
        return False
    return all(torch.equal(value, expected.weights[key]) for key, value in found.weights.items())


def test_killed_anywhere_it_ends_the_same(runs: Runs) -> None:
    """Only what came after a checkpoint is done again.

    Every second step is one, and an epoch's end, the third.
    """
    whole = runs("whole")
    assert [key for key, _ in whole.losses] == list(product([3], [0, 1], [0, 1], [0, 1, 2]))
    assert len({loss for _, loss in whole.losses}) == STEPS
    for steps in (1, 2, 4, 6, 7, 8, 11):
        assert runs(str(steps), steps) is None
        before = dict(runs.losses)
        found = runs(str(steps))
        assert same(found, whole)
        redone = steps - {1: 0, 4: 3, 7: 6}.get(steps, steps)
        assert found.losses == whole.losses[steps - redone:] and before == dict(whole.losses[:steps])


def test_processes_that_read_ahead_change_nothing(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = runs("whole")
    monkeypatch.setenv("DECODERS", "2")
    found = runs("ahead")
    assert same(found, whole) and found.losses == whole.losses


def test_killed_at_every_second_step_it_ends_the_same(runs: Runs) -> None:
    whole = runs("whole")
    parts: Losses = []
    while (found := runs("again", 2)) is None:
        parts += runs.losses
        assert len(parts) < 2 * STEPS   # a step before a checkpoint is taken again
    parts += found.losses
    assert same(found, whole) and set(parts) == set(whole.losses)


@pytest.mark.parametrize("runs", ["photographs, adamw"], indirect=True)
def test_weights_come_from_the_checkpoint(runs: Runs) -> None:
    """Whatever the network holds when a run is resumed."""
    whole = runs("whole")
    assert runs("a", 8) is None
    assert same(runs("a", head=7.0, trunk=0.3), whole)
    assert not same(runs("b", head=0.2), whole)


@pytest.mark.parametrize("runs", ["photographs, adamw", "views"], indirect=True)
@pytest.mark.parametrize("stop", ["_epoch_rows", "multilabel_scores", "torch.save", "os.replace"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_killed_while_validating_or_saving(runs: Runs, stop: str, call: int,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    whole = runs("whole")
    calls: list[str] = []
    target = f"lib.training.multilabel.{stop}" if "." not in stop else stop

    with monkeypatch.context() as patch:
        def stopped(*args: Any, **more: Any) -> Any:
            calls.append(stop)
            if len(calls) == call:
                raise Killed
            return original(*args, **more)

        module, _, name = target.rpartition(".")
        original = getattr(__import__(module, fromlist=[name]), name)
        patch.setattr(target, stopped)
        assert runs("a") is None
    found = runs("a")
    assert same(found, whole) and found.losses == whole.losses[STEPS - len(found.losses):]
    assert not list(runs.folder.rglob(".part*"))


@pytest.mark.parametrize("runs", ["photographs, adamw", "views"], indirect=True)
def test_a_finished_run_does_nothing_again(runs: Runs) -> None:
    whole = runs("whole")
    again = runs("whole", 0)
    assert again.losses == [] and same(again, whole)


@pytest.mark.parametrize("runs", ["photographs, adamw"], indirect=True)
def test_a_checkpoint_of_something_else_is_not_gone_on_from(runs: Runs) -> None:
    whole = runs("whole")
    assert runs("a", 8, fingerprint="of other settings") is None
    found = runs("a")
    assert found.losses == whole.losses and same(found, whole)


@pytest.mark.parametrize("runs", ["photographs, adamw"], indirect=True)
@pytest.mark.parametrize("epochs", [(0, 2), (3, 0)])
def test_one_phase_alone_goes_on_too(runs: Runs, epochs: tuple[int, int]) -> None:
    runs.settings = dataclasses.replace(runs.settings, head_epochs=epochs[0], epochs=epochs[1])
    whole = runs("whole")
    assert len(whole.losses) == 3 * sum(epochs)
    for steps in (3, 5):
        assert runs(str(steps), steps) is None and same(runs(str(steps)), whole)


@pytest.mark.parametrize("runs", ["photographs, adamw"], indirect=True)
def test_another_seed_is_another_training(runs: Runs) -> None:
    whole = runs("whole")
    runs.seed = 4
    assert [loss for _, loss in runs("other").losses] != [loss for _, loss in whole.losses]


def test_a_damaged_checkpoint_is_named(dataset: Dataset, tiny: Tiny, settings: TrainingSettings,
                                       tmp_path: Path) -> None:
    target = TrainedFile(tmp_path / "weights", tmp_path / "curves.csv", "any")
    target.checkpoint.write_bytes(b"half of one")
    with pytest.raises(Problem, match="checkpoint.pt: cannot be read as a checkpoint .*; delete it"):
        train(tiny(), dataset.split("train"), dataset.split("val"), settings, 0, target)
