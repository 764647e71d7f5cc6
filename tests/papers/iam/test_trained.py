"""What IAM's notebooks start from: trained networks, images with proposals, masks that can be trusted."""
import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from iam_toys import FILLING, MASKS, NETWORK, RUN, toy_dataset, toy_fcn, toy_filling, toy_proposals, toy_trunk

from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.nets import fcn as fcn_file
from lib.nets.fcn import save_fcn
from lib.papers.iam import trained as module
from lib.papers.iam.filling import save_filling
from lib.papers.iam.settings import FillingJob, filling_jobs
from lib.papers.iam.trained import clean, hashes, open_tier, same_classes, with_proposals


def sample(id: str, **extra: str) -> Sample:
    return Sample(id, Path("d"), f"images/{id}.png", "test", ("dog",), extra)


def test_a_tier_as_its_stages_left_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every filling module is its own file's, and the main one that of k = 5 and the first seed."""
    monkeypatch.setattr(fcn_file, "load_network", toy_trunk)
    monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(module, "DATA", tmp_path / "data")
    network = replace(NETWORK, k=[5, 1], seeds=[2, 0])
    run = replace(RUN, networks={"toy": network}, dataset="colours", unseen=["blue"])
    folder = tmp_path / "build" / "smoke" / "iam_train" / "toy"
    save_fcn(toy_fcn(), folder / "weights.safetensors")
    jobs = filling_jobs(network, True)
    for number, job in enumerate(jobs):
        save_filling(toy_filling(number), folder / job.name / "weights.safetensors", "toy", 64, 32)
    dataset = toy_dataset(tmp_path / "data" / "smoke" / "colours", 1, 1, 3)
    toy_proposals(dataset, tmp_path / "build" / "smoke" / "proposals" / "colours", ("test",))
    params = SimpleNamespace(iam_filling=FILLING, iam=MASKS, tier={"smoke": SimpleNamespace(iam_train=run)})

    tier = open_tier(params, "smoke", "colours", ["toy"])
    trained = tier.networks["toy"]
    assert trained is tier.first and tier.dataset.hash == dataset.hash
    assert list(trained.fillings) == jobs and len(jobs) == 6
    for number, job in enumerate(jobs):
        assert torch.equal(trained.fillings[job].head.weight, toy_filling(number).head.weight)
    assert trained.main_job == FillingJob(5, 2) == jobs[0] and trained.main is trained.fillings[jobs[0]]
    assert [one.id for one in with_proposals(trained, "test")] == ["test0", "test1", "test2"]
    assert set(tier.hashes()) == {"toy", *(f"toy/{job.name}" for job in jobs)}


def test_images_with_proposals(tmp_path: Path) -> None:
    """In the data set's order, not by name; what is left of a killed run does not count."""
    samples = [sample(id) for id in ("z", "a", "m", "b", "y")]
    asked = []

    def split(name: str) -> list[Sample]:
        asked.append(name)
        return samples

    trained = SimpleNamespace(proposals=tmp_path, dataset=SimpleNamespace(split=split))
    (tmp_path / "test").mkdir()
    for name in ("y.npz", "a.npz", "z.npz", "b.npz", "other.npz", ".m.npz", "m.txt"):
        (tmp_path / "test" / name).touch()

    def ids(images: int | None) -> list[str]:
        return [one.id for one in with_proposals(trained, "test", images)]

    assert ids(None) == ids(9) == ["z", "a", "b", "y"]
    assert ids(2) == ["z", "b"] and set(asked) == {"test"}
    with pytest.raises(Problem, match="no proposals"):
        with_proposals(trained, "val")


def test_masks_that_can_be_trusted() -> None:
    some = [sample("a", instances_clean="0"), sample("b", instances_clean="1"),
            sample("c", instances_clean="0"), sample("d")]
    assert clean(some) == [1, 3]
    assert clean([sample("a"), sample("b")]) == [0, 1] and clean([]) == []


def test_hashes_of_every_networks_weights(tmp_path: Path) -> None:
    for name in ("one", "one/k5_seed0", "one/k5_seed0_unseen", "two", "three"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "weights.safetensors").write_text(name)
        (tmp_path / name / "curves.csv").write_text(name)
    found = hashes(tmp_path, ["one", "two"])
    named = ["one", "one/k5_seed0", "one/k5_seed0_unseen", "two"]
    assert found == {name: hashlib.sha256(name.encode()).hexdigest() for name in named}


def test_classes_must_be_the_same_in_the_same_order() -> None:
    dataset = SimpleNamespace(classes=["dog", "cat"], folder="pets")
    same_classes(SimpleNamespace(classes=("dog", "cat")), dataset)
    for others in (("cat", "dog"), ("dog",)):
        with pytest.raises(Problem, match=r"^pets: its classes are not those.*; give"):
            same_classes(SimpleNamespace(classes=others), dataset)
