"""CSoA's tables on hand-made findings: who is right where is written down, so that every error is known."""
from pathlib import Path

import numpy as np
import pytest
from csoa_toys import TRAINING, toy_data

from lib.base.files import sha256
from lib.metrics.bootstrap import Chance, table
from lib.papers.csoa import tables
from lib.papers.csoa.runs import Located
from lib.papers.csoa.settings import CsoaRun

CHANCE = Chance(200, 0.95, 0)


def located(rank: list[int], overlap: list[list[float]], ten: list[int] | None = None) -> Located:
    values = np.array(overlap)
    ids = [f"i{n}" for n in range(len(rank))]
    rank_ten = np.array(ten or [-1] * len(rank))
    return Located(ids, np.array(rank), rank_ten, {"union": values, "s_l": values / 2}, values)


FIRST = located([0, 0, 1, 6], [[0.6, 0.4], [0.2, 0.5], [0.9, 0.9], [0.7, 0.1]], [0, 1, 0, 5])
SECOND = located([0, 1, 0, 0], [[0.6, 0.6], [0.6, 0.6], [0.1, 0.6], [0.6, 0.6]], [0, 0, 0, 0])


def test_errors_are_means_over_seeds() -> None:
    """The first seed's boxes are right on 0, 2, 3, its classes on 0, 1, and among five on 0, 1, 2.

    The second seed's boxes are right on 0, 1, 3, its classes on 0, 2, 3.
    """
    scores = tables.scores([FIRST, SECOND], 0, CHANCE)
    assert {metric: values[0] for metric, values in scores.items()} == pytest.approx({
        "loc1": (75 + 50) / 2, "loc5": (50 + 25) / 2, "gt_known": 25,
        "cls1": (50 + 25) / 2, "cls5": (25 + 0) / 2,
        "max_box_acc": (75 + 100) / 2,
        "max_box_acc_v2": ((75 + 75 + 50) / 3 + (100 + 100 + 0) / 3) / 2})
    assert all(values.shape == (201,) for values in scores.values())
    assert scores["loc1"][1:].std() > 0


def test_draws_are_the_same_for_every_row_and_take_seeds() -> None:
    one = tables.scores([FIRST, SECOND], 0, CHANCE)["loc1"]
    swapped = tables.scores([SECOND, FIRST], 0, CHANCE)["loc1"]
    assert np.array_equal(one, tables.scores([FIRST, SECOND], 0, CHANCE)["loc1"])
    assert one[0] == swapped[0]
    # seeds are drawn: their order matters to a draw, not to the mean
    assert not np.array_equal(one, swapped)
    _, pairs = table({"a": {"loc1": one}, "b": {"loc1": one}}, [("a", "b"), ("a", "missing")], CHANCE)
    assert pairs["a - b"]["loc1"] == {"mean": 0, "low": 0, "high": 0}
    assert list(pairs) == ["a - b", "a / b"]


def test_the_best_threshold_is_the_middle_of_the_best() -> None:
    plateau = located([0, 0], [[0.4, 0.6, 0.7, 0.6, 0.1], [0.4, 0.6, 0.6, 0.5, 0.1]])
    assert tables.best_threshold([plateau]) == 2
    wide = located([0], [[0.1, 0.6, 0.7, 0.8, 0.7, 0.6, 0.1]])
    assert tables.best_threshold([wide]) == 3
    assert tables.best_threshold([FIRST, SECOND]) == 1   # 25, 62.5 are wrong on average at either
    assert tables.best_threshold([located([0], [[0.9, 0.99]])], "s_l") in (0, 1)


def test_the_best_threshold_may_be_the_first_or_the_last() -> None:
    falling = located([0, 0, 0], [[0.9, 0.9, 0.1], [0.9, 0.1, 0.1], [0.9, 0.4, 0.1]])
    rising = located([0, 0, 0], [[0.1, 0.9, 0.9], [0.1, 0.1, 0.9], [0.1, 0.4, 0.9]])
    assert tables.best_threshold([falling]) == 0
    assert tables.best_threshold([rising]) == 2
    assert tables.best_threshold([falling, rising, rising]) == 2


