"""What IAM's notebooks start from: which images have proposals and whose masks can be trusted."""
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.papers.iam.rows import clean, hashes, with_proposals


def sample(id: str, **extra: str) -> Sample:
    return Sample(id, Path("d"), f"images/{id}.png", "test", ("dog",), extra)


def test_images_with_proposals(tmp_path: Path) -> None:
    """In the data set's order, not by name; what is left of a killed run does not count."""
    samples = [sample(id) for id in ("z", "a", "m", "b", "y")]
    asked = []
    of = SimpleNamespace(proposals=tmp_path, dataset=SimpleNamespace(split=lambda name: asked.append(name) or samples))
    (tmp_path / "test").mkdir()
    for name in ("y.npz", "a.npz", "z.npz", "b.npz", "other.npz", ".m.npz", "m.txt"):
        (tmp_path / "test" / name).touch()
    ids = [[one.id for one in with_proposals(of, "test", images)] for images in (None, 2, 9)]
    assert ids == [["z", "a", "b", "y"], ["z", "b"], ["z", "a", "b", "y"]] and set(asked) == {"test"}
    with pytest.raises(Problem, match="no proposals"):
        with_proposals(of, "val")


def test_masks_that_can_be_trusted() -> None:
    assert clean([sample("a", instances_clean="0"), sample("b", instances_clean="1"), sample("c", instances_clean="0"), sample("d")]) == [1, 3]
    assert clean([sample("a"), sample("b")]) == [0, 1] and clean([]) == []


def test_hashes_of_every_networks_weights(tmp_path: Path) -> None:
    for name in ("one", "one/k5_seed0", "one/k5_seed0_unseen", "two", "three"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "weights.safetensors").write_text(name)
        (tmp_path / name / "curves.csv").write_text(name)
    found = hashes(tmp_path, ["one", "two"])
    assert found == {name: hashlib.sha256(name.encode()).hexdigest() for name in ("one", "one/k5_seed0", "one/k5_seed0_unseen", "two")}
