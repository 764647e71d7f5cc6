"""The stage that trains CSoA's networks: what is finished stays, what is missing is made, and what it says about a file that does not fit."""
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from csoa_toys import SETTINGS, TRAINING, toy_data, toy_trunk
from safetensors.torch import load_file, save_file

from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.nets.saved import save_described
from lib.papers.csoa import (
    networks as csoa_networks,
    training as csoa_train,
    two_classifiers as two_classifiers_file,
)
from lib.papers.csoa.networks import train_run
from lib.papers.csoa.runs import Job, jobs, load_located
from lib.papers.csoa.settings import CsoaRun, constants_of
from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

RUN = CsoaRun(least=2, seeds=[0, 4], variants=["base", "csoa"], positions=["3-5"], trials=["heavy"], ten_crop=True, training=replace(TRAINING, epochs=1))
TRIALS = {"heavy": {"weight": 0.9}}
NAMES = ["base_4-5_seed0", "csoa_4-5_seed0", "csoa_3-5_seed0", "base_4-5_seed4", "csoa_4-5_seed4", "csoa_3-5_seed4", "csoa_4-5_seed0_heavy"]


class Stage:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data, self.folder = toy_data(folder / "shapes"), folder
        self.trained: list[str] = []
        self.looked: list[str] = []
        self.training, self.locating = {"train": "1"}, {"locate": "1"}
        for module in (csoa_networks, csoa_train, two_classifiers_file):
            monkeypatch.setattr(module, "load_network", lambda name, stride=None, pretrained=True: toy_trunk(1))
        train, locate = csoa_networks.train, csoa_networks.locate
        monkeypatch.setattr(csoa_networks, "train", lambda net, job, *rest: self.trained.append(job.name) or train(net, job, *rest))
        monkeypatch.setattr(csoa_networks, "locate", lambda *args: self.looked.append(args[6]) or locate(*args))

    def __call__(self, run: CsoaRun = RUN, **changes: Any) -> tuple[list[str], list[str]]:
        """(networks trained, what was looked at)."""
        self.trained.clear()
        self.looked.clear()
        train_run(Dataset(self.data.folder), "toy", run, constants_of(replace(SETTINGS, **changes), TRIALS), [0.3, 0.6], self.folder / "nets", self.folder / "logs",
                  self.training, self.locating)
        return list(self.trained), list(self.looked)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_which_networks() -> None:
    assert [job.name for job in jobs(RUN)] == NAMES
    assert [job.name for job in jobs(replace(RUN, positions=None, trials=None, seeds=[1]))] == ["base_4-5_seed1", "csoa_4-5_seed1"]
    assert Job("csoa", "4-5", 0) in jobs(replace(RUN, positions=["4-5"])) and len(jobs(replace(RUN, positions=["4-5"]))) == 5   # none twice


def test_what_is_left_and_what_is_done_again(stage: Stage) -> None:
    trained, looked = stage()
    assert trained == NAMES and looked[:2] == ["base_4-5_seed0, val", "base_4-5_seed0, test"] and looked[-1] == "csoa_4-5_seed0_heavy, val"
    files = sorted(str(p.relative_to(stage.folder)) for part in ("nets", "logs") for p in (stage.folder / part).rglob("*") if p.is_file())
    expected = [f"nets/{name}/{file}" for name in NAMES for file in ("val.npz", "test.npz", "weights.safetensors") if (file, "heavy" in name) != ("test.npz", True)]
    assert files == sorted(expected + [f"logs/{name}.csv" for name in NAMES])
    assert (stage.folder / "logs" / f"{NAMES[1]}.csv").read_text().splitlines()[0] == "epoch,step,loss,cls,inner,coaug"
    found = load_located(stage.folder / "nets" / NAMES[1] / "test.npz")
    assert len(found.ids) == 4 and found.largest["union"].shape == (4, 2) and (found.rank_ten >= 0).all()
    assert (load_located(stage.folder / "nets" / NAMES[1] / "val.npz").rank_ten == -1).all()   # ten crops are for the test images

    assert stage() == ([], [])
    (stage.folder / "nets" / NAMES[0] / "val.npz").write_bytes(b"damaged")
    (stage.folder / "nets" / NAMES[1] / "weights.safetensors").write_bytes(b"damaged")
    (stage.folder / "logs" / f"{NAMES[2]}.csv").unlink()
    trained, looked = stage()
    assert trained == NAMES[1:3] and looked == [f"{NAMES[0]}, val"]   # the same weights come out again, so what they found is still true
    stage.locating = {"locate": "2"}
    assert stage(replace(RUN, trials=None)) == ([], [f"{name}, {split}" for name in NAMES[:-1] for split in ("val", "test")])
    assert stage(gamma=0.9)[0] == NAMES   # another constant
    stage.training = {"train": "2"}
    assert stage(gamma=0.9)[0] == NAMES
    assert stage(replace(RUN, training=replace(RUN.training, rate=0.5e-3)), gamma=0.9)[0] == NAMES


def test_a_trial_has_its_own_constants(stage: Stage) -> None:
    stage()
    plain, trial = (load_file(stage.folder / "nets" / name / "weights.safetensors") for name in (NAMES[1], NAMES[-1]))
    assert plain.keys() == trial.keys() and any(not torch.equal(plain[key], trial[key]) for key in plain)
    with pytest.raises(Problem, match=r"csoa_trials.x.gama: there is no such parameter; did you mean \"gamma\"\?"):
        constants_of(SETTINGS, {"x": {"gama": 1.0}})


def test_weights_come_back_and_those_of_another_position_are_named(stage: Stage) -> None:
    stage(replace(RUN, seeds=[0], trials=None))
    path = stage.folder / "nets" / NAMES[1] / "weights.safetensors"
    header, weights = read_two_classifiers(path), load_file(path)
    assert (header["inner"], header["width"], header["side"], header["classes"]) == ("stage4", 6, 32, ["disc", "bar"])
    net = load_two_classifiers(str(path))   # as README has it
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    deep = csoa_networks.build(Job("csoa", "5-5", 0), "toy", ["disc", "bar"], replace(TRAINING, width=7))
    save_described(deep, path, "two_classifiers", header)
    with pytest.raises(Problem, match="the weights are of another architecture than toy with 2 classes; train it again."):
        load_two_classifiers(path)
    save_file(weights, path)
    with pytest.raises(Problem, match="damaged, or not the weights of a network with two classifiers"):
        load_two_classifiers(path)


def test_a_checkpoint_of_another_position_is_not_gone_on_from(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fingerprint tells; the training starts anew."""
    one = replace(RUN, seeds=[0], variants=["csoa"], positions=["5-5"], trials=None)
    stage(one)
    own = (stage.folder / "logs" / "csoa_5-5_seed0.csv").read_text()
    monkeypatch.setattr(csoa_networks, "save_two_classifiers", lambda *args, **more: (_ for _ in ()).throw(KeyboardInterrupt))
    stage.folder.joinpath("nets", "csoa_4-5_seed0", "weights.safetensors").unlink()
    with pytest.raises(KeyboardInterrupt):
        stage(one)
    monkeypatch.undo()
    again = Stage(stage.folder / "again", monkeypatch) if (stage.folder / "again").mkdir() is None else None
    place = again.folder / "nets" / "csoa_5-5_seed0" / "checkpoint.pt"
    place.parent.mkdir(parents=True)
    (stage.folder / "nets" / "csoa_4-5_seed0" / "checkpoint.pt").rename(place)
    again(one)
    assert (again.folder / "logs" / "csoa_5-5_seed0.csv").read_text() == own