def test_the_best_threshold_is_that_of_the_map_that_is_asked_for() -> None:
    union, s_l = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
    one = Located(["i0"], np.array([0]), np.array([-1]), {"union": union, "s_l": s_l}, union)
    assert tables.best_threshold([one]) == 0
    assert tables.best_threshold([one], "s_l") == 1


def test_draws_of_seeds_are_not_those_of_images() -> None:
    """Every draw by hand: images by the seed of chance, networks by the next one."""
    right = np.array([[1, 0, 0, 0], [0, 0, 0, 1]])   # class and box, of either network
    by_network = 100 * (1 - right @ CHANCE.draws(4).T)
    networks = Chance(CHANCE.samples, CHANCE.level, CHANCE.seed + 1).draws(2)
    expected = (networks * by_network.T).sum(1)
    assert expected[0] == pytest.approx(75)
    found = tables.scores([FIRST, located([1, 1, 1, 0], [[0.6]] * 4)], 0, CHANCE)["loc1"]
    np.testing.assert_allclose(found, expected)


def test_rows_are_the_networks_that_the_stage_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "load_located", lambda path: f"{path.parent.name} {path.stem}")
    run = CsoaRun(least=2, seeds=[3, 8], variants=["base", "coaug", "csoa"], ten_crop=False,
                  training=TRAINING, positions=["5-5", "3-5"], trials=["inner_sum"])
    assert tables.variant_rows(Path("x"), run, "test") == {
        variant: [f"{variant}_4-5_seed3 test", f"{variant}_4-5_seed8 test"] for variant in run.variants}
    assert list(tables.dataset_rows(Path("x"), run, "test")) == ["base", "csoa"]
    positions = tables.position_rows(Path("x"), run, "val")
    assert list(positions.items()) == [
        (position, [f"csoa_{position}_seed3 val", f"csoa_{position}_seed8 val"])
        for position in ("3-5", "4-5", "5-5")]
    assert tables.trial_rows(Path("x"), run) == {
        "csoa": ["csoa_4-5_seed3 val"], "inner_sum": ["csoa_4-5_seed3_inner_sum val"]}


def test_without_positions_and_trials_there_is_the_papers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "load_located", lambda path: path.parent.name)
    run = CsoaRun(least=2, seeds=[0], variants=["csoa"], ten_crop=False, training=TRAINING)
    assert tables.position_rows(Path("x"), run, "test") == {"4-5": ["csoa_4-5_seed0"]}
    assert tables.trial_rows(Path("x"), run) == {"csoa": ["csoa_4-5_seed0"]}


def test_thresholds_come_from_validation_images_alone() -> None:
    """Validation says the second threshold, the test images would prefer the first."""
    val = located([0, 0], [[0.1, 0.9], [0.1, 0.9]])
    test = located([0, 0], [[0.9, 0.1], [0.9, 0.9]])
    rows, pairs = tables.module_table({"base": [val], "csoa": [val]}, {"base": [test], "csoa": [test]},
                                      {"whole_image": np.array([[0.6], [0.4]])}, [0.3, 0.7], CHANCE)
    assert rows["base"]["theta"]["mean"] == 0.7
    assert rows["base"]["loc1"]["mean"] == 50
    blind = rows["whole_image"]
    assert blind.keys() == {"gt_known", "max_box_acc", "max_box_acc_v2"}
    assert blind["gt_known"]["mean"] == 50
    assert blind["max_box_acc_v2"]["mean"] == pytest.approx((100 + 50 + 0) / 3, abs=1e-5)
    assert "csoa - base" in pairs
    assert "csoa / base" in pairs


def test_every_row_is_compared_with_those_above_it() -> None:
    seeds = {row: [FIRST] for row in ("base", "confseg", "csoa")}
    rows, pairs = tables.module_table(seeds, seeds, {"whole_image": np.ones((4, 1))}, [0.3, 0.7], CHANCE)
    assert list(rows) == ["base", "confseg", "csoa", "whole_image"]
    assert [pair for pair in pairs if " - " in pair] == ["confseg - base", "csoa - base", "csoa - confseg"]


