"""What the stage iam_rows finds in images: as the methods find it, whole after a file, resumed, by shares."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from iam_toys import NETWORK, SETTINGS, toy_dataset, toy_fcn, toy_filling, toy_proposals

from lib.base.problem import Problem
from lib.base.shards import Shard
from lib.data.dataset import Sample
from lib.metrics.instances import Compared
from lib.papers.iam import findings as module
from lib.papers.iam.findings import Findings, compute, findings_of, look, read, write
from lib.papers.iam.instances import prm_instances
from lib.papers.iam.rows import RowKey, SceneRows, best_of_maps, scenes
from lib.papers.iam.settings import FillingJob, IamConstants
from lib.papers.iam.trained import Trained

JOBS = [FillingJob(k, 0) for k in (1, 5, 9, 3)] + [FillingJob(5, 0, unseen=True)]
TRIED = IamConstants(peaks=[0, 1], cams=[0.3, 0.5], crfs={"strong": {"bilateral": 50}})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("findings")
    dataset = toy_dataset(folder / "colours", 1, 3, 10)
    proposals = toy_proposals(dataset, folder / "proposals")
    fillings = {job: toy_filling(number) for number, job in enumerate(JOBS)}
    return Trained(dataset, toy_fcn(), fillings, replace(NETWORK, k=[1, 5, 9, 3]), SETTINGS, proposals)


@pytest.fixture(scope="module")
def samples(trained: Trained) -> dict[str, list[Sample]]:
    return {split: trained.dataset.split(split) for split in ("val", "test")}


@pytest.fixture(scope="module")
def folder(trained: Trained, samples: dict[str, list[Sample]],
           tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build") / "smoke" / "iam_rows" / "toy"
    compute(trained, TRIED, samples, folder, {"weights": "x"})
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUILD", folder.parents[2])


def same(one: Compared, other: Compared) -> bool:
    return all(np.array_equal(value, vars(other)[name]) for name, value in vars(one).items())


def same_rows(one: SceneRows, other: SceneRows) -> bool:
    return list(one) == list(other) and all(
        same(one[key].compared, other[key].compared) and np.array_equal(one[key].values, other[key].values)
        for key in one)


def check(found: Findings, direct: Findings) -> None:
    assert same_rows(found.tables, direct.tables) and same_rows(found.crfs, direct.crfs)
    assert list(found.maps) == list(direct.maps)
    assert all(same(found.maps[kind], direct.maps[kind]) for kind in found.maps)
    assert list(found.targets) == list(direct.targets) and found.arrows == direct.arrows


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_file_holds_what_was_found(split: str, trained: Trained, samples: dict[str, list[Sample]],
                                     tmp_path: Path) -> None:
    """To the last digit."""
    direct = {scene.sample.id: look(trained, TRIED, scene, split)
              for scene in scenes(trained, samples[split], JOBS, "test")}
    path = tmp_path / "0000.npz"
    write(path, direct)
    known = read(path)
    assert list(known) == list(direct)
    for id, findings in direct.items():
        check(known[id], findings)
        assert sum(len(rated.values) for rated in findings.tables.values()) > 5


@pytest.mark.usefixtures("here")
def test_the_stage_finds_what_the_methods_find(trained: Trained, samples: dict[str, list[Sample]],
                                               folder: Path) -> None:
    """Over two files of test images."""
    assert len(list((folder / "test").glob("*.npz"))) == 2
    kept = findings_of("smoke", "toy", samples["test"])
    for scene in scenes(trained, samples["test"], JOBS, "test"):
        prm = prm_instances(scene.output, scene.proposals, scene.shape, SETTINGS)
        found = kept.images[scene.sample.id]
        assert found.tables[RowKey("prm")].values == pytest.approx(prm.values, abs=1e-4)
        best = best_of_maps(trained, scene)["iam"]
        assert found.maps["iam"].iou == pytest.approx(best.iou, abs=0.02)


@pytest.mark.usefixtures("here")
def test_each_notebook_has_its_rows(samples: dict[str, list[Sample]]) -> None:
    kept = findings_of("smoke", "toy", samples["test"])
    iam = {k: RowKey(f"iam_s{k}", seed=0) for k in (1, 3, 5, 9)}
    cams = [RowKey(f"cam_{way}", share=share) for share in TRIED.cams for way in ("rect", "ellipse", "mcg")]
    table = kept.table_1()
    assert {RowKey("prm"), iam[1], iam[5], iam[9], RowKey("iam_s5_dense_crf"), *cams} <= set(table)
    assert iam[3] not in table and not any("unseen" in key.name for key in table)
    assert list(kept.by_k([3, 5])) == [RowKey("prm"), iam[3], iam[5]]
    unseen = kept.unseen(FillingJob(5, 0))
    assert list(unseen) == [RowKey("prm"), RowKey("iam"), RowKey("iam_unseen"), *cams]
    assert all(same(one.compared, other.compared)
               for one, other in zip(unseen[RowKey("iam")], table[iam[5]], strict=True))
    assert list(kept.maps()) == ["prm", "iam"] and len(kept.maps()["iam"]) == len(kept.arrows()) == 10
    on_val = findings_of("smoke", "toy", samples["val"])
    assert [key.name for key in on_val.crfs()] == ["chosen", "strong", "unrefined"]
    assert len(on_val.targets()) == 3 and any(on_val.targets())


@pytest.mark.usefixtures("here")
def test_images_come_as_they_are_asked_for(samples: dict[str, list[Sample]]) -> None:
    few = [samples["test"][7], samples["test"][2]]
    rows = findings_of("smoke", "toy", few).by_k([5])
    every = findings_of("smoke", "toy", samples["test"]).by_k([5])
    for place, image in enumerate((7, 2)):
        assert same(rows[RowKey("prm")][place].compared, every[RowKey("prm")][image].compared)


@pytest.mark.usefixtures("here")
def test_an_image_that_was_not_looked_at_is_named(samples: dict[str, list[Sample]]) -> None:
    stranger = replace(samples["test"][0], id="stranger")
    with pytest.raises(Problem, match='nothing was found in the image "stranger" yet; run the stage'):
        findings_of("smoke", "toy", [stranger])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0000.npz"
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(Problem, match=r"0000\.npz: cannot be read .*; delete it and run the stage iam_rows"):
        read(path)


def test_two_shares_make_what_one_run_makes(trained: Trained, samples: dict[str, list[Sample]], folder: Path,
                                            tmp_path: Path) -> None:
    for number in (1, 2):
        compute(trained, TRIED, samples, tmp_path, {"weights": "x"}, Shard(number, 2))
    whole = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.npz")}
    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.npz")} == whole


def test_what_is_there_is_kept_until_something_else_is_decisive(
        trained: Trained, samples: dict[str, list[Sample]], tmp_path: Path) -> None:
    few = {"test": samples["test"][:2]}
    compute(trained, TRIED, few, tmp_path, {"weights": "x"})
    path = tmp_path / "test" / "0000.npz"
    before = path.stat().st_mtime_ns
    compute(trained, replace(TRIED, peaks=[5]), few, tmp_path, {"weights": "x"})   # a matter of the notebooks
    assert path.stat().st_mtime_ns == before
    compute(trained, replace(TRIED, cams=[0.4]), few, tmp_path, {"weights": "x"})
    assert path.stat().st_mtime_ns != before
