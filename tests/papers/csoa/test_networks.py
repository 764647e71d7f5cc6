"""The networks of a run: what is finished stays, what is missing is made, what does not fit is named."""
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from csoa_toys import SETTINGS, TRAINING, load_toy, toy_data
from safetensors.torch import load_file, save_file

from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.nets.saved import save_described
from lib.papers.csoa import networks, training, two_classifiers
from lib.papers.csoa.batches import single_objects
from lib.papers.csoa.runs import Job, Located, load_located
from lib.papers.csoa.settings import CsoaRun, constants_of
from lib.papers.csoa.two_classifiers import TwoClassifiers, load_two_classifiers, read_two_classifiers

RUN = CsoaRun(least=2, seeds=[0, 4], variants=["base", "csoa"], positions=["3-5"], trials=["heavy"],
              ten_crop=True, training=replace(TRAINING, epochs=1))
TRIALS = {"heavy": {"weight": 0.9}}
NAMES = ["base_4-5_seed0", "csoa_4-5_seed0", "csoa_3-5_seed0",
         "base_4-5_seed4", "csoa_4-5_seed4", "csoa_3-5_seed4",
         "csoa_4-5_seed0_heavy"]


class Stage:
    """Training as the stage does it, on toys; it notes what is trained and what is looked at."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = toy_data(folder / "shapes")
        self.folder = folder
        self.training_code = {"train": "1"}
        self.locating_code = {"locate": "1"}
        self.trained: list[str] = []
        self.looked_at: list[str] = []
        for module in (networks, training, two_classifiers):
            monkeypatch.setattr(module, "load_network", load_toy)
        train, locate = networks.train, networks.locate

        def noted_train(net: TwoClassifiers, task: training.TrainingTask, *rest: Any) -> list[training.Row]:
            self.trained.append(task.job.name)
            return train(net, task, *rest)

        def noted_locate(net: TwoClassifiers, samples: Any, search: Any, label: str) -> Located:
            self.looked_at.append(label)
            return locate(net, samples, search, label)

        monkeypatch.setattr(networks, "train", noted_train)
        monkeypatch.setattr(networks, "locate", noted_locate)

    def __call__(self, run: CsoaRun = RUN, **changes: Any) -> tuple[list[str], list[str]]:
        """(networks trained, what was looked at), with some constants changed."""
        self.trained.clear()
        self.looked_at.clear()
        data = Dataset(self.data.folder)
        constants = constants_of(replace(SETTINGS, **changes), TRIALS)
        plan = networks.RunPlan(data, single_objects(data, run.least), "toy", run, constants, [0.3, 0.6],
                                self.training_code, self.locating_code)
        networks.train_run(plan, self.folder / "nets", self.folder / "logs")
        return list(self.trained), list(self.looked_at)

    def weights(self, name: str) -> Path:
        return self.folder / "nets" / name / "weights.safetensors"

    def files(self) -> list[str]:
        found = []
        for part in ("nets", "logs"):
            for path in (self.folder / part).rglob("*"):
                if path.is_file():
                    found.append(str(path.relative_to(self.folder)))
        return sorted(found)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_what_is_left(stage: Stage) -> None:
    trained, looked_at = stage()
    assert trained == NAMES
    assert looked_at[:2] == ["base_4-5_seed0, val", "base_4-5_seed0, test"]
    assert looked_at[-1] == "csoa_4-5_seed0_heavy, val"
    # a trial sees no test image
    expected = [f"nets/{NAMES[-1]}/val.npz", f"nets/{NAMES[-1]}/weights.safetensors"]
    for name in NAMES[:-1]:
        expected += [f"nets/{name}/{file}" for file in ("val.npz", "test.npz", "weights.safetensors")]
    expected += [f"logs/{name}.csv" for name in NAMES]
    assert stage.files() == sorted(expected)
    curves = (stage.folder / "logs" / f"{NAMES[1]}.csv").read_text()
    assert curves.splitlines()[0] == "epoch,step,loss,cls,inner,coaug"


def test_where_objects_were_found(stage: Stage) -> None:
    stage()
    located = load_located(stage.weights(NAMES[1]).with_name("test.npz"))
    assert len(located.ids) == 4
    assert located.largest["union"].shape == (4, 2)
    assert (located.rank_ten >= 0).all()
    # ten crops are for the test images
    assert (load_located(stage.weights(NAMES[1]).with_name("val.npz")).rank_ten == -1).all()


def test_what_is_done_again(stage: Stage) -> None:
    stage()
    assert stage() == ([], [])
    stage.weights(NAMES[0]).with_name("val.npz").write_bytes(b"damaged")
    stage.weights(NAMES[1]).write_bytes(b"damaged")
    (stage.folder / "logs" / f"{NAMES[2]}.csv").unlink()
    trained, looked_at = stage()
    assert trained == NAMES[1:3]
    # the same weights come out again, so what they found is still true
    assert looked_at == [f"{NAMES[0]}, val"]
    stage.locating_code = {"locate": "2"}
    everything = []
    for name in NAMES[:-1]:
        everything += [f"{name}, val", f"{name}, test"]
    assert stage(replace(RUN, trials=None)) == ([], everything)
    assert stage(gamma=0.9)[0] == NAMES   # another constant
    stage.training_code = {"train": "2"}
    assert stage(gamma=0.9)[0] == NAMES
    slower = replace(RUN, training=replace(RUN.training, rate=0.5e-3))
    assert stage(slower, gamma=0.9)[0] == NAMES


def test_a_trial_has_its_own_constants(stage: Stage) -> None:
    stage()
    plain, trial = load_file(stage.weights(NAMES[1])), load_file(stage.weights(NAMES[-1]))
    assert plain.keys() == trial.keys()
    assert any(not torch.equal(plain[key], trial[key]) for key in plain)
    words = r"csoa_trials.x.gama: there is no such parameter; did you mean \"gamma\"\?"
    with pytest.raises(Problem, match=words):
        constants_of(SETTINGS, {"x": {"gama": 1.0}})


def test_weights_come_back_and_those_of_another_position_are_named(stage: Stage) -> None:
    stage(replace(RUN, seeds=[0], trials=None))
    path = stage.weights(NAMES[1])
    header, weights = read_two_classifiers(path), load_file(path)
    assert header["inner"] == "stage4"
    assert (header["width"], header["side"], header["classes"]) == (6, 32, ["disc", "bar"])
    net = load_two_classifiers(str(path))   # as README has it
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    deep = training.build(Job("csoa", "5-5", 0), "toy", ["disc", "bar"], replace(TRAINING, width=7))
    save_described(deep, path, "two_classifiers", header)
    words = "the weights are of another architecture than toy with 2 classes; train it again."
    with pytest.raises(Problem, match=words):
        load_two_classifiers(path)
    save_file(weights, path)
    with pytest.raises(Problem, match="damaged, or not the weights of a network with two classifiers"):
        load_two_classifiers(path)


def test_a_checkpoint_of_another_position_is_not_gone_on_from(tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fingerprint tells; the training starts anew."""
    one = replace(RUN, seeds=[0], variants=["csoa"], positions=["5-5"], trials=None)
    (tmp_path / "again").mkdir()
    with monkeypatch.context() as patch:
        stage = Stage(tmp_path, patch)
        stage(one)
        own_curves = (tmp_path / "logs" / "csoa_5-5_seed0.csv").read_text()
        stage.weights("csoa_4-5_seed0").unlink()
        patch.setattr(networks, "save_two_classifiers", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stage(one)
    again = Stage(tmp_path / "again", monkeypatch)
    place = again.weights("csoa_5-5_seed0").with_name("checkpoint.pt")
    place.parent.mkdir(parents=True)
    stage.weights("csoa_4-5_seed0").with_name("checkpoint.pt").rename(place)
    again(one)
    assert (again.folder / "logs" / "csoa_5-5_seed0.csv").read_text() == own_curves


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt
