"""IAM's tables on hand-made comparisons: each image has one object, so that every score is known."""
from dataclasses import replace

import numpy as np
import pytest

from lib.metrics.bootstrap import Chance, interval
from lib.metrics.instances import Compared
from lib.papers.iam.rows import Rated, RowKey, iam_row
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.tables import (
    BARS,
    PAIRS,
    ChosenRows,
    best_least,
    by_seed,
    choose,
    class_groups,
    class_table,
    curves_by_k,
    every_peak,
    gain_table,
    instance_scores,
    instance_table,
    metric_groups,
    not_better,
    overall,
    pairs_of,
    scores_over_seeds,
    worst_class,
)

CHANCE = Chance(200, 0.95, 0)
INF = float("inf")


def image(iou: list[float], scores: list[float] | None = None, classes: list[int] | None = None,
          truth: int = 0) -> Compared:
    """Predictions that overlap the one object so much."""
    classes = classes or [0] * len(iou)
    scores = scores or [0.5] * len(iou)
    return Compared(np.array(classes, dtype=int), np.array(scores, dtype=float),
                    np.array(iou, dtype=float).reshape(-1, 1), np.array([truth]), np.array([0.2]))


def rated(iou: list[float], scores: list[float], values: list[float]) -> Rated:
    return Rated(image(iou, scores), np.array(values, dtype=float))


def boxed(iou: float) -> Rated:
    """A mask from a box."""
    return rated([iou], [0.5], [INF])


NOISY = rated([0.9, 0.0], [0.5, 0.9], [5, 1])     # a lower peak that is wrong, and surer
FAINT = rated([0.9, 0.0], [0.5, 0.9], [1, 5])     # the other way round: the right one is the lower peak


def s5(seed: int) -> RowKey:
    return iam_row(FillingJob(5, seed))


def test_above_leaves_the_truth_as_it_is() -> None:
    kept = NOISY.above(1)
    assert kept.iou.tolist() == [[0.9]] and kept.scores.tolist() == [0.5] and kept.classes.tolist() == [0]
    assert kept.truth_classes.tolist() == [0] and kept.truth_shares.tolist() == [0.2]
    # As high as the least is not above it.
    assert NOISY.above(0.99).iou.shape == (2, 1) and NOISY.above(5).iou.shape == (0, 1)
    assert boxed(0.9).above(1000).iou.tolist() == [[0.9]]


def test_overall_is_the_mean_over_three_overlaps() -> None:
    assert overall([image([0.6])]) == pytest.approx(200 / 3)
    # The wrong one shares the rank: half right, of two objects.
    assert overall([image([0.6]), image([0.2])]) == pytest.approx(100 * (0.25 + 0.25) / 3)
    assert overall([image([])]) == 0


def test_least_value_is_the_best_and_the_lowest_of_equals() -> None:
    assert best_least([[NOISY]], [0, 1, 2, 5]) == 1
    assert best_least([[FAINT]], [0, 1, 2]) == 0
    assert best_least([[FAINT, FAINT], [NOISY, NOISY]], [0, 1]) == 0   # 50 and 50, against 0 and 100
    assert best_least([[FAINT, FAINT], [NOISY, NOISY], [NOISY, NOISY]], [0, 1]) == 1


def test_seeds_of_a_row() -> None:
    """Rows of several seeds are one; those of other k, and of other shares, are others."""
    low, high = RowKey("cam_rect", share=0.3), RowKey("cam_rect", share=0.5)
    rows = {RowKey("prm"): [NOISY], s5(0): [FAINT], iam_row(FillingJob(9, 0)): [NOISY], s5(11): [NOISY],
            low: [FAINT], high: [NOISY]}
    assert by_seed(rows) == {RowKey("prm"): [[NOISY]], RowKey("iam_s5"): [[FAINT], [NOISY]],
                             RowKey("iam_s9"): [[NOISY]], low: [[FAINT]], high: [[NOISY]]}


def first_overlaps(chosen: ChosenRows, row: str) -> list[list[list[float]]]:
    """Seed by seed and image by image the overlaps with the first object."""
    found = []
    for images in chosen.rows[row]:
        found.append([one.iou[:, 0].tolist() for one in images])
    return found


