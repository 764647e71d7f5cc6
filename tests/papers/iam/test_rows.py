"""Rows of IAM's tables on toy photographs: which there are, and that each is its own method's."""
from dataclasses import replace

import numpy as np
import pytest
from iam_toys import MASKS, NETWORK, SETTINGS, toy_dataset, toy_fcn, toy_filling, toy_proposals

from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.papers.iam.instances import by_convcrf, iam_instances, prm_instances, unrefined
from lib.papers.iam.rows import (
    RowKey,
    Rows,
    crf_rows,
    map_rows,
    other_refinements,
    scenes,
    table_rows,
    unseen_rows,
)
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.studies import proposal_table
from lib.papers.iam.trained import Trained

JOBS = [FillingJob(5, 0), FillingJob(1, 0), FillingJob(5, 3), FillingJob(1, 3), FillingJob(5, 0, unseen=True)]
WAYS = ["rect", "ellipse", "mcg"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("rows")
    dataset = toy_dataset(folder / "colours", 1, 1, 4)
    proposals = toy_proposals(dataset, folder / "proposals")
    fillings = {job: toy_filling(number) for number, job in enumerate(JOBS)}
    network = replace(NETWORK, k=[5, 1], seeds=[0, 3])
    return Trained(dataset, toy_fcn(), fillings, network, SETTINGS, proposals)


@pytest.fixture(scope="module")
def samples(trained: Trained) -> list[Sample]:
    return trained.dataset.split("test")


def cams(*shares: float) -> list[RowKey]:
    return [RowKey(f"cam_{way}", share=share) for share in shares for way in WAYS]


def scores(rows: Rows, key: RowKey) -> list[list[float]]:
    """Image by image the confidences of a row's masks."""
    return [one.compared.scores.tolist() for one in rows[key]]


def test_rows_of_table_1(trained: Trained, samples: list[Sample]) -> None:
    """PRM, IAM by seed and k, what refines otherwise, CAM by share, truth boxes; an entry an image."""
    rows = table_rows(trained, samples, [1, 5], [0.3, 0.5], "test", {"iam_s5_unrefined": unrefined})
    iam = [RowKey(f"iam_s{k}", seed=seed) for seed in (0, 3) for k in (1, 5)]
    truth = [RowKey(f"gt_box_{way}") for way in WAYS]
    assert list(rows) == [RowKey("prm"), *iam, RowKey("iam_s5_unrefined"), *cams(0.3, 0.5), *truth]
    assert all(len(images) == len(samples) for images in rows.values())
    assert all(np.isinf(image.values).all() for key in (*cams(0.3, 0.5), *truth) for image in rows[key])
    without_boxes = table_rows(trained, samples, [1, 5], [], "test")
    assert list(without_boxes) == [RowKey("prm"), *iam]


def test_each_row_is_its_own_methods(trained: Trained, samples: list[Sample]) -> None:
    rows = table_rows(trained, samples, [1, 5], [], "test", {"iam_s5_unrefined": unrefined})
    refine = by_convcrf(MASKS.crf)
    for place, scene in enumerate(scenes(trained, samples, JOBS, "test")):
        prm = prm_instances(scene.output, scene.proposals, scene.shape, SETTINGS)
        assert scores(rows, RowKey("prm"))[place] == prm.scores.tolist()
        for job in JOBS[:4]:
            own = iam_instances(scene.photo, scene.output, scene.activations[job], SETTINGS, refine)
            key = RowKey(f"iam_s{job.k}", seed=job.seed)
            assert rows[key][place].compared.iou.shape == (len(own.masks), len(scene.classes))
            assert scores(rows, key)[place] == own.scores.tolist()
        plain = iam_instances(scene.photo, scene.output, scene.activations[JOBS[0]], SETTINGS, unrefined)
        assert scores(rows, RowKey("iam_s5_unrefined"))[place] == plain.scores.tolist()


def test_rows_by_crf(trained: Trained, samples: list[Sample]) -> None:
    """Each CRF its own row, and the one of the tables as in them."""
    crfs = {"chosen": MASKS.crf, "other": replace(MASKS.crf, bilateral=50)}
    rows = crf_rows(trained, samples, crfs, "test")
    assert list(rows) == [RowKey("chosen"), RowKey("other"), RowKey("unrefined")]
    table = table_rows(trained, samples, [5], [], "test", other_refinements(SETTINGS))
    assert list(table)[-2:] == [RowKey("iam_s5_unrefined"), RowKey("iam_s5_dense_crf")]
    for ours, theirs in ((RowKey("chosen"), RowKey("iam_s5", seed=0)),
                         (RowKey("unrefined"), RowKey("iam_s5_unrefined"))):
        for one, other in zip(rows[ours], table[theirs], strict=True):
            assert np.array_equal(one.compared.iou, other.compared.iou)


def test_rows_of_held_out_classes(trained: Trained, samples: list[Sample]) -> None:
    """The main module's, and that of the one that never saw them."""
    rows = unseen_rows(trained, samples, [0.4], "test")
    assert list(rows) == [RowKey("prm"), RowKey("iam"), RowKey("iam_unseen"), *cams(0.4)]
    table = table_rows(trained, samples, [5], [], "test")
    assert scores(rows, RowKey("iam")) == scores(table, RowKey("iam_s5", seed=0))
    differ = [not np.array_equal(one.compared.iou, other.compared.iou)
              for one, other in zip(rows[RowKey("iam")], rows[RowKey("iam_unseen")], strict=True)]
    assert any(differ)


def test_maps_at_their_best(trained: Trained, samples: list[Sample]) -> None:
    """A map for every peak of either kind, of the peak's class."""
    rows = map_rows(trained, samples, "test")
    assert list(rows) == ["prm", "iam"] and [len(images) for images in rows.values()] == [4, 4]
    for place, scene in enumerate(scenes(trained, samples, [], "test")):
        for images in rows.values():
            assert images[place].classes.tolist() == scene.output.peaks.label.tolist()


def test_quality_of_proposals(trained: Trained, samples: list[Sample]) -> None:
    """Every object is a proposal of its own; one or two objects an image have six or nine."""
    rows, comparisons = proposal_table(trained, samples, Chance(20, 0.95, 0))
    assert comparisons == {} and list(rows) == ["proposals"]
    assert rows["proposals"]["abo"]["mean"] == rows["proposals"]["recall70"]["mean"] == 100
    assert rows["proposals"]["proposals"]["mean"] == (3 * 6 + 9) / 4
