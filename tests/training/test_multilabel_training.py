"""Training by its equations: the loss, the steps, what is trained when, and what the curves say.

Resuming has its own file.
"""
import csv
import dataclasses
import io
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.data.writer import writing
from lib.metrics.multilabel import labels
from lib.nets.fcn import Fcn, fully_convolutional
from lib.nets.network import Network, NetworkInfo
from lib.training import multilabel
from lib.training.batches import square
from lib.training.checkpoint import TrainedFile, as_csv
from lib.training.multilabel import COLUMNS, Rows, predict, sigmoid_cross_entropy, train
from lib.training.settings import TrainingSettings

Tiny = Callable[..., Fcn]


def weights_of(fcn: Fcn) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in fcn.state_dict().items()}


def changed(before: dict[str, Tensor], fcn: Fcn) -> set[str]:
    """Modules of which a weight or a statistic is another now."""
    moved = [key for key, value in fcn.state_dict().items() if not torch.equal(value, before[key])]
    return {key.removeprefix("trunk.body.").rsplit(".", 1)[0] for key in moved}


def target(folder: Path) -> TrainedFile:
    return TrainedFile(folder / "weights.safetensors", folder / "curves.csv", "f")


def run(fcn: Fcn, dataset: Dataset, settings: TrainingSettings, folder: Path, seed: int = 3) -> Rows:
    return train(fcn, dataset.split("train"), dataset.split("val"), settings, seed, target(folder))


def test_the_loss_is_eq_1_and_2() -> None:
    scores = 3 * torch.randn(4, 5, dtype=torch.float64)
    p = torch.randint(2, (4, 5)).double()
    by_hand = 0.0
    for f_n, p_n in zip(scores.flatten().tolist(), p.flatten().tolist(), strict=True):
        hat = 1 / (1 + math.exp(-f_n))
        by_hand += -p_n * math.log(hat) - (1 - p_n) * math.log(1 - hat)
    assert sigmoid_cross_entropy(scores, p).item() == pytest.approx(by_hand / 4, rel=1e-12)
    assert sigmoid_cross_entropy(torch.zeros(7, 3), torch.ones(7, 3)).item() == pytest.approx(3 * math.log(2))
    far = sigmoid_cross_entropy(torch.full((2, 2), 200.0), torch.zeros(2, 2))
    assert far.item() == pytest.approx(400)   # no overflow


@pytest.fixture
def mirrored(tmp_path: Path) -> Dataset:
    """Square photos that a flip leaves as they are.

    With ratio 1 and one batch an epoch nothing about training is random.
    """
    draw = np.random.default_rng(5)
    classes = ["red", "green", "blue"]
    with writing(tmp_path / "mirrored", "mirrored", "1", "here", "none", classes) as writer:
        for i, given in enumerate((["red"], ["green", "blue"], ["blue"], ["red", "green"])):
            half = draw.integers(0, 256, (64, 32, 3), dtype=np.uint8)
            whole = np.concatenate([half, half[:, ::-1]], axis=1)
            Image.fromarray(whole).save(writer.path("images", f"{i}.png"))
            writer.sample(str(i), f"images/{i}.png", "train", given)
            writer.sample(f"v{i}", f"images/{i}.png", "val", given)
    return Dataset(tmp_path / "mirrored")


def test_steps_are_those_of_the_paper_written_out(mirrored: Dataset, tiny: Tiny, settings: TrainingSettings,
                                                  tmp_path: Path) -> None:
    """SGD with momentum 0.9 and decay, eq. 1 over the maxima of the score maps, polynomial rate.

    The head is trained at ten times the trunk's.
    """
    given = dataclasses.replace(
        settings, ratios=(1.0, 1.0), batch=4, dropout=0.0, frozen="relu1", optimiser="sgd", head_epochs=3,
        epochs=4, head_rate=0.02, rate=0.004, weight_decay=0.05)
    fcn = tiny(given)
    rows = run(fcn, mirrored, given, tmp_path)
    reference = tiny(given).eval()
    pixels = torch.stack([square(sample.photo(), 64) for sample in mirrored.split("train")])
    p = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]])
    head = list(reference.head.parameters())
    upper = [*reference.trunk.body.conv2.parameters(), *reference.trunk.body.norm2.parameters()]
    losses = by_hand(reference, pixels, p, 3, 0.02, [(head, 1)])
    losses += by_hand(reference, pixels, p, 4, 0.004, [(head, 10), (upper, 1)])
    assert [row["loss"] for row in rows] == pytest.approx(losses, abs=2e-5)
    expected = reference.state_dict()
    for name, found in fcn.state_dict().items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def by_hand(fcn: Fcn, pixels: Tensor, p: Tensor, epochs: int, rate: float,
            groups: list[tuple[list[Tensor], int]]) -> list[float]:
    """The losses of a phase of one step an epoch; parameters come in groups with their share of the rate."""
    losses = []
    velocity: dict[Tensor, Tensor] = {}
    for t in range(epochs):
        hat = 1 / (1 + torch.exp(-fcn.score_maps(pixels).flatten(2).max(2).values))
        loss = (-p * hat.log() - (1 - p) * (1 - hat).log()).sum(1).mean()
        fcn.zero_grad()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for parameters, share in groups:
                for w in parameters:
                    velocity[w] = 0.9 * velocity.get(w, 0) + w.grad + 0.05 * w
                    w -= share * rate * (1 - t / epochs) ** 0.9 * velocity[w]
    return losses


