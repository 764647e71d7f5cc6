"""The training stage of IAM: what is finished stays, and what it follows from trains it again.

Held-out classes are never seen.
"""
import csv
import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from iam_toys import CLASSIFIER, FILLING, run_with, toy_dataset, toy_proposals, toy_trunk
from killed import Killed
from sentences import is_one_sentence

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.nets import fcn as fcn_file
from lib.nets.fcn import read_header
from lib.papers.iam import training
from lib.papers.iam.filling import load_filling, read_filling
from lib.papers.iam.settings import FillingJob, FillingSettings, IamTrainRun
from lib.papers.iam.training import Code, Folders, train_run
from lib.training import networks

ALL = ["toy", "k1_seed0", "k3_seed0"]
SHORT = {"passes": 1, "batch": 4}


class Stage:
    """The stage with a tiny network; notes what is trained, on which images."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dataset = toy_dataset(folder / "data", val=2, test=1)
        proposals = toy_proposals(self.dataset, folder / "proposals", ("train",))
        self.folders = Folders(proposals, folder / "weights", folder / "logs")
        self.code = {"classifier": {"train": "1"}, "filling": {"train_fillings": "1"}}
        self.trained: list[str] = []
        self.images: dict[str, list[str]] = {}
        self.forward_passes = 0
        self.real_train = networks.train
        self.real_train_filling = training.train_filling
        self.real_lessons = training.lessons
        monkeypatch.setattr(networks, "load_network", toy_trunk)
        monkeypatch.setattr(fcn_file, "load_network", toy_trunk)
        monkeypatch.setattr(networks, "train", self._train)
        monkeypatch.setattr(training, "train_filling", self._train_filling)
        monkeypatch.setattr(training, "lessons", self._lessons)

    def _train(self, fcn: Any, *rest: Any) -> Any:
        self.trained.append(fcn.name)
        assert fcn.pooling == "peaks"
        return self.real_train(fcn, *rest)

    def _train_filling(self, module: Any, taught: Any, job: FillingJob, *rest: Any) -> Any:
        assert rest[-1] == f"toy, {job.name}"
        self.trained.append(job.name)
        self.images[job.name] = [lesson.id for lesson in taught]
        return self.real_train_filling(module, taught, job, *rest)

    def _lessons(self, *arguments: Any) -> Any:
        self.forward_passes += 1
        return self.real_lessons(*arguments)

    def __call__(self, run: IamTrainRun | None = None, settings: FillingSettings = FILLING,
                 seed: int = 5) -> list[str]:
        """Run the stage; returns the names of those that were trained."""
        self.trained = []
        self.forward_passes = 0
        torch.manual_seed(len(self.left_behind()))   # whatever a new process starts with
        train_run(self.dataset, run or run_with(**SHORT), settings, seed, self.folders, Code(**self.code))
        return self.trained

    def weights(self, job: str) -> Path:
        return self.folders.weights / "toy" / job / "weights.safetensors"

    def left_behind(self) -> dict[str, str]:
        """Files and their hashes."""
        found = {}
        for top in (self.folders.weights, self.folders.curves):
            for path in sorted(top.rglob("*")):
                if path.is_file():
                    found[str(path.relative_to(top.parent))] = sha256(path)
        return found

    def path(self, name: str) -> Path:
        """Where a file of `left_behind` lies."""
        return self.folders.weights.parent / name


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_weights_and_curves_and_nothing_else(stage: Stage) -> None:
    assert stage() == ALL and stage.forward_passes == 1
    assert sorted(stage.left_behind()) == [
        "logs/toy.csv", "logs/toy/k1_seed0.csv", "logs/toy/k3_seed0.csv",
        "weights/toy/k1_seed0/weights.safetensors", "weights/toy/k3_seed0/weights.safetensors",
        "weights/toy/weights.safetensors"]
    assert read_header(stage.folders.weights / "toy" / "weights.safetensors")["pooling"] == "peaks"
    header = read_filling(stage.weights("k3_seed0"))
    facts = header.pop("facts")
    assert facts["fingerprint"] != read_filling(stage.weights("k1_seed0"))["facts"]["fingerprint"]
    assert header == {"network": "toy", "depths": [6, 8, 8], "channels": 4, "width": 6, "r": 3, "side": 64,
                      "map_side": 32}
    assert facts["k"] == 3 and len(facts["fingerprint"]) == 64
    assert load_filling(stage.weights("k3_seed0"), "toy").r == 3
    rows = list(csv.DictReader((stage.folders.curves / "toy" / "k3_seed0.csv").open()))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "1"), ("1", "2")]
    assert all(float(row["loss"]) > 0 for row in rows)
    assert stage.images["k1_seed0"] == stage.images["k3_seed0"] == [f"train{i}" for i in range(8)]


def test_what_is_finished_stays(stage: Stage) -> None:
    stage()
    before = {name: stage.path(name).stat().st_mtime_ns for name in stage.left_behind()}
    assert stage() == [] and stage.forward_passes == 0
    more = run_with(k=[3, 4], seeds=[0, 1], **SHORT)
    assert stage(more) == ["k4_seed0", "k3_seed1", "k4_seed1"] and stage.forward_passes == 1
    assert stage() == stage(more) == []
    assert all(stage.path(name).stat().st_mtime_ns == time for name, time in before.items())
    hashes = stage.left_behind()
    first, second = (f"weights/toy/k3_seed{seed}/weights.safetensors" for seed in (0, 1))
    assert hashes[first] != hashes[second]


def test_what_is_missing_or_damaged_is_trained_again(stage: Stage) -> None:
    stage()
    before = stage.left_behind()
    weights = stage.weights("k1_seed0")
    weights.write_bytes(weights.read_bytes()[:100])
    assert stage() == ["k1_seed0"] and stage.left_behind() == before
    (stage.folders.curves / "toy" / "k3_seed0.csv").unlink()
    assert stage() == ["k3_seed0"] and stage.left_behind() == before
    weights.unlink()
    assert stage() == ["k1_seed0"] and stage.left_behind() == before
    (stage.folders.weights / "toy" / "weights.safetensors").write_bytes(b"no weights")
    # To the byte: what was trained on it still belongs to it.
    assert stage() == ["toy"] and stage.left_behind() == before


RETRIEVAL = replace(FILLING.retrieval, overlap=0.1)


@pytest.mark.parametrize("change", [{"channels": 5}, {"width": 7}, {"r": 5}, {"ranking": "retrieval"},
                                    {"most": 5}, {"peaks": 1}, {"retrieval": RETRIEVAL}])
def test_changed_settings_train_again(stage: Stage, change: dict[str, Any]) -> None:
    once = run_with(k=[2], **SHORT)
    assert stage(once) == ["toy", "k2_seed0"]
    before = stage.left_behind()
    changed = replace(FILLING, **change)
    assert stage(once, changed) == ["k2_seed0"] and stage(once, changed) == []
    assert stage(once) == ["k2_seed0"] and stage.left_behind() == before   # and back


def test_a_changed_training_trains_again(stage: Stage) -> None:
    def run(**changes: Any) -> list[str]:
        return stage(run_with(k=[2], **(SHORT | changes)))

    assert run() == ["toy", "k2_seed0"]
    for changes in ({"side": 96}, {"map_side": 28}, {"batch": 3}, {"passes": 2}, {"optimiser": "sgd"},
                    {"rate": 0.02}):
        assert run(**changes) == ["k2_seed0"] and run(**changes) == [], changes
    assert run(rate=0.02, classifier=replace(CLASSIFIER, head_rate=0.2)) == ["toy", "k2_seed0"]
    assert stage(run_with(k=[2], **SHORT), seed=6) == ["toy", "k2_seed0"]   # the classifier's seed


def test_changed_code_and_proposals_train_again(stage: Stage) -> None:
    once = run_with(k=[2], **SHORT)
    assert stage(once) == ["toy", "k2_seed0"]
    stage.code["filling"] = {"train_fillings": "2"}
    assert stage(once) == ["k2_seed0"] and stage(once) == []
    stage.code["classifier"] = {"train": "2"}
    assert stage(once) == ["toy", "k2_seed0"] and stage(once) == []
    toy_proposals(stage.dataset, stage.folders.proposals, ("train",), version="2")
    assert stage(once) == ["k2_seed0"] and stage(once) == []
    (stage.folders.proposals / "train" / "train2.npz").unlink()   # fewer images with proposals
    assert stage(once) == ["k2_seed0"] and stage(once) == []
    assert stage.images["k2_seed0"] == [f"train{i}" for i in range(8) if i != 2]


def test_what_was_interrupted_is_resumed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after three of two modules' four steps each: the first pass of the second is not repeated."""
    run = run_with(k=[1, 3], batch=8, passes=4)
    stage(run)
    expected = stage.left_behind()
    for name in expected:
        if "_seed" in name:
            stage.path(name).unlink()
    real = training.batch_of
    steps = []

    def killing(*arguments: Any) -> Any:
        if len(steps) == 6:
            raise Killed
        steps.append(1)
        return real(*arguments)

    monkeypatch.setattr(training, "batch_of", killing)
    with pytest.raises(Killed):
        stage(run)
    left = stage.left_behind()
    assert "weights/toy/k3_seed0/checkpoint.pt" in left and "logs/toy/k3_seed0.csv" not in left
    steps.clear()
    assert stage(run) == ["k3_seed0"] and len(steps) == 2
    assert stage.left_behind() == expected


