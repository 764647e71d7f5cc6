"""The training stage of IAM: what is finished stays, what it follows from trains it again, and held-out classes are never seen."""
import csv
import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from iam_toys import CLASSIFIER, FILLING, is_one_sentence, run_with, toy_dataset, toy_proposals, toy_trunk

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.nets import fcn as fcn_file
from lib.nets.fcn import read_header
from lib.papers.iam import training as filling, training as iam_train
from lib.papers.iam.filling import load_filling, read_filling
from lib.papers.iam.settings import FillingSettings, IamTrainRun
from lib.papers.iam.training import train_run
from lib.training import networks as dcsm_train

ALL = ["toy", "k1_seed0", "k3_seed0"]
SHORT = {"passes": 1, "batch": 4}


class Killed(BaseException):
    """As from outside: nothing in the project catches it."""


class Stage:
    """The stage with a tiny network; notes what is trained, on which images, and can be killed in a pass of a filling module."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dataset = toy_dataset(folder / "data", val=2, test=1)
        self.proposals = toy_proposals(self.dataset, folder / "proposals", ("train",))
        self.folder, self.logs = folder / "weights", folder / "logs"
        self.code = {"classifying": {"train": "1"}, "filling": {"train": "1"}}
        self.trained: list[str] = []
        self.images: dict[str, list[str]] = {}
        self.looked = 0
        self.real = {name: getattr(iam_train, name) for name in ("train_filling", "lessons")} | {"train": dcsm_train.train}
        monkeypatch.setattr(dcsm_train, "load_network", toy_trunk)
        monkeypatch.setattr(fcn_file, "load_network", toy_trunk)
        monkeypatch.setattr(dcsm_train, "train", self._train)
        monkeypatch.setattr(iam_train, "train_filling", self._train_filling)
        monkeypatch.setattr(iam_train, "lessons", self._lessons)

    def _train(self, fcn: Any, *rest: Any) -> Any:
        self.trained.append(fcn.name)
        assert fcn.pooling == "peaks"
        return self.real["train"](fcn, *rest)

    def _train_filling(self, module: Any, given: Any, k: int, *rest: Any) -> Any:
        name = rest[-1].removeprefix("toy, ")
        assert name.removesuffix("_unseen") == f"k{k}_seed{rest[1]}"
        self.trained.append(name)
        self.images[name] = [lesson.id for lesson in given]
        return self.real["train_filling"](module, given, k, *rest)

    def _lessons(self, *arguments: Any) -> Any:
        self.looked += 1
        return self.real["lessons"](*arguments)

    def __call__(self, run: IamTrainRun | None = None, settings: FillingSettings = FILLING, seed: int = 5) -> list[str]:
        """What was trained."""
        self.trained, self.looked = [], 0
        torch.manual_seed(len(self.left_behind()))   # whatever a new process starts with
        train_run(self.dataset, run or run_with(**SHORT), settings, seed, self.proposals, self.folder, self.logs,
                  self.code["classifying"], self.code["filling"])
        return self.trained

    def left_behind(self) -> dict[str, str]:
        """Files and their hashes."""
        return {str(path.relative_to(self.folder.parent)): sha256(path) for top in (self.folder, self.logs) for path in sorted(top.rglob("*")) if path.is_file()}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_weights_and_curves_and_nothing_else(stage: Stage) -> None:
    assert stage() == ALL and stage.looked == 1
    assert sorted(stage.left_behind()) == ["logs/toy.csv", "logs/toy/k1_seed0.csv", "logs/toy/k3_seed0.csv", "weights/toy/k1_seed0/weights.safetensors",
                                           "weights/toy/k3_seed0/weights.safetensors", "weights/toy/weights.safetensors"]
    assert read_header(stage.folder / "toy" / "weights.safetensors")["pooling"] == "peaks"
    path = stage.folder / "toy" / "k3_seed0" / "weights.safetensors"
    header = read_filling(path)
    facts = header.pop("facts")
    assert facts["fingerprint"] != read_filling(stage.folder / "toy" / "k1_seed0" / "weights.safetensors")["facts"]["fingerprint"]
    assert header == {"network": "toy", "depths": [6, 8, 8], "channels": 4, "width": 6, "r": 3, "side": 64, "map_side": 32}
    assert facts["k"] == 3 and len(facts["fingerprint"]) == 64 and load_filling(path, "toy").r == 3
    rows = list(csv.DictReader((stage.logs / "toy" / "k3_seed0.csv").open()))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "1"), ("1", "2")] and all(float(row["loss"]) > 0 for row in rows)
    assert stage.images["k1_seed0"] == stage.images["k3_seed0"] == [f"train{i}" for i in range(8)]


def test_what_is_finished_stays(stage: Stage) -> None:
    stage()
    before = {path: (stage.folder.parent / path).stat().st_mtime_ns for path in stage.left_behind()}
    assert stage() == [] and stage.looked == 0
    more = run_with(k=[3, 4], seeds=[0, 1], **SHORT)
    assert stage(more) == ["k4_seed0", "k3_seed1", "k4_seed1"] and stage.looked == 1
    assert stage() == stage(more) == []
    assert all((stage.folder.parent / path).stat().st_mtime_ns == time for path, time in before.items())
    hashes = stage.left_behind()
    assert hashes["weights/toy/k3_seed0/weights.safetensors"] != hashes["weights/toy/k3_seed1/weights.safetensors"]


def test_what_is_missing_or_damaged_is_trained_again(stage: Stage) -> None:
    stage()
    before = stage.left_behind()
    weights, log = stage.folder / "toy" / "k1_seed0" / "weights.safetensors", stage.logs / "toy" / "k3_seed0.csv"
    weights.write_bytes(weights.read_bytes()[:100])
    assert stage() == ["k1_seed0"] and stage.left_behind() == before
    log.unlink()
    assert stage() == ["k3_seed0"] and stage.left_behind() == before
    weights.unlink()
    assert stage() == ["k1_seed0"] and stage.left_behind() == before
    classifier = stage.folder / "toy" / "weights.safetensors"
    classifier.write_bytes(b"no weights")
    assert stage() == ["toy"] and stage.left_behind() == before   # to the byte: what was trained on it still belongs to it


RETRIEVAL = replace(FILLING.retrieval, overlap=0.1)


@pytest.mark.parametrize("change", [{"channels": 5}, {"width": 7}, {"r": 5}, {"ranking": "retrieval"}, {"most": 5}, {"peaks": 1}, {"retrieval": RETRIEVAL}])
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
    for changes in ({"side": 96}, {"map_side": 28}, {"batch": 3}, {"passes": 2}, {"optimiser": "sgd"}, {"rate": 0.02}):
        assert run(**changes) == ["k2_seed0"] and run(**changes) == [], changes
    assert run(rate=0.02, classifier=replace(CLASSIFIER, head_rate=0.2)) == ["toy", "k2_seed0"]
    assert stage(run_with(k=[2], **SHORT), seed=6) == ["toy", "k2_seed0"]   # the classifier's seed


def test_changed_code_and_proposals_train_again(stage: Stage) -> None:
    once = run_with(k=[2], **SHORT)
    assert stage(once) == ["toy", "k2_seed0"]
    stage.code["filling"] = {"train": "2"}
    assert stage(once) == ["k2_seed0"] and stage(once) == []
    stage.code["classifying"] = {"train": "2"}
    assert stage(once) == ["toy", "k2_seed0"] and stage(once) == []
    toy_proposals(stage.dataset, stage.proposals, ("train",), version="2")
    assert stage(once) == ["k2_seed0"] and stage(once) == []
    (stage.proposals / "train" / "train2.npz").unlink()   # fewer images with proposals
    assert stage(once) == ["k2_seed0"] and stage(once) == []
    assert stage.images["k2_seed0"] == [f"train{i}" for i in range(8) if i != 2]


def test_what_was_interrupted_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after three of two modules' four steps each: the first pass of the second is not repeated."""
    run = run_with(k=[1, 3], batch=8, passes=4)
    stage(run)
    expected = stage.left_behind()
    for path in expected:
        if "_seed" in path:
            (stage.folder.parent / path).unlink()
    real, steps = filling.batch_of, []

    def killing(*arguments: Any) -> Any:
        if len(steps) == 6:
            raise Killed
        steps.append(1)
        return real(*arguments)

    monkeypatch.setattr(filling, "batch_of", killing)
    with pytest.raises(Killed):
        stage(run)
    assert "weights/toy/k3_seed0/checkpoint.pt" in stage.left_behind() and "logs/toy/k3_seed0.csv" not in stage.left_behind()
    steps.clear()
    assert stage(run) == ["k3_seed0"] and len(steps) == 2
    assert stage.left_behind() == expected