ABOVE = {   # the module up to which the trunk is frozen -> the modules that are trained
    "conv1": {"norm1", "conv2", "norm2"},
    "norm1": {"conv2", "norm2"},
    "relu1": {"conv2", "norm2"},
    "conv2": {"norm2"},
    "relu2": set(),
}


@pytest.mark.parametrize("epochs, frozen, views", [
    (0, None, 0),
    (2, None, 0),
    *product((0, 2), ABOVE, (0, 2)),
])
def test_what_is_trained(dataset: Dataset, tiny: Tiny, settings: TrainingSettings, tmp_path: Path,
                         epochs: int, frozen: str | None, views: int) -> None:
    """The head alone in the first phase; statistics and all that is frozen or above the last map never."""
    fcn = tiny()
    before = weights_of(fcn)
    given = dataclasses.replace(settings, epochs=epochs, head_epochs=1, frozen=frozen, views=views)
    run(fcn, dataset, given, tmp_path)
    upper = ABOVE.get(frozen, {"conv1", "norm1", "conv2", "norm2"}) if epochs else set()
    assert changed(before, fcn) == upper | {"head.1"}
    for key, value in before.items():
        if "running" in key or "tracked" in key:
            assert torch.equal(fcn.state_dict()[key], value)
    assert not any(module.training for module in fcn.modules())
    assert not any(parameter.requires_grad for parameter in fcn.parameters())


def test_no_phase_of_the_head(dataset: Dataset, tiny: Tiny, settings: TrainingSettings,
                              tmp_path: Path) -> None:
    rows = run(tiny(), dataset, dataclasses.replace(settings, head_epochs=0), tmp_path)
    assert {row["phase"] for row in rows} == {"all"}


def nested() -> Network:
    body = nn.Sequential()
    body.add_module("stage1", nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU()))
    inner = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
    body.add_module("stage2", nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), inner))
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    return Network(body, NetworkInfo(
        name="nested",
        output_stride=8,
        features="stage2",
        stages={},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: rgb,
        linear=None,
    ))


@pytest.mark.parametrize("frozen, expected", [
    (None, {"head.1", "stage1.0", "stage2.0", "stage2.1.0"}),
    ("stage1", {"head.1", "stage2.0", "stage2.1.0"}),
    ("stage2.0", {"head.1", "stage2.1.0"}),
])
def test_a_last_map_with_modules_inside_is_trained(dataset: Dataset, settings: TrainingSettings,
                                                   tmp_path: Path, frozen: str | None,
                                                   expected: set[str]) -> None:
    """ResNet ("layer4") and the GoogLeNets ("inception5b") end so."""
    fcn = fully_convolutional(nested(), dataset.classes)
    before = weights_of(fcn)
    run(fcn, dataset, dataclasses.replace(settings, frozen=frozen), tmp_path)
    assert changed(before, fcn) == expected


