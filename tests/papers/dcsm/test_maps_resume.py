"""Raw maps of whole splits: which files a run writes, and that it resumes or starts anew as it should."""
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dcsm_toys import BLOCKS, MAPS, RUN, SIDE, toy_dataset, toy_fcn, toy_trunk
from folders import changed, contents
from killed import killed_in_a_file
from sentences import is_one_sentence

from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.nets import fcn as fcn_file
from lib.nets.fcn import save_fcn
from lib.papers.dcsm import maps
from lib.papers.dcsm.maps import MapFolders, compute, image_maps, load_scores, samples_with_maps
from lib.papers.dcsm.settings import MapsImages, MapsRun, MapsSettings

Run = Callable[..., Path]
MAIN_FILES = {"val/p0.npz", "test/p2.npz", "test/p3.npz", "test/p4.npz",
              "test_ablations/p2.npz", "test_ablations/p3.npz"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("data") / "scenes")


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`compute` with toy networks in the place of real ones; answers with the network's folder."""
    monkeypatch.setattr(fcn_file, "load_network", toy_trunk)
    train(tmp_path, 4)

    def go(settings: MapsSettings = MAPS, run: MapsRun = RUN, code: str = "one") -> Path:
        folders = MapFolders(tmp_path / "weights", tmp_path / "maps")
        compute(dataset, run, settings, folders, {"compute": code})
        return tmp_path / "maps" / "toy"

    return go


def train(folder: Path, seed: int) -> None:
    save_fcn(toy_fcn(seed), folder / "weights" / "toy" / "weights.safetensors")


def ids(dataset: Dataset, folder: Path, split: str = "test") -> list[str]:
    """The images of a split whose raw maps lie in a folder."""
    return [sample.id for sample, _ in samples_with_maps(dataset.split(split), folder)]


def test_a_run_writes_one_file_for_each_image_and_what_the_blocks_mean(run: Run) -> None:
    folder = run()
    assert set(contents(folder)) == MAIN_FILES | {"blocks.json", "fingerprint.json"}
    written = json.loads((folder / "blocks.json").read_text())
    assert written == {block: list(layers) for block, layers in BLOCKS.items()}


def test_files_hold_the_maps_of_their_photographs(run: Run, dataset: Dataset) -> None:
    folder, fcn = run(), toy_fcn(4)
    for split, ablations in (("test", False), ("test_ablations", True)):
        for sample, path in samples_with_maps(dataset.split("test"), folder / split):
            expected = image_maps(fcn, sample.photo(), MAPS, SIDE, ablations)
            with np.load(path) as file:
                assert set(file.files) == set(expected)
                for key, value in expected.items():
                    assert np.allclose(file[key].astype(float), value.astype(float), atol=1e-3), key
            assert np.allclose(load_scores(path), expected["scores"], atol=1e-6)


def test_samples_with_maps_are_those_of_the_split_in_its_order(run: Run, dataset: Dataset) -> None:
    folder = run(run=replace(RUN, networks={"toy": MapsImages(val=None, test=2, ablations=1)}))
    for split, name, expected in (("val", "val", ["p0", "p1"]), ("test", "test", ["p2", "p4"]),
                                  ("test", "test_ablations", ["p2"])):
        items = samples_with_maps(dataset.split(split), folder / name)
        assert [sample.id for sample, _ in items] == expected
        assert [path for _, path in items] == [folder / name / f"{id}.npz" for id in expected]


def test_missing_folder_is_a_problem(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="nowhere: there are no raw maps; run the stage dcsm_maps") as problem:
        samples_with_maps(dataset.split("test"), tmp_path / "nowhere")
    assert is_one_sentence(problem.value)


def test_missing_weights_are_a_problem_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "weights" / "toy" / "weights.safetensors").unlink()
    with pytest.raises(Problem, match="there are no such weights"):
        run()
    assert not (tmp_path / "maps").exists()


# resuming and starting anew

def test_a_second_run_computes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run()
    before = contents(folder)
    monkeypatch.setattr(maps, "image_maps", None)
    run()
    assert changed(folder, before) <= {"blocks.json"}


@pytest.mark.parametrize("lost", ["test/p3.npz", "val/p0.npz", "test_ablations/p2.npz"])
def test_only_what_is_missing_is_computed(lost: str, run: Run) -> None:
    folder = run()
    before = contents(folder)
    (folder / lost).unlink()
    run()
    assert changed(folder, before) - {"blocks.json"} == {lost}
    assert contents(folder)[lost][1] == before[lost][1]


