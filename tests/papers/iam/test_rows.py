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
    best_of_maps,
    box_rows,
    crf_refinements,
    other_refinements,
    peak_rows,
    refined_rows,
    scenes,
    table_rows,
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


def test_rows_of_peaks(trained: Trained, samples: list[Sample]) -> None:
    """PRM, IAM by seed and k, and what refines otherwise; an entry an image."""
    rows = table_rows(trained, samples, [1, 5], "test", {"iam_s5_unrefined": unrefined})
    iam = [RowKey(f"iam_s{k}", seed=seed) for seed in (0, 3) for k in (1, 5)]
    assert list(rows) == [RowKey("prm"), *iam, RowKey("iam_s5_unrefined")]
    assert all(len(images) == len(samples) for images in rows.values())


def test_rows_of_boxes(trained: Trained, samples: list[Sample]) -> None:
    """CAM by share and truth boxes, by all ways; no mask comes from a peak."""
    truth = [RowKey(f"gt_box_{way}") for way in WAYS]
    for scene in scenes(trained, samples, [], "test"):
        rows = box_rows(scene, [0.3, 0.5])
        assert list(rows) == [*cams(0.3, 0.5), *truth]
        assert all(np.isinf(rated.values).all() for rated in rows.values())


def test_each_row_is_its_own_methods(trained: Trained, samples: list[Sample]) -> None:
    rows = table_rows(trained, samples, [1, 5], "test", {"iam_s5_unrefined": unrefined})
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
    crfs = crf_refinements({"chosen": MASKS.crf, "other": replace(MASKS.crf, bilateral=50)})
    others = other_refinements(SETTINGS)
    for scene in scenes(trained, samples, [JOBS[0]], "test"):
        rows = refined_rows(trained, scene, crfs)
        assert list(rows) == [RowKey("chosen"), RowKey("other"), RowKey("unrefined")]
        beside = refined_rows(trained, scene, others)
        assert list(beside) == [RowKey("iam_s5_unrefined"), RowKey("iam_s5_dense_crf")]
        table = peak_rows(trained, scene, [JOBS[0]])
        assert np.array_equal(rows[RowKey("chosen")].compared.iou,
                              table[RowKey("iam_s5", seed=0)].compared.iou)
        assert np.array_equal(rows[RowKey("unrefined")].compared.iou,
                              beside[RowKey("iam_s5_unrefined")].compared.iou)


def test_row_of_the_module_that_never_saw_some_classes(trained: Trained, samples: list[Sample]) -> None:
    differ = []
    for scene in scenes(trained, samples, [JOBS[0], JOBS[4]], "test"):
        rows = peak_rows(trained, scene, [JOBS[0], JOBS[4]])
        seen, unseen = rows[RowKey("iam_s5", seed=0)], rows[RowKey("iam_unseen", seed=0)]
        differ.append(not np.array_equal(seen.compared.iou, unseen.compared.iou))
    assert any(differ)


def test_maps_at_their_best(trained: Trained, samples: list[Sample]) -> None:
    """A map for every peak of either kind, of the peak's class."""
    for scene in scenes(trained, samples, [JOBS[0]], "test"):
        rows = best_of_maps(trained, scene)
        assert list(rows) == ["prm", "iam"]
        for compared in rows.values():
            assert compared.classes.tolist() == scene.output.peaks.label.tolist()


def test_quality_of_proposals(trained: Trained, samples: list[Sample]) -> None:
    """Every object is a proposal of its own; one or two objects an image have six or nine."""
    rows, comparisons = proposal_table(trained, samples, Chance(20, 0.95, 0))
    assert comparisons == {} and list(rows) == ["proposals"]
    assert rows["proposals"]["abo"]["mean"] == rows["proposals"]["recall70"]["mean"] == 100
    assert rows["proposals"]["proposals"]["mean"] == (3 * 6 + 9) / 4