@pytest.mark.parametrize("optimiser, kind", [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
@pytest.mark.parametrize("width", [0, 6])
def test_rates_of_head_and_trunk(dataset: Dataset, tiny: Tiny, settings: TrainingSettings, tmp_path: Path,
                                 optimiser: str, kind: type, width: int,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[list[tuple[type, float, float]]] = []
    update = multilabel._update

    def watched(source: Any, optimiser: torch.optim.Optimizer, *rest: Any) -> float:
        loss = update(source, optimiser, *rest)
        groups = optimiser.param_groups
        rates.append([(type(optimiser), group["lr"], group["weight_decay"]) for group in groups])
        return loss

    monkeypatch.setattr(multilabel, "_update", watched)
    given = dataclasses.replace(settings, optimiser=optimiser, width=width)
    run(tiny(given), dataset, given, tmp_path)
    polynomial = [(1 - t / 6) ** 0.9 for t in range(6)]   # two epochs of three steps
    head = [(kind, pytest.approx(1e-2 * part), 1e-3) for part in polynomial]
    trunk = [(kind, pytest.approx(1e-3 * part), 1e-3) for part in polynomial]
    assert rates == [[one] for one in head] + [list(both) for both in zip(head, trunk, strict=True)]


def test_the_loss_goes_down_and_classes_are_told_apart(dataset: Dataset, tiny: Tiny,
                                                       settings: TrainingSettings, tmp_path: Path) -> None:
    given = dataclasses.replace(
        settings, batch=2, dropout=0.0, ratios=(1.0, 1.0), head_epochs=5, epochs=40, head_rate=0.05,
        rate=0.005)
    fcn = tiny(given)
    rows = run(fcn, dataset, given, tmp_path, seed=1)
    losses = [row["loss"] for row in rows]
    assert np.mean(losses[-4:]) < 0.1 * np.mean(losses[:4])
    assert rows[-1]["val_map"] == 100
    samples = dataset.split("train")
    found = predict(fcn, samples, 64, 3) > 0.5
    assert (found == labels(samples, fcn.classes)).all()


def test_a_loss_that_is_not_finite_is_one_sentence(dataset: Dataset, tiny: Tiny, settings: TrainingSettings,
                                                   tmp_path: Path) -> None:
    fcn = tiny()
    fcn.head[-1].bias.data[1] = math.nan
    words = "^toy: the loss is no longer finite in epoch 1, step {}; lower the learning rate.$"
    with pytest.raises(Problem, match=words.format("1")):
        run(fcn, dataset, settings, tmp_path)
    wild = dataclasses.replace(settings, optimiser="sgd", head_rate=1e38)
    with pytest.raises(Problem, match=words.format("[23]")):
        run(tiny(), dataset, wild, tmp_path)


@pytest.mark.parametrize("views, words", [
    (0, 'toy has no module "relu9" to freeze up to'),
    (2, 'plain sequence with a module "relu9"'),
])
def test_an_unknown_frozen_module_is_one_sentence(dataset: Dataset, tiny: Tiny, settings: TrainingSettings,
                                                  tmp_path: Path, views: int, words: str) -> None:
    with pytest.raises(Problem, match=words):
        run(tiny(), dataset, dataclasses.replace(settings, frozen="relu9", views=views), tmp_path)


@torch.no_grad()
def test_predictions_by_hand(dataset: Dataset, tiny: Tiny) -> None:
    fcn, samples = tiny(), dataset.split("val")
    found = predict(fcn, samples, 96, 3)
    assert found.shape == (4, 3) and found.dtype == np.float32
    for row, sample in zip(found, samples, strict=True):
        maps = fcn.score_maps(square(sample.photo(), 96)[None])[0]
        scores = [float(score.max()) for score in maps]
        assert row == pytest.approx([1 / (1 + math.exp(-score)) for score in scores], abs=1e-6)


def test_labels_by_hand() -> None:
    samples = [
        Sample("a", Path(), "a", "val", ("dog",)),
        Sample("b", Path(), "b", "val", ()),
        Sample("c", Path(), "c", "val", ("cow", "cat")),
    ]
    found = labels(samples, ["cat", "dog", "cow"])
    assert found.tolist() == [[False, True, False], [False, False, False], [True, False, True]]


def test_the_curves(dataset: Dataset, tiny: Tiny, settings: TrainingSettings, tmp_path: Path) -> None:
    text = as_csv(run(tiny(), dataset, settings, tmp_path), COLUMNS)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["phase", "epoch", "step", "loss", "val_map"]
    assert [row["phase"] for row in rows] == ["head"] * 6 + ["all"] * 6
    assert [row["epoch"] for row in rows] == ["1", "1", "1", "2", "2", "2"] * 2
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"] * 2
    assert [bool(row["val_map"]) for row in rows] == [False, False, True] * 4
    assert all(float(row["loss"]) > 0 for row in rows)
    one = {"phase": "all", "epoch": 2, "step": 7, "loss": 0.5, "val_map": ""}
    assert as_csv([one], COLUMNS) == "phase,epoch,step,loss,val_map\nall,2,7,0.5,\n"


def test_ten_losses_of_an_epoch(dataset: Dataset, tiny: Tiny, settings: TrainingSettings) -> None:
    """23 steps: three parts of three, seven of two, each the mean of its own.

    Steps count on from the epoch before.
    """
    losses = [float(i) for i in range(23)]
    rows = multilabel._epoch_rows(tiny(), dataset.split("val"), settings, "all", 1, losses)
    assert [row["loss"] for row in rows] == [1, 4, 7, 9.5, 11.5, 13.5, 15.5, 17.5, 19.5, 21.5]
    assert [row["step"] for row in rows] == [23 + n for n in (3, 6, 9, 11, 13, 15, 17, 19, 21, 23)]
    assert {row["epoch"] for row in rows} == {2}
    assert [row["val_map"] != "" for row in rows] == [False] * 9 + [True]


def test_training_begins_with_how_frequent_each_class_is(mirrored: Dataset, tiny: Tiny,
                                                         settings: TrainingSettings, tmp_path: Path) -> None:
    """Red and green are on one of three images, blue on two: (1 + 1) / (3 + 2) and (2 + 1) / (3 + 2)."""
    fcn, few = tiny(), mirrored.split("train")[:3]
    assert labels(few, fcn.classes).sum(0).tolist() == [1, 1, 2]
    given = dataclasses.replace(settings, start="priors", head_epochs=0, epochs=0)
    train(fcn, few, mirrored.split("val"), given, 0, target(tmp_path))
    assert torch.allclose(fcn.head[-1].bias.sigmoid(), torch.tensor([0.4, 0.4, 0.6]))
