"""Proposals of whole splits: which files a run writes, that it resumes or starts anew; their quality."""
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders import changed, contents
from killed import killed_in_a_file
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.data.writer import writing
from lib.metrics.bootstrap import Chance
from lib.proposals import segments, store as proposal_store
from lib.proposals.segments import load_proposals, proposals
from lib.proposals.store import ProposalQuality, compute, open_proposals, proposal_quality

Run = Callable[..., Path]
WANTED = {"val": None, "test": 2}
# of three images two are the first and the second
FILES = {"val/p0.npz", "val/p1.npz", "test/p2.npz", "test/p3.npz", "fingerprint.json"}


def toy_dataset(folder: Path, seed: int = 0) -> Dataset:
    """Five photographs of 60 x 40 pixels, of a rectangle (object 2) and a disc (object 5, ringed by void).

    The ground is noisy; the last has no object.
    """
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:40, :60]
    with writing(folder, "toys", "1", "made by a test", "CC0", ["a"]) as writer:
        for i in range(5):
            disc = np.hypot(x - 45, y - 12 - i)
            truth = np.where(disc < 7, 5, np.where(disc < 8, 255, 0)).astype(np.uint8)
            truth[20:34, 5 + i:25] = 2
            if i == 4:
                truth[:] = 0
            values = rng.uniform(0, 255, (3, 3)).astype(int)[np.select([truth == 2, truth == 5], [1, 2], 0)]
            noisy = values + rng.normal(0, 3, values.shape)
            photo = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
            photo.save(writer.path("images", f"p{i}.png"))
            writer.mask("instance_masks", f"p{i}", truth)
            writer.sample(f"p{i}", f"images/p{i}.png", "val" if i < 2 else "test", ["a"])
    return Dataset(folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("data") / "toys")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a photograph's red channel reaches, in the place of segments; in this process, and so in one."""
    def levels(photo: Image.Image) -> np.ndarray:
        red = np.asarray(photo)[..., 0]
        return np.stack([red >= level for level in range(0, 250, 25)])

    monkeypatch.setattr(proposal_store, "proposals", levels)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    monkeypatch.setattr(proposal_store, "proposals", proposals)


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Run:
    def go(data: Dataset = dataset, wanted: dict[str, int | None] = WANTED, code: str = "one") -> Path:
        compute(data, wanted, tmp_path / "found", {"find": code})
        return tmp_path / "found"

    return go


def stored(folder: Path) -> dict[str, bytes]:
    """What each file holds."""
    return {name: data for name, (_, data) in contents(folder).items()}


def test_one_file_for_each_image_that_is_wanted(run: Run, dataset: Dataset) -> None:
    folder = run()
    assert set(contents(folder)) == FILES
    for split, samples in (("val", dataset.split("val")), ("test", dataset.split("test")[:2])):
        for sample in samples:
            masks = load_proposals(folder / split / f"{sample.id}.npz")
            assert np.array_equal(masks, proposal_store.proposals(sample.photo()))


