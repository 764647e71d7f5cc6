"""CSoA's training: resumable, the same on several processes, and what it says about bad input."""
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import csoa_toys
from csoa_toys import CLASSES, JOB, TRAINING, toy_data, toy_trunk, train_toy
from lib.data.dataset import Dataset
from lib.papers.csoa import network_of
from lib.paths import ROOT
from lib.problem import Problem
from lib.training import csoa_train
from lib.training.csoa_batches import single_objects


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data(tmp_path_factory.mktemp("data") / "shapes").folder


def test_two_processes_take_the_same_steps_as_one(data: Path, tmp_path: Path) -> None:
    """Over the same global batches: losses and weights to 1e-5, also of the part that pairs images of different processes."""
    rows, weights = train_toy(data, tmp_path / "alone" / "checkpoint.pt")
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", str(Path(csoa_toys.__file__)), str(data), str(tmp_path)]
    path = os.pathsep.join([str(ROOT), str(Path(csoa_toys.__file__).parent)])
    subprocess.run(run, check=True, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, timeout=300)
    theirs, their_weights = torch.load(tmp_path / "found.pt", weights_only=True)
    assert len(rows) == len(theirs) == 8 and all(row["coaug"] > 0 and row["inner"] > 0 for row in rows)
    for ours, other in zip(rows, theirs):
        assert ours == pytest.approx(other, rel=1e-5, abs=1.1e-5)   # printed to 1e-5
    for name, value in weights.items():
        assert torch.allclose(value, their_weights[name], atol=1e-5), name


def test_an_interrupted_training_ends_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weights = train_toy(data, tmp_path / "whole.pt")
    calls = []

    def killed(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 6:   # in the second of two epochs of four steps
            raise KeyboardInterrupt
        return losses(*arguments)

    losses = csoa_train.losses
    with monkeypatch.context() as patch:
        patch.setattr(csoa_train, "losses", killed)
        with pytest.raises(KeyboardInterrupt):
            train_toy(data, tmp_path / "part.pt")
    again, found = train_toy(data, tmp_path / "part.pt")
    assert again == rows and all(torch.equal(found[name], value) for name, value in weights.items())


@pytest.mark.parametrize(("variant", "parts"), [("base", ()), ("confseg", ("inner",)), ("coaug", ("coaug",)), ("csoa", ("inner", "coaug"))])
def test_each_variant_has_its_own_losses(data: Path, tmp_path: Path, variant: str, parts: tuple[str, ...]) -> None:
    rows, weights = train_toy(data, tmp_path / "c.pt", replace(JOB, variant=variant), replace(TRAINING, epochs=1))
    assert {name for name in ("inner", "coaug") if rows[0][name] != ""} == set(parts)
    assert any(name.startswith("w_f") for name in weights) == ("inner" in parts)
    alpha = 0.0   # in the first epoch
    for row in rows:
        total = row["cls"] + alpha * (row["inner"] or 0) + 0.3 * (row["coaug"] or 0)
        assert row["loss"] == pytest.approx(total, abs=2e-5)


def test_it_learns(data: Path, tmp_path: Path) -> None:
    rows, _ = train_toy(data, tmp_path / "c.pt", replace(JOB, variant="base"), replace(TRAINING, epochs=40, decay=1.0))
    assert max(row["cls"] for row in rows[-4:]) < 0.5 * rows[0]["cls"]


def test_a_loss_that_is_not_finite_names_the_images(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"^csoa_4-5_seed3: the loss is no longer finite in epoch \d, step \d \(images train_.*\); lower the learning rate.$"):
        train_toy(data, tmp_path / "c.pt", training=replace(TRAINING, head_rate=1e200))


def test_a_stage_frozen_stays_and_what_lies_above_moves(data: Path, tmp_path: Path) -> None:
    fresh = network_of("csoa", "4-5", toy_trunk(1), CLASSES[:2], TRAINING.width).state_dict()
    _, weights = train_toy(data, tmp_path / "c.pt", training=replace(TRAINING, frozen=4))
    moved = {name.rsplit(".", 1)[0] for name, value in weights.items() if name.startswith("trunk") and not torch.equal(value, fresh[name])}
    assert moved == {"trunk.body.6"}


def test_rare_classes_are_left_out_and_named(data: Path) -> None:
    found = single_objects(Dataset(data), 2)
    assert found.classes == ("disc", "bar") and found.dropped == ("rare",)
    assert [len(found.splits[s]) for s in ("train", "val", "test")] == [16, 4, 4] and found.numbers("val") == [0, 0, 1, 1]
    with pytest.raises(Problem, match="fewer than two classes have 50 training images"):
        single_objects(Dataset(data), 50)
