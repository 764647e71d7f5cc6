"""IAM's tables on hand-made comparisons: each image has one object unless it is said otherwise, so that every score is known."""
from types import SimpleNamespace

import numpy as np
import pytest

from lib.base.problem import Problem
from lib.metrics.bootstrap import draws
from lib.metrics.instances import Compared
from lib.papers.iam.rows import Rated, iam_row, same_classes
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.tables import (
    best_least,
    by_seed,
    chosen_rows,
    class_table,
    instance_scores,
    overall,
    scores_over_seeds,
    table,
    worst_class,
)

CHANCE = (200, 0.95, 0)
INF = float("inf")


def image(iou: list[float], scores: list[float] | None = None, classes: list[int] | None = None, truth: int = 0) -> Compared:
    """Predictions that overlap the one object so much."""
    classes, scores = classes or [0] * len(iou), scores or [0.5] * len(iou)
    return Compared(np.array(classes, dtype=int), np.array(scores, dtype=float), np.array(iou, dtype=float).reshape(-1, 1), np.array([truth]), np.array([0.2]))


def rated(iou: list[float], scores: list[float], values: list[float]) -> Rated:
    return Rated(image(iou, scores), np.array(values, dtype=float))


NOISY = rated([0.9, 0.0], [0.5, 0.9], [5, 1])     # a lower peak that is wrong, and surer
FAINT = rated([0.9, 0.0], [0.5, 0.9], [1, 5])     # the other way round: the right one is the lower peak


def test_above_leaves_the_truth_as_it_is() -> None:
    kept = NOISY.above(1)
    assert kept.iou.tolist() == [[0.9]] and kept.scores.tolist() == [0.5] and kept.classes.tolist() == [0]
    assert kept.truth_classes.tolist() == [0] and kept.truth_shares.tolist() == [0.2]
    assert NOISY.above(0.99).iou.shape == (2, 1) and NOISY.above(5).iou.shape == (0, 1)   # as high as the least is not above it
    assert rated([0.9], [1.0], [INF]).above(1000).iou.tolist() == [[0.9]]


def test_overall_is_the_mean_over_three_overlaps() -> None:
    assert overall([image([0.6])]) == pytest.approx(200 / 3)
    assert overall([image([0.6]), image([0.2])]) == pytest.approx(100 * (0.25 + 0.25) / 3)   # the wrong one shares the rank: half right, of two objects
    assert overall([image([])]) == 0


def test_least_value_is_the_best_and_the_lowest_of_equals() -> None:
    assert best_least([[NOISY]], [0, 1, 2, 5]) == 1
    assert best_least([[FAINT]], [0, 1, 2]) == 0
    assert best_least([[FAINT, FAINT], [NOISY, NOISY]], [0, 1]) == 0   # 50 and 50, against 0 and 100
    assert best_least([[FAINT, FAINT], [NOISY, NOISY], [NOISY, NOISY]], [0, 1]) == 1


def test_seeds_of_a_row() -> None:
    iam = {iam_row(FillingJob(5, 0)): [FAINT], iam_row(FillingJob(9, 0)): [NOISY], iam_row(FillingJob(5, 11)): [NOISY]}
    rows = {"prm": [NOISY], **iam, "cam_rect 0.3": [FAINT]}
    assert by_seed(rows) == {"prm": [[NOISY]], "iam_s5": [[FAINT], [NOISY]], "iam_s9": [[NOISY]], "cam_rect 0.3": [[FAINT]]}


def test_constants_come_from_validation_alone() -> None:
    """On every test image another constant would be better."""
    good, bad = rated([0.8], [0.5], [INF]), rated([0.1], [0.5], [INF])
    val = {"prm": [NOISY], "iam_s5 seed 0": [NOISY], "iam_s5 seed 1": [NOISY], "cam_rect 0.3": [bad], "cam_rect 0.5": [good], "cam_rect 0.7": [bad],
           "cam_ellipse 0.3": [good], "cam_ellipse 0.5": [bad], "gt_box_rect": [good]}
    test = {"prm": [FAINT, FAINT], "iam_s5 seed 0": [FAINT, FAINT], "iam_s5 seed 1": [NOISY, FAINT], "cam_rect 0.3": [good, good], "cam_rect 0.5": [bad, good],
            "cam_rect 0.7": [good, good], "cam_ellipse 0.3": [bad, good], "cam_ellipse 0.5": [good, good], "gt_box_rect": [good, bad]}
    found, constants = chosen_rows(val, test, [0, 1, 2])
    assert constants == {"prm": {"least": 1}, "iam_s5": {"least": 1}, "cam_rect": {"cam_share": 0.5}, "cam_ellipse": {"cam_share": 0.3}, "gt_box_rect": {}}
    assert set(found) == set(constants)
    iou = {row: [[one.iou[:, 0].tolist() for one in images] for images in seeds] for row, seeds in found.items()}
    assert iou == {"prm": [[[0.0], [0.0]]], "iam_s5": [[[0.0], [0.0]], [[0.9], [0.0]]], "cam_rect": [[[0.1], [0.8]]], "cam_ellipse": [[[0.1], [0.8]]],
                   "gt_box_rect": [[[0.8], [0.1]]]}


def test_a_row_without_any_mask_in_validation_has_a_constant_too() -> None:
    found, constants = chosen_rows({"iam_s5 seed 0": [rated([], [], [])]}, {"iam_s5 seed 0": [NOISY]}, [0.0, 2.0])
    assert constants == {"iam_s5": {"least": 0.0}} and len(found["iam_s5"][0][0].scores) == 2


