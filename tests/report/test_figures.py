"""Figures drawn from values: what is in their axes."""
import numpy as np
import pytest
from PIL import Image

from lib.report.figures import bars, picture_grid


def entry(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high}


def test_a_grid_of_photographs_and_heat_maps() -> None:
    heat = np.array([[0.2, 0.4]])
    rows = [[Image.new("RGB", (3, 2), "red"), heat], [np.ones((2, 2, 3)), heat + 0.1]]
    figure = picture_grid(rows, ["photo", "map"], ["first", "second"])
    axes = np.array(figure.axes).reshape(2, 2)
    assert [a.get_title() for a in axes[0]] == ["photo", "map"]
    assert [a.get_title() for a in axes[1]] == ["", ""]
    assert [a.get_ylabel() for a in axes[:, 0]] == ["first", "second"]
    assert all(len(a.get_xticks()) == 0 for a in figure.axes)
    shown = axes[0, 1].images[0]
    assert shown.get_clim() == (0, 1) and shown.get_cmap().name == "magma"   # the same scale for every map
    assert np.array_equal(shown.get_array(), heat)
    assert axes[0, 0].images[0].get_array()[0, 0].tolist() == [255, 0, 0]


def test_a_single_picture() -> None:
    assert len(picture_grid([[np.zeros((2, 2))]], ["only"]).axes) == 1


def test_bars_with_intervals_and_the_papers_values() -> None:
    groups = {"net": {"cam1": entry(0.5, 0.4, 0.7), "rcam": entry(0.6, 0.55, 0.65)},
              "other": {"cam1": entry(0.45, 0.4, 0.5), "rcam": entry(0.7, 0.6, 0.8)}}
    axis = bars(groups, "ODS", {"cam1": None, "rcam": 0.66, "absent": 0.1}).axes[0]
    assert [round(p.get_height(), 3) for p in axis.patches] == [0.5, 0.6, 0.45, 0.7]
    centres = [p.get_x() + p.get_width() / 2 for p in axis.patches]
    assert centres == pytest.approx([-0.2, 0.8, 0.2, 1.2])
    intervals = [c.errorbar for c in axis.containers if hasattr(c, "errorbar")]
    ends = []
    for drawn in intervals:
        ends += [segment[:, 1].tolist() for segment in drawn.lines[2][0].get_segments()]
    assert np.allclose(ends, [[0.4, 0.7], [0.55, 0.65], [0.4, 0.5], [0.6, 0.8]])
    diamonds = [c for c in axis.collections if c.get_label() == "paper"]
    assert len(diamonds) == 1 and diamonds[0].get_offsets().tolist() == [[1, 0.66]]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["cam1", "rcam"] and axis.get_ylabel() == "ODS"
    assert {t.get_text() for t in axis.get_legend().get_texts()} == {"net", "other", "paper"}
    assert 0 <= axis.get_ylim()[0] < 0.4


def test_bars_without_the_paper() -> None:
    axis = bars({"net": {"a": entry(0.1, 0.0, 0.2)}}, "MAE").axes[0]
    assert axis.get_ylim()[0] == 0 and [t.get_text() for t in axis.get_legend().get_texts()] == ["net"]