def test_constants_come_from_validation_alone() -> None:
    """On every test image another constant would be better."""
    good, bad = boxed(0.8), boxed(0.1)
    rect = {share: RowKey("cam_rect", share=share) for share in (0.3, 0.5, 0.7)}
    ellipse = {share: RowKey("cam_ellipse", share=share) for share in (0.3, 0.5)}
    val = {RowKey("prm"): [NOISY], s5(0): [NOISY], s5(1): [NOISY], rect[0.3]: [bad], rect[0.5]: [good],
           rect[0.7]: [bad], ellipse[0.3]: [good], ellipse[0.5]: [bad], RowKey("gt_box_rect"): [good]}
    test = {RowKey("prm"): [FAINT, FAINT], s5(0): [FAINT, FAINT], s5(1): [NOISY, FAINT],
            rect[0.3]: [good, good], rect[0.5]: [bad, good], rect[0.7]: [good, good],
            ellipse[0.3]: [bad, good], ellipse[0.5]: [good, good], RowKey("gt_box_rect"): [good, bad]}
    chosen = choose(val, test, [0, 1, 2])
    assert chosen.constants == {"prm": {"least": 1}, "iam_s5": {"least": 1}, "cam_rect": {"cam_share": 0.5},
                                "cam_ellipse": {"cam_share": 0.3}, "gt_box_rect": {}}
    assert set(chosen.rows) == set(chosen.constants)
    assert first_overlaps(chosen, "prm") == [[[0.0], [0.0]]]
    assert first_overlaps(chosen, "iam_s5") == [[[0.0], [0.0]], [[0.9], [0.0]]]
    assert first_overlaps(chosen, "cam_rect") == [[[0.1], [0.8]]]
    assert first_overlaps(chosen, "cam_ellipse") == [[[0.1], [0.8]]]
    assert first_overlaps(chosen, "gt_box_rect") == [[[0.8], [0.1]]]
    last = chosen.at([1])
    assert first_overlaps(last, "iam_s5") == [[[0.0]], [[0.0]]] and last.constants == chosen.constants


def test_a_row_without_any_mask_in_validation_has_a_constant_too() -> None:
    chosen = choose({s5(0): [rated([], [], [])]}, {s5(0): [NOISY]}, [0.0, 2.0])
    assert chosen.constants == {"iam_s5": {"least": 0.0}}
    assert len(chosen.rows["iam_s5"][0][0].scores) == 2


def test_every_peak_counts_where_nothing_is_chosen() -> None:
    chosen = every_peak({RowKey("prm"): [NOISY, FAINT], s5(0): [FAINT], s5(1): [NOISY]})
    assert chosen.constants == {} and list(chosen.rows) == ["prm", "iam_s5"]
    assert chosen.rows["prm"] == [[NOISY.compared, FAINT.compared]]
    assert chosen.rows["iam_s5"] == [[FAINT.compared], [NOISY.compared]]


SEEDS = [[image([0.9]), image([0.3]), image([0.8])], [image([0.6]), image([0.3]), image([0.55])]]
METRICS = {"map25", "map50", "map75", "abo"}


def better(images: list[Compared]) -> list[Compared]:
    """Ten points more on every image."""
    return [replace(one, iou=one.iou + 0.1) for one in images]


def test_scores_are_means_over_seeds() -> None:
    found = scores_over_seeds(SEEDS, CHANCE)
    assert set(found) == METRICS and all(values.shape == (201,) for values in found.values())
    assert found["abo"][0] == pytest.approx(100 * (0.9 + 0.3 + 0.8 + 0.6 + 0.3 + 0.55) / 6)
    assert found["map25"][0] == pytest.approx(100)
    # All scores are equal: two of three predictions are right, and two of three objects found.
    assert found["map50"][0] == pytest.approx(100 * 4 / 9)
    weights = CHANCE.draws(3)
    chosen_seeds = Chance(200, 0.95, 1).draws(2)
    each = np.stack([weights @ [90, 30, 80], weights @ [60, 30, 55]], axis=1)
    assert np.allclose(found["abo"], (each * chosen_seeds).sum(1)) and found["abo"].std() > 1