SEEDS = [[image([0.9]), image([0.3]), image([0.8])], [image([0.6]), image([0.3]), image([0.55])]]


def test_scores_are_means_over_seeds() -> None:
    found = scores_over_seeds(SEEDS, CHANCE)
    assert set(found) == {"map25", "map50", "map75", "abo"} and all(values.shape == (201,) for values in found.values())
    assert found["abo"][0] == pytest.approx(100 * (0.9 + 0.3 + 0.8 + 0.6 + 0.3 + 0.55) / 6) and found["map25"][0] == pytest.approx(100)
    assert found["map50"][0] == pytest.approx(100 * 4 / 9)   # all scores are equal: two of three predictions are right, and two of three objects found
    weights, chosen = draws(3, 200, 0), draws(2, 200, 1)
    each = np.stack([weights @ [90, 30, 80], weights @ [60, 30, 55]], axis=1)
    assert np.allclose(found["abo"], (each * chosen).sum(1)) and found["abo"].std() > 1


def test_draws_are_the_same_for_every_row() -> None:
    """What is ten points better on every image and seed is so in every draw."""
    better = [[Compared(one.classes, one.scores, one.iou + 0.1, one.truth_classes, one.truth_shares) for one in images] for images in SEEDS]
    assert np.allclose(scores_over_seeds(better, CHANCE)["abo"] - scores_over_seeds(SEEDS, CHANCE)["abo"], 10)
    rows, compared = table({"a": better, "b": SEEDS}, {"a": {"least": 4}}, [("a", "b"), ("a", "none"), ("none", "b")], CHANCE)
    assert set(compared) == {"a - b", "a / b"} and compared["a - b"]["abo"] == pytest.approx({"mean": 10, "low": 10, "high": 10})
    assert rows["a"]["least"] == {"mean": 4, "low": 4, "high": 4} and set(rows["b"]) == {"map25", "map50", "map75", "abo"}
    assert rows["a"]["abo"]["mean"] == pytest.approx(rows["b"]["abo"]["mean"] + 10) and rows["b"]["abo"]["low"] < rows["b"]["abo"]["mean"]


def test_any_prediction_counts_for_abo_and_only_the_class_for_map() -> None:
    wrong = image([0.9], classes=[1])
    found = instance_scores([wrong], np.ones((1, 1)))
    assert found["abo"][0] == pytest.approx(90) and found["map25"][0] == 0


# by class

def both(prm: list[tuple[int, float]], iam: list[tuple[int, float]]) -> dict[str, Compared]:
    """(class, IoU) of the maps of one image."""
    return {row: image([iou for _, iou in maps], classes=[k for k, _ in maps]) for row, maps in (("prm", prm), ("iam", iam))}


IMAGES = [both([(0, 0.3), (0, 0.5)], [(0, 0.5), (0, 0.7)]), both([(1, 0.5)], [(1, 0.55)])]
MAPS = {row: [one[row] for one in IMAGES] for row in ("prm", "iam")}


def test_class_table_by_hand() -> None:
    rows, compared = class_table(MAPS, ["dog", "cat", "cow"], CHANCE)
    assert {row: values["iou_class"]["mean"] for row, values in rows.items()} == pytest.approx(
        {"dog, PRM": 40, "dog, IAM": 60, "cat, PRM": 50, "cat, IAM": 55, "all classes, PRM": 45, "all classes, IAM": 57.5})   # no map is of a cow
    assert {key: values["iou_class"]["mean"] for key, values in compared.items()} == pytest.approx(
        {"dog, IAM - dog, PRM": 20, "dog, IAM / dog, PRM": 1.5, "cat, IAM - cat, PRM": 5, "cat, IAM / cat, PRM": 1.1,
         "all classes, IAM - all classes, PRM": 12.5, "all classes, IAM / all classes, PRM": 57.5 / 45})
    assert rows["cat, PRM"]["iou_class"] == pytest.approx({"mean": 50, "low": 50, "high": 50})   # draws without a cat say nothing about it


def test_a_class_with_maps_of_one_kind_has_no_row() -> None:
    rows, _ = class_table({"prm": MAPS["prm"], "iam": [MAPS["iam"][0], image([])]}, ["dog", "cat"], CHANCE)
    assert set(rows) == {"dog, PRM", "dog, IAM", "all classes, PRM", "all classes, IAM"}


def test_the_class_that_gains_least() -> None:
    scores, gaps = class_table(MAPS, ["dog", "cat", "cow"], CHANCE)
    assert worst_class(scores, gaps) == ({}, {})   # every class is in one image: no interval
    for values in gaps.values():
        values["iou_class"]["low"] -= 1
    rows, compared = worst_class(scores, gaps)
    assert set(rows) == {"prm", "iam"} and rows["iam"]["iou_class"]["mean"] == pytest.approx(55) and rows["prm"]["iou_class"]["mean"] == pytest.approx(50)
    assert {key: values["iou_class"]["mean"] for key, values in compared.items()} == pytest.approx({"iam - prm": 5, "iam / prm": 1.1})


def test_classes_must_be_the_same_in_the_same_order() -> None:
    same_classes(SimpleNamespace(classes=("dog", "cat")), SimpleNamespace(classes=["dog", "cat"], folder="pets"))
    for others in (("cat", "dog"), ("dog",)):
        with pytest.raises(Problem, match="^pets: its classes are not those.*; give"):
            same_classes(SimpleNamespace(classes=others), SimpleNamespace(classes=["dog", "cat"], folder="pets"))