def test_held_out_classes_are_never_seen(stage: Stage) -> None:
    run = run_with(["blue"], k=[1], **SHORT)
    assert stage(run) == ["toy", "k1_seed0", "k5_seed0_unseen"] and stage.forward_passes == 1
    assert stage.images["k1_seed0"] == [f"train{i}" for i in range(8)]
    without_blue = [sample.id for sample in stage.dataset.split("train") if "blue" not in sample.labels]
    assert stage.images["k5_seed0_unseen"] == without_blue == ["train0", "train1", "train5", "train6"]
    assert stage(run) == []
    # The others do not depend on it.
    assert stage(replace(run, unseen=["green", "blue"])) == ["k5_seed0_unseen"]
    assert stage.images["k5_seed0_unseen"] == ["train0", "train6"]
    assert stage(replace(run, unseen=None)) == []


def test_no_image_without_a_held_out_class(stage: Stage) -> None:
    sentence = ("iam_train: every training image has one of the classes red, green, blue; "
                "hold fewer of them out")
    with pytest.raises(Problem, match=sentence) as caught:
        stage(run_with(["red", "green", "blue"], k=[1], **SHORT))
    assert is_one_sentence(caught.value)


def test_a_misspelt_class_before_anything_is_trained(stage: Stage) -> None:
    sentence = 'iam_train.unseen: colours has no class "bleu"; did you mean "blue"'
    with pytest.raises(Problem, match=sentence) as caught:
        stage(run_with(["red", "bleu"], **SHORT))
    assert is_one_sentence(caught.value) and stage.left_behind() == {} and stage.trained == []


def test_without_proposals(stage: Stage, tmp_path: Path) -> None:
    stage.folders = replace(stage.folders, proposals=tmp_path / "none")
    with pytest.raises(Problem, match="there are no proposals; run the stage that finds them") as caught:
        stage()
    assert is_one_sentence(caught.value)


def test_every_setting_has_been_changed() -> None:
    """That the lists above name all there are."""
    assert {field.name for field in dataclasses.fields(FILLING)} == {
        "channels", "width", "r", "ranking", "most", "peaks", "retrieval"}
