"""IAM's figures: that they can be drawn, with as many panels as was asked for, and where arrows stand."""
import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from iam_toys import NETWORK, SETTINGS, toy_dataset, toy_fcn, toy_filling, toy_proposals
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.metrics.instances import Best
from lib.papers.iam.figures import COLUMNS, field, field_grid, instance_grid, size_density, training_figure
from lib.papers.iam.filling import direction
from lib.papers.iam.rows import scenes
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.trained import Trained

JOB = FillingJob(5, 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("figures")
    dataset = toy_dataset(folder / "colours", 1, 1, 4)
    proposals = toy_proposals(dataset, folder / "proposals")
    return Trained(dataset, toy_fcn(), {JOB: toy_filling()}, NETWORK, SETTINGS, proposals)


def drawn(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), format="png", dpi=20)


def test_instance_grid(trained: Trained) -> None:
    """Without masks of low peaks nothing else changes."""
    samples = trained.dataset.split("test")[2:]
    pictures = []
    for least in (0.0, 1e9):
        figure = instance_grid(trained, samples, least)
        assert len(figure.axes) == 2 * len(COLUMNS)
        assert [axis.get_title() for axis in figure.axes[:6]] == list(COLUMNS)
        named = [figure.axes[i].get_ylabel() for i in (0, 6)]
        assert named == ["\n".join(sample.labels) for sample in samples]
        pictures.append([np.asarray(axis.images[0].get_array()) for axis in figure.axes])
    same = [np.array_equal(*both) for both in zip(*pictures, strict=True)]
    assert [same[i] for i in (0, 1, 2, 5, 6, 7, 8, 11)] == [True] * 8
    assert not same[4] and not same[10]   # PRM's masks are gone
    drawn(figure)


def test_arrows_where_the_square_shows_the_image(trained: Trained) -> None:
    """Maps are 32 pixels, encoded 8; photographs 56 x 44 or 44 x 56."""
    shapes = set()
    for scene in scenes(trained, trained.dataset.split("test"), [JOB], "test"):
        arrows, (x, y) = field(trained, scene)
        height, width = (8, 6) if scene.shape[0] > scene.shape[1] else (6, 8)
        shapes.add(scene.shape)
        assert arrows.shape == (2, height, width) and x.shape == y.shape == (height, width)
        assert np.allclose(x, [(np.arange(width) + 0.5) / width] * height)
        assert np.allclose(y.T, [(np.arange(height) + 0.5) / height] * width)
        with torch.inference_mode():
            weights = trained.fillings[JOB].weights(scene.output.levels, (8, 8))
            whole = direction(weights[0]).numpy()
        assert np.array_equal(arrows, whole[:, :height, :width]) and np.abs(arrows).max() > 0
    assert shapes <= {(56, 44), (44, 56)}


def quivers(axis: Axes) -> int:
    return len([drawn for drawn in axis.collections if type(drawn).__name__ == "Quiver"])


def test_field_grid(trained: Trained) -> None:
    """Two columns; with three images one place stays empty."""
    figure = field_grid(trained, trained.dataset.split("test")[:3])
    assert len(figure.axes) == 4 and [len(axis.images) for axis in figure.axes] == [1, 1, 1, 0]
    assert [quivers(axis) for axis in figure.axes] == [1, 1, 1, 0]
    assert len(field_grid(trained, trained.dataset.split("test")[:1]).axes) == 2
    drawn(figure)


def test_size_density_by_hand() -> None:
    """Six objects of 2 % and three of 30 %; a map that overlaps nothing has no size, and no cell."""
    share = np.array([0.02] * 6 + [0.3] * 3 + [np.nan])
    iou = np.array([0.55] * 3 + [0.75] * 3 + [0.15] * 3 + [0.0])
    best = Best(iou, share, np.zeros(10, int), np.zeros(10, int))
    few = Best(iou[6:], share[6:], np.zeros(4, int), np.zeros(4, int))
    figure = size_density({"PRM": best, "IAM": few})
    assert [axis.get_title() for axis in figure.axes] == ["PRM", "IAM"]
    assert figure.axes[0].get_xscale() == "log"
    counts = [np.asarray(axis.collections[0].get_array()).ravel() for axis in figure.axes]
    assert [sorted(one[one > 0].tolist()) for one in counts] == [[3, 3, 3], [3]]
    line, = figure.axes[0].lines   # only where five objects or more are of one size
    assert len(line.get_xdata()) == 1 and 0.01 < line.get_xdata()[0] < 0.04
    assert line.get_ydata()[0] == pytest.approx(65)
    assert not figure.axes[1].lines
    drawn(figure)


@pytest.mark.parametrize(("columns", "phases"), [(("epoch", "step", "loss"), []),
                                                 (("phase", "epoch", "step", "loss"), ["head", "all"])])
def test_curves_of_a_filling_module_have_no_phases(tmp_path: Path, columns: tuple[str, ...],
                                                   phases: list[str]) -> None:
    """Those of a classifier keep their own."""
    lines = [{"phase": phase, "epoch": 1, "step": step, "loss": 0.5}
             for step, phase in enumerate(("head", "head", "all"), start=1)]
    with open(tmp_path / "curves.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    axis = training_figure(tmp_path / "curves.csv").axes[0]
    assert axis.lines[0].get_ydata().tolist() == [0.5] * 3
    assert [text.get_text().strip() for text in axis.texts] == phases