def test_more_images_keep_those_that_are_there(run: Run) -> None:
    folder = run()
    before = contents(folder)
    run(run=replace(RUN, networks={"toy": MapsImages(val=None, test=None, ablations=3)}))
    assert changed(folder, before) - {"blocks.json"} == {"val/p1.npz", "test/p5.npz", "test_ablations/p4.npz"}


def test_fewer_images_are_fewer_files(run: Run, dataset: Dataset) -> None:
    run()
    folder = run(run=replace(RUN, networks={"toy": MapsImages(val=1, test=2, ablations=1)}))
    assert ids(dataset, folder / "test") == ["p2", "p4"]


@pytest.mark.parametrize("what, changes", [
    ("weights", {}),
    ("settings", {"settings": replace(MAPS, candidates=4)}),
    ("side", {"run": replace(RUN, side=96)}),
    ("code", {"code": "two"})])
def test_other_weights_settings_or_code_start_anew(what: str, changes: dict[str, Any], run: Run,
                                                   tmp_path: Path) -> None:
    folder = run()
    before = contents(folder)
    (folder / "test" / "p5.npz").write_bytes(b"old")   # nothing old survives
    if what == "weights":
        train(tmp_path, 1)
    run(**changes)
    assert set(contents(folder)) == set(before) and changed(folder, before) == set(before)
    for name in MAIN_FILES:
        assert (contents(folder)[name][1] == before[name][1]) == (what == "code"), name


def test_other_data_starts_anew(run: Run, tmp_path: Path) -> None:
    folder = run()
    before = contents(folder)
    more = toy_dataset(tmp_path / "more", test=5)
    compute(more, RUN, MAPS, MapFolders(tmp_path / "weights", tmp_path / "maps"), {"compute": "one"})
    assert {"val/p0.npz", "fingerprint.json"} <= changed(folder, before)


@pytest.mark.parametrize("damaged", [b"", b'{"fingerprint": "4f', b"\xff\xfe"])
def test_raw_maps_beside_a_damaged_fingerprint_are_kept_and_named(damaged: bytes, run: Run) -> None:
    """Hours of work are not thrown away for a few bytes: that is for the user to say."""
    folder = run()
    (folder / "fingerprint.json").write_bytes(damaged)
    before = contents(folder)
    with pytest.raises(Problem, match=r"toy/fingerprint.json: damaged.*; delete .*/maps/toy, and") as problem:
        run()
    assert is_one_sentence(problem.value)
    assert contents(folder) == before


def test_each_network_has_weights_of_its_own(run: Run, tmp_path: Path) -> None:
    both = replace(RUN, networks={"toy": MapsImages(1, 1, 1), "other": MapsImages(1, 1, 1)})
    save_fcn(toy_fcn(5, "other"), tmp_path / "weights" / "other" / "weights.safetensors")
    folder = run(run=both).parent
    before = contents(folder)
    names = ["val/p0.npz", "test/p2.npz", "test_ablations/p2.npz", "blocks.json", "fingerprint.json"]
    assert set(before) == {f"{network}/{name}" for network in both.networks for name in names}
    save_fcn(toy_fcn(6, "other"), tmp_path / "weights" / "other" / "weights.safetensors")
    run(run=both)
    of_other = {name for name in before if name.startswith("other")}
    assert changed(folder, before) - {"toy/blocks.json"} == of_other


@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_run_that_is_killed_leaves_no_half_file_and_resumes(after: int, run: Run) -> None:
    folder = run()
    whole = {name: data for name, (_, data) in contents(folder).items()}
    for path in sorted(folder.rglob("*.npz")):
        path.unlink()
    with killed_in_a_file("savez", after):
        run()
    left = contents(folder)
    assert sum(name.endswith(".npz") for name in left) == after
    assert all(data == whole[name] for name, (_, data) in left.items())
    run()
    assert changed(folder, left) - {"blocks.json"} == set(whole) - set(left)
    assert {name: data for name, (_, data) in contents(folder).items()} == whole


def test_a_half_file_under_a_temporary_name_is_no_map(run: Run, dataset: Dataset) -> None:
    """What is left where a process had no time to tidy up."""
    folder = run()
    before = contents(folder)
    (folder / "test" / "p3.npz").rename(folder / "test" / ".part-1-p3.npz")
    assert ids(dataset, folder / "test") == ["p2", "p4"]
    run()
    assert contents(folder)["test/p3.npz"][1] == before["test/p3.npz"][1]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(Problem, match="a.npz: raw maps that cannot be read"):
        load_scores(path)
