"""The training stage.

What is finished stays, what was interrupted goes on, and a changed setting, seed, image or line of code
starts anew.
"""
import csv
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from killed import Killed
from PIL import Image
from safetensors.torch import load_file
from small_training import trunk

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.data.writer import writing
from lib.nets.fcn import read_header
from lib.training import multilabel, networks
from lib.training.checkpoint import TrainingFolders
from lib.training.networks import train_networks
from lib.training.settings import TrainingSettings


class Stage:
    """The stage with tiny networks; counts the steps of each and can be killed after some."""

    def __init__(self, dataset: Dataset, folder: Path, settings: TrainingSettings,
                 monkeypatch: pytest.MonkeyPatch) -> None:
        self.dataset = dataset
        self.folders = TrainingFolders(folder / "weights", folder / "logs")
        self.settings = settings
        self.code = {"train": "1"}
        self.steps: dict[str, int] = {}
        self.left = 1000
        self.update = multilabel._update
        monkeypatch.setattr(networks, "load_network", trunk)
        monkeypatch.setattr(multilabel, "_update", self._watched)
        monkeypatch.setattr(multilabel, "SAVE_EVERY", 2)

    def _watched(self, source: Any, *rest: Any) -> float:
        if not self.left:
            raise Killed
        self.left -= 1
        name = source.fcn.name
        self.steps[name] = self.steps.get(name, 0) + 1
        return self.update(source, *rest)

    def __call__(self, names: str = "a", kill_after: int = 1000, seed: int = 5,
                 **changes: Any) -> dict[str, int]:
        """Steps taken by network."""
        self.steps = {}
        self.left = kill_after
        torch.manual_seed(kill_after)   # whatever a new process starts with
        wanted = dict.fromkeys(names, dataclasses.replace(self.settings, **changes))
        try:
            train_networks(self.dataset, wanted, seed, self.folders, self.code)
        except Killed:
            self.steps["killed"] = 1
        return self.steps

    def weights(self, name: str = "a") -> Path:
        return self.folders.weights / name / "weights.safetensors"

    def left_behind(self) -> dict[str, Path]:
        """Every file, by its place."""
        top = self.folders.weights.parent
        files = [path for folder in (self.folders.weights, self.folders.curves) for path in folder.rglob("*")]
        return {str(path.relative_to(top)): path for path in sorted(files) if path.is_file()}


@pytest.fixture
def stage(dataset: Dataset, settings: TrainingSettings, tmp_path: Path,
          monkeypatch: pytest.MonkeyPatch) -> Stage:
    short = dataclasses.replace(settings, epochs=1)   # 9 steps: 2 x 3 and 1 x 3
    return Stage(dataset, tmp_path, short, monkeypatch)


def test_weights_and_curves_and_nothing_else(stage: Stage) -> None:
    assert stage("ab") == {"a": 9, "b": 9}
    assert list(stage.left_behind()) == [
        "logs/a.csv", "logs/b.csv", "weights/a/weights.safetensors", "weights/b/weights.safetensors"]
    rows = list(csv.DictReader((stage.folders.curves / "a.csv").open()))
    assert [row["phase"] for row in rows] == ["head"] * 6 + ["all"] * 3
    header = read_header(stage.weights())
    assert (header["network"], header["classes"], header["width"]) == ("a", ["red", "green", "blue"], 0)
    assert len(header["facts"]["fingerprint"]) == 64


def test_what_is_finished_stays(stage: Stage) -> None:
    stage("a")
    before = {path: path.stat().st_mtime_ns for path in stage.left_behind().values()}
    assert stage("a") == {}
    assert stage("ab") == {"b": 9}   # another network beside it is trained
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    (stage.folders.curves / "a.csv").unlink()
    assert stage("ab") == {"a": 9}   # its curves are part of what is finished


@pytest.mark.parametrize("changes", [
    {"side": 96},
    {"ratios": (0.8, 1.4)},
    {"batch": 4},
    {"dropout": 0.1},
    {"width": 4},
    {"frozen": "relu1"},
    {"frozen": "relu1", "views": 1},
    {"optimiser": "sgd"},
    {"head_epochs": 1},
    {"epochs": 2},
    {"head_rate": 2e-2},
    {"rate": 2e-3},
    {"weight_decay": 0.0},
    {"seed": 6},
])
def test_a_changed_setting_trains_anew(stage: Stage, changes: dict[str, Any]) -> None:
    stage("a")
    before = stage.weights().read_bytes()
    assert stage("a", **changes)["a"] >= 6
    assert stage.weights().read_bytes() != before
    assert stage("a", **changes) == {}
    assert stage("a") == {"a": 9} and stage.weights().read_bytes() == before   # and back


