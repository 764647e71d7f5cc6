"""Curves drawn from values: what is in their axes."""
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from lib.report.curves import curve, training_curves
from lib.report.figures import COLOURS

HEADER = "phase,epoch,step,loss,val_map\n"


def entry(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high}


def test_lines_intervals_and_the_papers_values() -> None:
    series = {"DCSM": {3: entry(40, 38, 41), 1: entry(36, 35, 37), 10: entry(30, 29, 31)},
              "Simonyan": {1: entry(20, 19, 21), 8: entry(28, 27, 29)}}
    paper = {"DCSM": {3: 44.1, 4: None}, "Simonyan": {8: 33.8, 9: 33.8}}
    axis = curve(series, "α", "mIoU (%)", paper).axes[0]
    assert [line.get_xydata().tolist() for line in axis.lines] == [
        [[1, 36], [3, 40], [10, 30]], [[1, 20], [8, 28]]]
    assert [line.get_color() for line in axis.lines] == list(COLOURS[:2])
    bands = axis.collections[:2]
    corners = {tuple(v) for v in bands[0].get_paths()[0].vertices}
    assert {(1, 35), (1, 37), (3, 38), (3, 41), (10, 29), (10, 31)} <= corners
    diamonds = axis.collections[2]
    assert diamonds.get_label() == "paper"
    assert diamonds.get_offsets().tolist() == [[3, 44.1], [8, 33.8], [9, 33.8]]
    assert np.allclose(diamonds.get_facecolor(), to_rgba("black"))
    assert np.allclose(diamonds.get_edgecolor(), [to_rgba(COLOURS[k]) for k in (0, 1, 1)])
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["DCSM", "Simonyan", "paper"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "3", "8", "9", "10"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("α", "mIoU (%)")


def test_without_the_paper_and_with_an_undefined_value() -> None:
    values = {k: entry(k, k - 1, k + 1) for k in range(20)} | {7: entry(float("nan"), 0, 1)}
    axis = curve({"net": values}, "N", "mIoU (%)").axes[0]
    assert [x for x, _ in axis.lines[0].get_xydata()] == [k for k in range(20) if k != 7]
    assert len(axis.collections) == 1 and len(axis.get_xticks()) < 20   # too many to name each
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["net"]


def test_a_training_in_phases(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(HEADER + "head,1,10,0.6,\nhead,1,20,0.5,70.5\nall,2,10,0.4,\nall,2,20,0.3,80\n")
    figure = training_curves(file)
    loss, score = figure.axes
    # steps start anew in "all"
    assert loss.lines[0].get_xydata().tolist() == [[10, 0.6], [20, 0.5], [30, 0.4], [40, 0.3]]
    assert score.lines[0].get_xydata().tolist() == [[20, 70.5], [40, 80]]
    assert [t.get_text().strip() for t in loss.texts] == ["head", "all"]
    assert [t.get_position()[0] for t in loss.texts] == [10, 20]
    assert (loss.get_ylabel(), score.get_ylabel(), loss.get_xlabel()) == ("loss", "mAP on val", "step")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["loss", "mAP on val"]
    assert loss.lines[0].get_color() != score.lines[0].get_color()


def test_rows_in_memory_steps_counted_through_and_no_score() -> None:
    rows = [{"phase": "head", "epoch": 1, "step": 10, "loss": 0.6, "val_map": None},
            {"phase": "head", "epoch": 1, "step": 20, "loss": 0.5},
            {"phase": "head", "epoch": 1, "step": 20, "loss": float("nan")},
            {"phase": "all", "epoch": 2, "step": 30, "loss": 0.4, "val_map": ""}]
    figure = training_curves(rows)
    axis, = figure.axes
    assert axis.lines[0].get_xydata().tolist() == [[10, 0.6], [20, 0.5], [30, 0.4]]


@pytest.mark.parametrize("steps, expected", [
    ([1, 2, 1, 2], [1, 2, 3, 4]), ([5, 5, 9], [5, 5, 9]), ([4, 8, 2, 8, 1], [4, 8, 10, 16, 17])])
def test_steps_that_start_anew_in_every_epoch(steps: list[int], expected: list[int]) -> None:
    rows = [{"phase": "all", "epoch": 1, "step": step, "loss": 1.0, "val_map": ""} for step in steps]
    axis = training_curves(rows).axes[0]
    assert axis.lines[0].get_xdata().tolist() == expected
    assert not axis.texts   # a single phase needs no name


def test_eight_lines_have_eight_colours() -> None:
    figure = curve({str(i): {1.0: entry(i, i, i)} for i in range(8)}, "x", "y")
    assert len({line.get_color() for line in figure.axes[0].lines}) == 8