def test_draws_are_the_same_for_every_row() -> None:
    """A row that is ten points better on every image and seed is so in every draw."""
    more = [better(images) for images in SEEDS]
    difference = scores_over_seeds(more, CHANCE)["abo"] - scores_over_seeds(SEEDS, CHANCE)["abo"]
    assert np.allclose(difference, 10)
    chosen = ChosenRows({"a": more, "b": SEEDS}, {"a": {"least": 4}, "b": {}})
    rows, compared = instance_table(chosen, [("a", "b"), ("a", "none"), ("none", "b")], CHANCE)
    assert set(compared) == {"a - b", "a / b"}
    assert compared["a - b"]["abo"] == pytest.approx({"mean": 10, "low": 10, "high": 10})
    assert rows["a"]["least"] == {"mean": 4, "low": 4, "high": 4} and set(rows["b"]) == METRICS
    assert rows["a"]["abo"]["mean"] == pytest.approx(rows["b"]["abo"]["mean"] + 10)
    assert rows["b"]["abo"]["low"] < rows["b"]["abo"]["mean"]


def test_bars_and_lines_of_the_figures() -> None:
    """By metric as figures name it, rows of table 1 or values of k."""
    rows = {}
    for row in BARS:
        rows[row] = {metric: (row, metric) for metric in METRICS}
    groups = metric_groups(rows)
    assert list(groups) == ["mAPʳ 0.25", "mAPʳ 0.5", "mAPʳ 0.75", "ABO"]
    assert list(groups["ABO"]) == BARS and groups["mAPʳ 0.75"]["prm"] == ("prm", "map75")
    lines = curves_by_k(rows, [1, 9])
    assert list(lines) == list(groups) and lines["ABO"] == {1: ("iam_s1", "abo"), 9: ("iam_s9", "abo")}


def test_what_is_compared() -> None:
    assert pairs_of([1, 5]) == [("iam_s1", "iam_s5"), ("iam_s5", "iam_s1"), ("iam_s1", "prm"),
                                ("iam_s5", "prm")]
    assert len(PAIRS) == len(set(PAIRS)) == 14


def test_gains_of_iam_s5_over_prm_in_percent() -> None:
    """ABO 60 against 40: half as much again."""
    chosen = ChosenRows({"prm": [[image([0.4])]], "iam_s5": [[image([0.6])]], "iam_s9": [[image([0.1])]]})
    rows, compared = gain_table(chosen, CHANCE)
    assert list(rows) == ["map25", "map50", "map75", "abo"]
    assert rows["abo"]["gain"]["mean"] == pytest.approx(50)
    assert rows["map25"]["gain"]["mean"] == pytest.approx(0)
    assert compared["abo - map25"]["gain"]["mean"] == pytest.approx(50) and len(compared) == 2 * 4 * 3


def test_any_prediction_counts_for_abo_and_only_the_class_for_map() -> None:
    wrong = image([0.9], classes=[1])
    found = instance_scores([wrong], np.ones((1, 1)))
    assert found["abo"][0] == pytest.approx(90) and found["map25"][0] == 0


# by class

def maps_of(*maps: tuple[int, float]) -> Compared:
    """(class, IoU) of the maps of one image."""
    return image([iou for _, iou in maps], classes=[k for k, _ in maps])


MAPS = {"prm": [maps_of((0, 0.3), (0, 0.5)), maps_of((1, 0.5))],
        "iam": [maps_of((0, 0.5), (0, 0.7)), maps_of((1, 0.55))]}
CLASSES = ["dog", "cat", "cow"]