def test_large_photographs_are_shrunk_for_segments(real: None, run: Run, dataset: Dataset,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes back at the photograph's own size is what `proposals` finds there."""
    monkeypatch.setattr(segments, "SEGMENT_SIDE", 30)
    loader = open_proposals(run(wanted={"test": 1}), "test")["p2"]
    assert loader().shape[1:] == (20, 30) and loader().dtype == bool and len(loader()) > 2
    assert np.array_equal(loader((40, 60)), proposals(dataset.split("test")[0].photo()))
    assert loader((13, 17)).shape == (len(loader()), 13, 17)
    assert np.array_equal(loader((20, 30)), loader())


def test_two_processes_find_the_same_and_name_a_damaged_image(real: None, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    data, folder = toy_dataset(tmp_path / "toys"), tmp_path / "found"
    compute(data, {"val": None}, folder, {})
    alone = contents(folder)
    (folder / "val" / "p0.npz").unlink()
    (tmp_path / "toys" / "images" / "p2.png").write_bytes(b"no image")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(Problem, match="p2.png: cannot be decoded"):
        compute(data, {"val": None, "test": 1}, folder, {})
    assert set(contents(folder)) == set(alone) and changed(folder, alone) == {"val/p0.npz"}
    assert contents(folder)["val/p0.npz"][1] == alone["val/p0.npz"][1]


def test_a_second_run_finds_nothing_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder := run())
    monkeypatch.setattr(proposal_store, "proposals", None)
    run()
    assert not changed(folder, before)


@pytest.mark.parametrize("damage", ["lost", "cut off", "other bytes", "one bit", "other archive"])
def test_only_what_is_missing_or_damaged_is_found_again(damage: str, run: Run) -> None:
    before = contents(folder := run())
    path, data = folder / "test" / "p3.npz", bytearray(before["test/p3.npz"][1])
    if damage == "lost":
        path.unlink()
    elif damage == "other archive":
        np.savez(path, something=np.zeros(3))
    else:
        data[len(data) // 3] ^= 4
        damaged = {"cut off": bytes(data[:200]), "other bytes": b"PK half a file", "one bit": bytes(data)}
        path.write_bytes(damaged[damage])
    run()
    assert changed(folder, before) == {"test/p3.npz"}
    assert contents(folder)["test/p3.npz"][1] == before["test/p3.npz"][1]


@pytest.mark.parametrize("after", [0, 3])
def test_a_run_that_is_killed_leaves_no_half_file_and_resumes(after: int, run: Run) -> None:
    folder = run()
    whole = stored(folder)
    for path in folder.rglob("*.npz"):
        path.unlink()
    with killed_in_a_file("savez_compressed", after):
        run()
    left = contents(folder)
    assert sum(name.endswith(".npz") for name in left) == after
    (folder / "val" / ".part-1-p0.npz").write_bytes(b"PK")   # where a process had no time to tidy up
    assert after == 0 or set(open_proposals(folder, "val")) == {"p0", "p1"}
    run()
    assert changed(folder, left) == set(whole) - set(left) and stored(folder) == whole


def test_more_and_fewer_images(run: Run) -> None:
    before = contents(folder := run())
    run(wanted={"val": 1, "test": None})
    assert changed(folder, before) == {"test/p4.npz"}
    assert set(contents(folder)) == FILES - {"val/p1.npz"} | {"test/p4.npz"}
    run(wanted={"test": 1})
    assert set(contents(folder)) == {"test/p2.npz", "fingerprint.json"}


@pytest.mark.parametrize("what", ["code", "constants", "data"])
def test_other_code_constants_or_data_start_anew(what: str, run: Run, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder := run())
    other: dict[str, object] = {}
    if what == "code":
        other["code"] = "two"
    if what == "data":
        other["data"] = toy_dataset(tmp_path / "other", seed=1)
    if what == "constants":
        monkeypatch.setattr(segments, "SAME", 0.8)
    run(**other)
    assert changed(folder, before) == FILES
    same = {name for name in FILES if contents(folder)[name][1] == before[name][1]}
    found_again = FILES - {"fingerprint.json"}
    assert same == {"code": found_again, "constants": found_again}.get(what, set())


def test_what_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    folder = run()
    assert set(open_proposals(folder, "test", ["p2", "p3"])) == {"p2", "p3"}
    with pytest.raises(Problem, match='test: there are no proposals of the image "p4"; run the stage'):
        open_proposals(folder, "test", ["p2", "p4"])
    for where, split in ((tmp_path / "nowhere", "test"), (folder, "train")):
        with pytest.raises(Problem, match=f"{split}: there are no proposals; run the stage"):
            open_proposals(where, split)
    with pytest.raises(Problem, match='no sample in split "tset"'):
        run(wanted={"tset": None})


# quality

def test_quality_by_hand(dataset: Dataset) -> None:
    """One proposal is object 2, all void besides; another half of object 5. The empty image has no object."""
    samples = [dataset.split("val")[0], dataset.split("test")[2]]
    truth = samples[0].mask("instance_masks")
    half = truth == 5
    half[half.cumsum().reshape(half.shape) > half.sum() // 2] = False
    masks = np.stack([np.isin(truth, (2, 255)), half, np.zeros_like(half)])
    found = proposal_quality(samples, {"p0": lambda shape: masks, "p4": lambda shape: masks[:1]})
    share = (half.sum() / (truth == 5).sum()).item()
    assert [best.tolist() for best in found.overlaps] == [[1.0, share], []]
    assert found.proposals.tolist() == [3, 1]
    scores = found.scores(Chance(3, 0.95, 0).draws(2)[:1])
    assert {name: round(value.item(), 9) for name, value in scores.items()} == {
        "recall50": 50 if share < 0.5 else 100, "recall70": 50, "abo": round(50 + 50 * share, 9),
        "proposals": 2}


def test_quality_under_weights() -> None:
    """Objects weigh as their images do: (1 x 0.25 x 2 + 3 x 0.75 x 1) objects in the first draw."""
    found = ProposalQuality([np.array([0.5, 0.9]), np.array([0.7, 0.2, 0.6])], np.array([10, 30]))
    scores = found.scores(np.array([[0.25, 0.75], [1, 0]]))
    weight = 0.25 * 2 + 0.75 * 3
    assert np.allclose(scores["abo"], [100 * (0.25 * 1.4 + 0.75 * 1.5) / weight, 70])
    assert np.allclose(scores["recall50"], [100 * (0.25 * 2 + 0.75 * 2) / weight, 100])
    assert np.allclose(scores["recall70"], [100 * (0.25 + 0.75) / weight, 50])
    assert np.allclose(scores["proposals"], [25, 10])


def best_overlap(masks: np.ndarray, truth: np.ndarray, number: int) -> float:
    """Of any mask with one object; void does not count."""
    overlaps = []
    for mask in masks:
        either = (mask | (truth == number)) & (truth != 255)
        overlaps.append((mask & (truth == number)).sum() / either.sum())
    return max(overlaps)


def test_quality_at_the_truths_size(run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proposals found at 30 x 20, each of their pixels four of the truth's."""
    monkeypatch.setattr(segments, "SEGMENT_SIDE", 30)
    samples, folder = dataset.split("val"), run()
    found = proposal_quality(samples, open_proposals(folder, "val"))
    for sample, best in zip(samples, found.overlaps, strict=True):
        masks = load_proposals(folder / "val" / f"{sample.id}.npz").repeat(2, 1).repeat(2, 2)
        truth = sample.mask("instance_masks")
        expected = [best_overlap(masks, truth, number) for number in (2, 5)]
        assert np.allclose(best, expected) and min(expected) > 0.05


def test_quality_needs_proposals_and_objects(dataset: Dataset) -> None:
    empty = dataset.split("test")[2:]
    with pytest.raises(Problem, match="None of the 1 images has an object"):
        proposal_quality(empty, {"p4": lambda shape: np.zeros((0, *shape), dtype=bool)})
    with pytest.raises(Problem, match='no proposals of the image "p4"'):
        proposal_quality(empty, {})
