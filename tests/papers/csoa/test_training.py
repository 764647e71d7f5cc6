"""CSoA's training: resumable, the same on several processes, and what it says about bad input."""
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import csoa_toys
import pytest
import torch
from csoa_toys import CLASSES, JOB, TRAINING, network_around, toy_data, toy_trunk, train_toy
from torch import nn

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.papers.csoa import training
from lib.papers.csoa.method import Losses, network_of
from lib.papers.csoa.settings import Variant


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data(tmp_path_factory.mktemp("data") / "shapes").folder


def test_two_processes_take_the_same_steps_as_one(data: Path, tmp_path: Path) -> None:
    """Over the same global batches: losses and weights to 1e-5.

    That holds for the part that pairs images of different processes, too.
    """
    rows, weights = train_toy(data, tmp_path / "alone" / "checkpoint.pt")
    toys = Path(csoa_toys.__file__)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone",
               str(toys), str(data), str(tmp_path)]
    path = os.pathsep.join([str(ROOT), str(toys.parent)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, timeout=300)
    their_rows, their_weights = torch.load(tmp_path / "found.pt", weights_only=True)
    assert len(rows) == len(their_rows) == 8
    assert all(row["coaug"] > 0 and row["inner"] > 0 for row in rows)
    for ours, theirs in zip(rows, their_rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1.1e-5)   # printed to 1e-5
    for name, value in weights.items():
        assert torch.allclose(value, their_weights[name], atol=1e-5), name


def test_processes_that_read_ahead_change_nothing(data: Path, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weights = train_toy(data, tmp_path / "whole.pt")
    monkeypatch.setenv("DECODERS", "2")
    their_rows, their_weights = train_toy(data, tmp_path / "ahead.pt")
    assert rows == their_rows
    assert all(torch.equal(value, their_weights[name]) for name, value in weights.items())


def test_an_interrupted_training_ends_the_same(data: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weights = train_toy(data, tmp_path / "whole.pt")
    losses = training.losses
    calls = []

    def killed(*arguments: object) -> Losses:
        calls.append(1)
        if len(calls) == 6:   # in the second of two epochs of four steps
            raise KeyboardInterrupt
        return losses(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "losses", killed)
        with pytest.raises(KeyboardInterrupt):
            train_toy(data, tmp_path / "part.pt")
    resumed_rows, resumed = train_toy(data, tmp_path / "part.pt")
    assert resumed_rows == rows
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())


@pytest.mark.parametrize("variant, parts", [
    ("base", ()), ("confseg", ("inner",)), ("coaug", ("coaug",)), ("csoa", ("inner", "coaug"))])
def test_each_variant_has_its_own_losses(data: Path, tmp_path: Path, variant: Variant,
                                         parts: tuple[str, ...]) -> None:
    job, short = replace(JOB, variant=variant), replace(TRAINING, epochs=1)
    rows, weights = train_toy(data, tmp_path / "c.pt", job, short)
    assert {name for name in ("inner", "coaug") if rows[0][name] != ""} == set(parts)
    assert any(name.startswith("w_f") for name in weights) == ("inner" in parts)
    alpha = 0.0   # in the first epoch
    for row in rows:
        total = row["cls"] + alpha * (row["inner"] or 0) + 0.3 * (row["coaug"] or 0)
        assert row["loss"] == pytest.approx(total, abs=2e-5)


def test_it_learns(data: Path, tmp_path: Path) -> None:
    longer = replace(TRAINING, epochs=40, decay=1.0)
    rows, _ = train_toy(data, tmp_path / "c.pt", replace(JOB, variant="base"), longer)
    assert max(row["cls"] for row in rows[-4:]) < 0.5 * rows[0]["cls"]


def test_a_loss_that_is_not_finite_names_the_images(data: Path, tmp_path: Path) -> None:
    words = (r"^csoa_4-5_seed3: the loss is no longer finite in epoch \d, step \d \(images train_.*\); "
             "lower the learning rate.$")
    with pytest.raises(Problem, match=words):
        train_toy(data, tmp_path / "c.pt", training=replace(TRAINING, head_rate=1e200))


def test_a_stage_frozen_stays_and_what_lies_above_moves(data: Path, tmp_path: Path) -> None:
    fresh = network_of("csoa", "4-5", toy_trunk(1), CLASSES[:2], TRAINING.width).state_dict()
    _, weights = train_toy(data, tmp_path / "c.pt", training=replace(TRAINING, frozen=4))
    moved = set()
    for name, value in weights.items():
        if name.startswith("trunk") and not torch.equal(value, fresh[name]):
            moved.add(name.rsplit(".", 1)[0])
    assert moved == {"trunk.body.6"}


@pytest.mark.parametrize("depthwise, layers", [(True, (6, 7)), (False, (7,))])
def test_depthwise_filters_are_trained_or_not(depthwise: bool, layers: tuple[int, ...]) -> None:
    """In a trunk with filters of one channel each in its last stage."""
    body = nn.Sequential(*list(toy_trunk(1).body)[:6],
                         nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1), nn.ReLU())
    net = network_of("base", "4-5", network_around(body, features="8"), CLASSES[:2], TRAINING.width)
    training.optimiser_of(net, replace(TRAINING, frozen=4, depthwise=depthwise))
    moving = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    expected = {f"trunk.body.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert {name for name in moving if name.startswith("trunk")} == expected
