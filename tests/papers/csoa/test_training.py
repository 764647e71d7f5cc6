"""CSoA's training: resumable, the same on several processes, and what it says about bad input."""
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import csoa_toys
import numpy as np
import pytest
import torch
from csoa_toys import CLASSES, JOB, TRAINING, toy_data, toy_trunk, train_toy
from PIL import Image

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.papers.csoa import training as csoa_train
from lib.papers.csoa.batches import Squares, single_objects, training_view
from lib.papers.csoa.method import network_of


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


class Depthwise(torch.nn.Sequential):
    """A trunk with filters of one channel each in its last stage."""
    def __init__(self) -> None:
        super().__init__(*list(toy_trunk(1).body)[:6], torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.nn.Conv2d(8, 8, 1), torch.nn.ReLU())


@pytest.mark.parametrize("depthwise", [True, False])
def test_depthwise_filters_are_trained_or_not(depthwise: bool) -> None:
    from lib.nets.network import Network, NetworkInfo

    trunk = Network(Depthwise(), NetworkInfo(
        name="toy",
        output_stride=4,
        features="8",
        stages={"stage3": "2", "stage4": "5", "stage5": "8"},
        is_response=lambda _name, module: isinstance(module, torch.nn.ReLU),
        normalisation=lambda rgb: rgb,
        linear=None,
    ))
    net = network_of("base", "4-5", trunk, CLASSES[:2], TRAINING.width)
    csoa_train.optimiser_of(net, replace(TRAINING, frozen=4, depthwise=depthwise))
    moving = {name for name, p in net.named_parameters() if p.requires_grad and name.startswith("trunk")}
    assert moving == {f"trunk.body.{layer}.{kind}" for layer in ([6, 7] if depthwise else [7]) for kind in ("weight", "bias")}


def test_squares_are_decoded_once_as_far_as_they_fit(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, calls = Dataset(data).split("val"), []
    decode = Squares._decoded
    monkeypatch.setattr(Squares, "_decoded", lambda self, sample: calls.append(sample.id) or decode(self, sample))
    roomy, narrow = Squares(16), Squares(16, limit=2 * 3 * 16 * 16)
    for squares, expected in ((roomy, 4), (narrow, 4 + 2)):
        calls.clear()
        first, second = squares.batch(samples), squares.batch(samples)
        assert torch.equal(first, second) and len(calls) == expected
    photo = samples[1].photo().resize((16, 16), Image.Resampling.BILINEAR)
    assert torch.equal(roomy.of(samples)[1], torch.from_numpy(np.array(photo)).permute(2, 0, 1)) and roomy.size_of(samples[1]) == (48, 40)


def test_a_training_view_is_a_crop_mirrored_or_not() -> None:
    square = torch.arange(3 * 37 * 37).reshape(3, 37, 37).remainder(251).to(torch.uint8)
    crops = {(y, x): square[:, y:y + 32, x:x + 32].float() / 255 for y in range(6) for x in range(6)}
    views = [training_view(square, 32, np.random.default_rng(key)) for key in range(40)]
    found = [{(corner, flip) for corner, crop in crops.items() for flip in (False, True) if torch.equal(view, crop.flip(2) if flip else crop)} for view in views]
    assert all(len(places) == 1 for places in found) and len(set.union(*found)) > 15
    assert torch.equal(views[3], training_view(square, 32, np.random.default_rng(3)))