def test_every_seed_by_itself() -> None:
    rows = tables.seed_table({"base": [SECOND, SECOND]}, {"base": [FIRST, SECOND]}, [3, 8], CHANCE)
    assert list(rows) == ["base, seed 3", "base, seed 8"]
    assert rows["base, seed 3"].keys() == {"loc1", "gt_known", "cls1"}
    assert rows["base, seed 8"]["cls1"]["mean"] == 25


def test_ten_crops_where_they_were_looked_at() -> None:
    scores = tables.class_scores([FIRST, SECOND], CHANCE)
    assert list(scores) == ["cls1", "cls1_ten", "cls5", "cls5_ten"]
    assert scores["cls1_ten"][0] == (50 + 0) / 2
    assert scores["cls5_ten"][0] == 25 / 2
    assert scores["cls1"][0] == 37.5
    partly = located([0, 1, 0], [[1], [1], [1]], [0, -1, 0])
    assert tables.class_scores([partly], CHANCE).keys() == {"cls1", "cls5"}
    without = tables.class_scores([located([0, 1], [[1], [1]])], CHANCE)
    assert without.keys() == {"cls1", "cls5"}


def test_the_sweep_holds_every_threshold() -> None:
    rows = tables.sweep([FIRST], [0.2, 0.6], CHANCE)
    assert list(rows) == [0.2, 0.6]
    assert rows[0.2].keys() == {"loc1", "loc5", "gt_known"}
    assert rows[0.2]["gt_known"][0] == 25
    assert rows[0.6]["gt_known"][0] == 50
    assert tables.sweep([FIRST], [0.2, 0.6], CHANCE, "s_l")[0.2]["gt_known"][0] == 100


def test_the_papers_sweep_is_keyed_as_ours() -> None:
    """By the number theta, so that its values stand in the figure of ours."""
    assert tables.printed_sweep("collage_single") == {0.2: 39.13, 0.3: 37.69, 0.4: 38.82}


def test_images_on_which_the_box_is_wrong() -> None:
    assert tables.missed(FIRST, 0) == {"i1"}
    assert tables.missed(FIRST, 1) == {"i0", "i3"}


def test_rows_are_named_as_printed() -> None:
    rows = {"base": {"loc1": 1, "gt_known": 2}, "csoa": {"loc1": 3, "gt_known": 4},
            "whole_image": {"gt_known": 5}}
    assert tables.as_printed(rows, "torchvision_vgg16", "table4_cub") == {
        "vgg_gap": rows["base"], "vgg_csoa": rows["csoa"]}
    assert tables.as_printed(rows, "torchvision_inception_v3", "table6_gt_known") == {
        "googlenet_gap": {"loc1": 2}, "googlenet_csoa": {"loc1": 4}}


def test_what_a_notebook_starts_from(tmp_path: Path) -> None:
    data = toy_data(tmp_path / "shapes")
    run = CsoaRun(least=2, seeds=[0], variants=["base"], ten_crop=False, training=TRAINING)
    opened = tables.opened({"shapes": data.folder}, {"shapes": {"a": run, "b": run}}, tmp_path / "nets")
    assert opened.data["shapes"].hash == data.hash
    assert opened.single["shapes"].dropped == ("rare",)
    assert {row: overlap.shape for row, overlap in opened.blind["shapes"].items()} == {
        "whole_image": (4, 1), "centred_box": (4, 1)}
    assert list(opened.folders.values()) == [tmp_path / "nets" / "shapes" / network for network in ("a", "b")]


def test_weights_are_recorded_by_their_hashes(tmp_path: Path) -> None:
    opened = tables.Opened({}, {}, {}, {("shapes", name): tmp_path / name for name in ("a", "b")})
    files = [tmp_path / place / "weights.safetensors" for place in ("a/base_0", "a/csoa_0", "b/csoa_0")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(str(file))
    names = ["shapes/a/base_0", "shapes/a/csoa_0", "shapes/b/csoa_0"]
    assert opened.weights() == dict(zip(names, map(sha256, files), strict=True))
    assert list(opened.weights("csoa_*")) == names[1:]
    assert list(opened.weights("csoa_*", ["a"])) == names[1:2]