def test_changed_code_or_images_train_anew(stage: Stage, tmp_path: Path) -> None:
    stage("a")
    stage.code["train"] = "2"
    assert stage("a") == {"a": 9}
    samples = stage.dataset.samples
    classes = stage.dataset.classes
    with writing(tmp_path / "other", "colours", "1", "here", "none", classes) as writer:
        for sample in samples:
            photo = Image.new("RGB", (40, 30)) if sample is samples[0] else sample.photo()
            photo.save(writer.path("images", f"{sample.id}.png"))
            writer.sample(sample.id, sample.image, sample.split, sample.labels)
    stage.dataset = Dataset(tmp_path / "other")
    assert stage("a") == {"a": 9} and stage("a") == {}


@pytest.mark.parametrize("views", [{}, {"frozen": "relu1", "views": 2}])
@pytest.mark.parametrize("steps", [1, 4, 7, 9, 14])
def test_what_was_interrupted_is_resumed(stage: Stage, steps: int, views: dict[str, Any]) -> None:
    """To the same files, to the byte; of two networks the first is not touched again."""
    stage("ab", **views)
    expected = {path: sha256(path) for path in stage.left_behind().values()}
    shutil.rmtree(stage.folders.weights)
    shutil.rmtree(stage.folders.curves)
    assert "killed" in stage("ab", kill_after=steps, **views)
    assert len(stage.left_behind()) < 4
    again = stage("ab", **views)
    assert again.get("a", 0) == {1: 9, 4: 6, 7: 3}.get(steps, 0)
    assert again["b"] == {14: 4}.get(steps, 9)
    assert {path: sha256(path) for path in stage.left_behind().values()} == expected


def test_an_interrupted_training_of_other_settings_is_forgotten(stage: Stage) -> None:
    assert "killed" in stage("a", kill_after=8)
    assert stage("a", rate=5e-3) == {"a": 9}
    assert list(stage.left_behind()) == ["logs/a.csv", "weights/a/weights.safetensors"]


def test_the_seed_decides_the_first_weights(stage: Stage) -> None:
    """Nothing else does: two runs are the same to the byte."""
    def head(seed: int) -> torch.Tensor:
        stage("a", seed=seed, head_epochs=1, epochs=0, head_rate=1e-9)
        return load_file(stage.weights())["head.1.weight"]

    first = head(1)
    assert not torch.allclose(first, head(2))
    assert torch.equal(first, head(1))


def test_validation_is_on_the_val_split(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    predict = multilabel.predict

    def watched(fcn: Any, samples: Sequence[Sample], *rest: Any) -> Any:
        asked.append([sample.id for sample in samples])
        return predict(fcn, samples, *rest)

    monkeypatch.setattr(multilabel, "predict", watched)
    monkeypatch.setattr(networks, "VALIDATION", 2)
    stage("a")
    assert asked == [["val0", "val2"]] * 3   # spread evenly


def test_what_cannot_be_trained_on_leaves_nothing(stage: Stage, tmp_path: Path) -> None:
    classes = ["red", "green", "blue"]
    with writing(tmp_path / "poor", "poor", "1", "here", "none", classes) as writer:
        for name, split in (("x", "train"), ("y", "val")):
            Image.new("RGB", (40, 30)).save(writer.path("images", f"{name}.png"))
            writer.sample(name, f"images/{name}.png", split, ["red", "green"])
    stage.dataset = Dataset(tmp_path / "poor")
    with pytest.raises(Problem, match='The class "blue" has no image'):
        stage("a")
    assert stage.left_behind() == {}


def test_damaged_weights_are_trained_again(stage: Stage) -> None:
    stage("a")
    whole = stage.weights().read_bytes()
    stage.weights().write_bytes(whole[:100])
    assert stage("a") == {"a": 9} and stage.weights().read_bytes() == whole
