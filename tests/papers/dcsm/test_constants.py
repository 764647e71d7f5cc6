"""The search for DCSM's open constants on validation images."""
from dataclasses import replace

import numpy as np
import pytest
from dcsm_toys import CLASSES, CRF, OURS, SETTINGS

from lib.metrics.bootstrap import Chance
from lib.papers.dcsm import constants
from lib.papers.dcsm.rows import Row
from lib.papers.dcsm.settings import DcsmConstants
from lib.papers.dcsm.tables import Split, score_rows, table

GRID = DcsmConstants(alphas=[1.0, 4.0], readings=["paper", "demo"], normalisers=["own", "after"],
                     alphas_simonyan=[2.0], kernels=[(30.0, 10.0), (60.0, 5.0)], weights=[(1.0, 1.0)],
                     thresholds=[0.3, 0.5])


def test_the_search_has_every_setting_once() -> None:
    rows = constants.readings(SETTINGS, GRID)
    assert list(rows) == ["own 1", "own 4", "after 1", "after 4", "demo"]
    assert rows["after 4"] == Row(replace(SETTINGS, normaliser="after", alpha=4.0), crf=False)
    fields = constants.fields(SETTINGS, GRID)
    assert list(fields) == ["none", "kernel 30 and 10, weights 1 and 1", "kernel 60 and 5, weights 1 and 1"]
    other = fields["kernel 60 and 5, weights 1 and 1"]
    assert other.settings.crf == replace(CRF, theta_alpha=60, theta_beta=5)
    assert constants.thresholds(SETTINGS, GRID) == {"0.3": Row(SETTINGS, targets=0.3),
                                                    "0.5": Row(SETTINGS, targets=0.5)}


@pytest.mark.parametrize("readings, expected", [
    (["demo"], ["demo"]), (["paper"], ["own 1", "own 4", "after 1", "after 4"])])
def test_a_reading_may_be_left_out(readings: list[str], expected: list[str]) -> None:
    assert list(constants.readings(SETTINGS, replace(GRID, readings=readings))) == expected


def test_the_search_scores_only_classes_that_its_images_show(own_split: Split) -> None:
    """Every image is labelled "ant", nothing else."""
    scored = score_rows(own_split.val, {"a": Row(OURS, crf=False)}, own_split, "test")
    rows, _ = table(scored, own_split.val, CLASSES, [], Chance(100, 0.95, 0))
    iou = scored["a"].iou(np.full((1, 3), 1 / 3))[0]
    assert rows["a"]["miou"]["mean"] == pytest.approx((iou[0] + iou[1]) / 2, abs=1e-5)


def test_the_best_row_is_best_on_average_over_networks() -> None:
    def rows(a: float, b: float) -> dict[str, dict]:
        return {"a": {"miou": {"mean": a}}, "b": {"miou": {"mean": b}}}

    assert constants.best({"n": rows(1.0, 3.0)}) == "b"
    assert constants.best({"n": rows(1.0, 3.0), "m": rows(9.0, 4.0)}) == "a"


def test_curves_over_alpha_are_those_of_the_papers_reading() -> None:
    names = enumerate(constants.readings(SETTINGS, GRID))
    rows = {name: {"miou": {"mean": float(place)}} for place, name in names}
    assert constants.series({"n": rows}, GRID) == {
        "own, n": {1.0: {"mean": 0.0}, 4.0: {"mean": 1.0}},
        "after, n": {1.0: {"mean": 2.0}, 4.0: {"mean": 3.0}}}
