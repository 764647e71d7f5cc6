"""CSoA's tables on hand-made findings: who is right where is written down, so that every error is known."""
import numpy as np
import pytest

from lib.papers.csoa import tables as csoa_tables
from lib.papers.csoa.runs import Located

CHANCE = (200, 0.95, 0)


def located(rank: list[int], overlap: list[list[float]], ten: list[int] | None = None) -> Located:
    values = np.array(overlap)
    return Located([f"i{n}" for n in range(len(rank))], np.array(rank), np.array(ten or [-1] * len(rank)), {"union": values, "s_l": values / 2}, values)


FIRST = located([0, 0, 1, 6], [[0.6, 0.4], [0.2, 0.5], [0.9, 0.9], [0.7, 0.1]], [0, 1, 0, 5])
SECOND = located([0, 1, 0, 0], [[0.6, 0.6], [0.6, 0.6], [0.1, 0.6], [0.6, 0.6]], [0, 0, 0, 0])


def test_errors_are_means_over_seeds() -> None:
    found = csoa_tables.scores([FIRST, SECOND], 0, 200, 0)
    # first seed: boxes right on 0, 2, 3; class right on 0, 1; among five on 0, 1, 2. Second: boxes on 0, 1, 3; class on 0, 2, 3.
    assert {metric: values[0] for metric, values in found.items()} == pytest.approx({
        "loc1": (75 + 50) / 2, "loc5": (50 + 25) / 2, "gt_known": 25, "cls1": (50 + 25) / 2, "cls5": (25 + 0) / 2,
        "max_box_acc": (75 + 100) / 2, "max_box_acc_v2": ((75 + 75 + 50) / 3 + (100 + 100 + 0) / 3) / 2})
    assert all(values.shape == (201,) for values in found.values()) and found["loc1"][1:].std() > 0


def test_draws_are_the_same_for_every_row_and_take_seeds() -> None:
    one, two = (csoa_tables.scores(seeds, 0, 200, 0)["loc1"] for seeds in ([FIRST, SECOND], [SECOND, FIRST]))
    assert np.array_equal(one, csoa_tables.scores([FIRST, SECOND], 0, 200, 0)["loc1"])
    assert one[0] == two[0] and not np.array_equal(one, two)   # seeds are drawn: their order matters to a draw, not to the mean
    rows, pairs = csoa_tables.table({"a": {"loc1": one}, "b": {"loc1": one}}, [("a", "b"), ("a", "missing")], 0.95)
    assert pairs["a - b"]["loc1"] == {"mean": 0, "low": 0, "high": 0} and list(pairs) == ["a - b", "a / b"]


def test_the_best_threshold_is_the_middle_of_the_best() -> None:
    assert csoa_tables.best_threshold([located([0, 0], [[0.4, 0.6, 0.7, 0.6, 0.1], [0.4, 0.6, 0.6, 0.5, 0.1]])]) == 2
    assert csoa_tables.best_threshold([FIRST, SECOND]) == 1   # 25, 62.5 are wrong on average at either
    assert csoa_tables.best_threshold([located([0], [[0.9, 0.99]])], "s_l") in (0, 1)


def test_thresholds_come_from_validation_images_alone() -> None:
    """Validation says the second threshold, the test images would prefer the first."""
    val, test = located([0, 0], [[0.1, 0.9], [0.1, 0.9]]), located([0, 0], [[0.9, 0.1], [0.9, 0.9]])
    rows, pairs = csoa_tables.module_table({"base": [val], "csoa": [val]}, {"base": [test], "csoa": [test]},
                                           {"whole_image": np.array([[0.6], [0.4]])}, [0.3, 0.7], CHANCE)
    assert rows["base"]["theta"]["mean"] == 0.7 and rows["base"]["loc1"]["mean"] == 50
    assert rows["whole_image"].keys() == {"gt_known", "max_box_acc", "max_box_acc_v2"} and rows["whole_image"]["gt_known"]["mean"] == 50
    assert rows["whole_image"]["max_box_acc_v2"]["mean"] == pytest.approx((100 + 50 + 0) / 3, abs=1e-5)
    assert "csoa - base" in pairs and "csoa / base" in pairs


def test_every_seed_by_itself() -> None:
    rows = csoa_tables.seed_table({"base": [SECOND, SECOND]}, {"base": [FIRST, SECOND]}, [3, 8], CHANCE)
    assert list(rows) == ["base, seed 3", "base, seed 8"] and rows["base, seed 3"].keys() == {"loc1", "gt_known", "cls1"}
    assert rows["base, seed 8"]["cls1"]["mean"] == 25


def test_ten_crops_where_they_were_looked_at() -> None:
    with_crops = csoa_tables.class_scores([FIRST, SECOND], 50, 0)
    assert with_crops["cls1_ten"][0] == (50 + 0) / 2 and with_crops["cls5_ten"][0] == 25 / 2 and with_crops["cls1"][0] == 37.5
    assert csoa_tables.class_scores([located([0, 1], [[1], [1]])], 50, 0).keys() == {"cls1", "cls5"}


def test_the_sweep_holds_every_threshold() -> None:
    rows = csoa_tables.sweep([FIRST], [0.2, 0.6], 50, 0)
    assert list(rows) == [0.2, 0.6] and rows[0.2]["gt_known"][0] == 25 and rows[0.6]["gt_known"][0] == 50
    assert csoa_tables.sweep([FIRST], [0.2, 0.6], 50, 0, "s_l")[0.2]["gt_known"][0] == 100


def test_images_on_which_the_box_is_wrong() -> None:
    assert csoa_tables.missed(FIRST, 0) == {"i1"} and csoa_tables.missed(FIRST, 1) == {"i0", "i3"}


def test_rows_are_named_as_printed() -> None:
    rows = {"base": {"loc1": 1, "gt_known": 2}, "csoa": {"loc1": 3, "gt_known": 4}, "whole_image": {"gt_known": 5}}
    assert csoa_tables.as_printed(rows, "torchvision_vgg16", "table4_cub") == {"vgg_gap": rows["base"], "vgg_csoa": rows["csoa"]}
    assert csoa_tables.as_printed(rows, "torchvision_inception_v3", "table6_gt_known") == {"googlenet_gap": {"loc1": 2}, "googlenet_csoa": {"loc1": 4}}