def test_held_out_classes_are_never_seen(stage: Stage) -> None:
    run = run_with(["blue"], k=[1], **SHORT)
    assert stage(run) == ["toy", "k1_seed0", "k5_seed0_unseen"] and stage.looked == 1
    assert stage.images["k1_seed0"] == [f"train{i}" for i in range(8)]
    labels = {sample.id: sample.labels for sample in stage.dataset.split("train")}
    assert stage.images["k5_seed0_unseen"] == [name for name in labels if "blue" not in labels[name]] == ["train0", "train1", "train5", "train6"]
    assert stage(run) == []
    assert stage(replace(run, unseen=["green", "blue"])) == ["k5_seed0_unseen"]   # the others do not depend on it
    assert stage.images["k5_seed0_unseen"] == ["train0", "train6"]
    assert stage(replace(run, unseen=None)) == []


def test_no_image_without_a_held_out_class(stage: Stage) -> None:
    with pytest.raises(Problem, match="iam_train: every training image has one of the classes red, green, blue; hold fewer of them out") as caught:
        stage(run_with(["red", "green", "blue"], k=[1], **SHORT))
    assert is_one_sentence(caught.value)


def test_a_misspelt_class_before_anything_is_trained(stage: Stage) -> None:
    with pytest.raises(Problem, match='iam_train.unseen: colours has no class "bleu"; did you mean "blue"') as caught:
        stage(run_with(["red", "bleu"], **SHORT))
    assert is_one_sentence(caught.value) and stage.left_behind() == {} and stage.trained == []


def test_without_proposals(stage: Stage, tmp_path: Path) -> None:
    stage.proposals = tmp_path / "none"
    with pytest.raises(Problem, match="there are no proposals; run the stage that finds them") as caught:
        stage()
    assert is_one_sentence(caught.value)


def test_every_setting_has_been_changed() -> None:
    """That the lists above name all there are."""
    assert {field.name for field in dataclasses.fields(FILLING)} == {"channels", "width", "r", "ranking", "most", "peaks", "retrieval"}