def class_means(found: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    return {key: values["iou_class"]["mean"] for key, values in found.items()}


def test_class_table_by_hand() -> None:
    """No map is of a cow."""
    rows, compared = class_table(MAPS, CLASSES, CHANCE)
    assert class_means(rows) == pytest.approx(
        {"dog, PRM": 40, "dog, IAM": 60, "cat, PRM": 50, "cat, IAM": 55, "all classes, PRM": 45,
         "all classes, IAM": 57.5})
    assert class_means(compared) == pytest.approx(
        {"dog, IAM - dog, PRM": 20, "dog, IAM / dog, PRM": 1.5, "cat, IAM - cat, PRM": 5,
         "cat, IAM / cat, PRM": 1.1, "all classes, IAM - all classes, PRM": 12.5,
         "all classes, IAM / all classes, PRM": 57.5 / 45})
    # Draws without a cat say nothing about it.
    assert rows["cat, PRM"]["iou_class"] == pytest.approx({"mean": 50, "low": 50, "high": 50})


def test_classes_of_the_table_do_not_depend_on_the_draws() -> None:
    """Nor does a class that a draw lacks go, nor one come of which there are maps of one kind only."""
    for seed in range(20):
        rows, _ = class_table(MAPS, CLASSES, Chance(3, 0.95, seed))
        assert {row.split(",")[0] for row in rows} == {"dog", "cat", "all classes"}


def test_intervals_of_the_class_table_have_the_level_that_is_asked_for() -> None:
    maps = {kind: [image([iou]) for iou in found] for kind, found in
            (("prm", (0.1, 0.4, 0.9)), ("iam", (0.3, 0.5, 0.7)))}
    draws = CHANCE.draws(3) @ [10, 40, 90]
    for level in (0.5, 0.9):
        rows, compared = class_table(maps, ["dog"], Chance(CHANCE.samples, level, CHANCE.seed))
        assert rows["dog, PRM"]["iou_class"] == pytest.approx(interval(draws, level))
        narrow = compared["dog, IAM - dog, PRM"]["iou_class"]
        assert narrow == pytest.approx(interval(CHANCE.draws(3) @ [20, 10, -20], level))


def test_without_maps_of_both_kinds_there_is_no_class_table() -> None:
    assert class_table({"prm": [image([0.5])], "iam": [image([])]}, ["dog"], CHANCE) == ({}, {})


def test_bars_of_the_class_table() -> None:
    """Classes in the data set's order; the mean over them has no bar."""
    rows, _ = class_table(MAPS, CLASSES, CHANCE)
    groups = class_groups(rows, CLASSES)
    assert list(groups) == ["PRM", "IAM"] and [list(bars) for bars in groups.values()] == [["dog", "cat"]] * 2
    assert groups["IAM"]["dog"] is rows["dog, IAM"]["iou_class"]


def test_classes_that_do_not_gain() -> None:
    """The equal one, and the worse one, by name."""
    prm = {"dog": {"mean": 3.0}, "cow": {"mean": 2.0}, "cat": {"mean": 1.0}}
    iam = {"dog": {"mean": 2.9}, "cow": {"mean": 2.1}, "cat": {"mean": 1.0}}
    assert not_better({"PRM": prm, "IAM": iam}) == ["cat", "dog"]


def test_a_class_with_maps_of_one_kind_has_no_row() -> None:
    rows, _ = class_table({"prm": MAPS["prm"], "iam": [MAPS["iam"][0], image([])]}, ["dog", "cat"], CHANCE)
    assert set(rows) == {"dog, PRM", "dog, IAM", "all classes, PRM", "all classes, IAM"}


def test_no_class_with_maps_of_both_kinds() -> None:
    nothing = [image([]), image([])]
    assert class_table({"prm": MAPS["prm"], "iam": nothing}, CLASSES, CHANCE) == ({}, {})
    assert worst_class({}, {}, CLASSES) == ({}, {})


def test_the_class_that_gains_least() -> None:
    scores, gaps = class_table(MAPS, CLASSES, CHANCE)
    assert worst_class(scores, gaps, CLASSES) == ({}, {})   # every class is in one image: no interval
    for values in gaps.values():
        values["iou_class"]["low"] -= 1
    rows, compared = worst_class(scores, gaps, CLASSES)
    assert class_means(rows) == pytest.approx({"prm": 50, "iam": 55})
    assert class_means(compared) == pytest.approx({"iam - prm": 5, "iam / prm": 1.1})
