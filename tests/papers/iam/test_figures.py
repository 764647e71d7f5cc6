"""IAM's figures: that they can be drawn, with as many panels as was asked for, and where arrows stand."""
import io

import numpy as np
import pytest
import torch
from iam_toys import NETWORK, SETTINGS, toy_dataset, toy_fcn, toy_filling, toy_proposals
from matplotlib.figure import Figure

from lib.metrics.instances import Best
from lib.papers.iam.figures import COLUMNS, field, field_grid, instance_grid, size_density
from lib.papers.iam.filling import direction
from lib.papers.iam.rows import Trained, scenes
from lib.papers.iam.settings import FillingJob

JOB = FillingJob(5, 0)


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("figures")
    dataset = toy_dataset(folder / "colours", 1, 1, 4)
    return Trained(dataset, toy_fcn(), {JOB: toy_filling()}, NETWORK, SETTINGS, toy_proposals(dataset, folder / "proposals"))


def drawn(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), format="png", dpi=20)


def test_instance_grid(of: Trained) -> None:
    """Without masks of low peaks nothing else changes."""
    samples, pictures = of.dataset.split("test")[2:], []
    for least in (0.0, 1e9):
        figure = instance_grid(of, samples, least)
        assert len(figure.axes) == 2 * len(COLUMNS) and [axis.get_title() for axis in figure.axes[:6]] == list(COLUMNS)
        assert [figure.axes[i].get_ylabel() for i in (0, 6)] == ["\n".join(sample.labels) for sample in samples]
        pictures.append([np.asarray(axis.images[0].get_array()) for axis in figure.axes])
    same = [np.array_equal(*both) for both in zip(*pictures)]
    assert [same[i] for i in (0, 1, 2, 5, 6, 7, 8, 11)] == [True] * 8 and not same[4] and not same[10]   # PRM's masks are gone
    drawn(figure)


def test_arrows_where_the_square_shows_the_image(of: Trained) -> None:
    """Maps are 32 pixels, encoded 8; photographs 56 x 44 or 44 x 56."""
    shapes = set()
    for scene in scenes(of, of.dataset.split("test"), [JOB], "test"):
        arrows, (x, y) = field(of, scene, JOB)
        height, width = (8, 6) if scene.shape[0] > scene.shape[1] else (6, 8)
        shapes.add(scene.shape)
        assert arrows.shape == (2, height, width) and x.shape == y.shape == (height, width)
        assert np.allclose(x, [(np.arange(width) + 0.5) / width] * height) and np.allclose(y.T, [(np.arange(height) + 0.5) / height] * width)
        with torch.inference_mode():
            whole = direction(of.fillings[JOB].weights(scene.seen.levels, (8, 8))[0]).numpy()
        assert np.array_equal(arrows, whole[:, :height, :width]) and np.abs(arrows).max() > 0
    assert shapes <= {(56, 44), (44, 56)}


def test_field_grid(of: Trained) -> None:
    """Two columns; with three images one place stays empty."""
    figure = field_grid(of, of.dataset.split("test")[:3])
    assert len(figure.axes) == 4 and [len(axis.images) for axis in figure.axes] == [1, 1, 1, 0]
    assert [len([c for c in axis.collections if type(c).__name__ == "Quiver"]) for axis in figure.axes] == [1, 1, 1, 0]
    assert len(field_grid(of, of.dataset.split("test")[:1], columns=1).axes) == 1
    drawn(figure)


def test_size_density_by_hand() -> None:
    """Six objects of 2 % and three of 30 %; a map that overlaps nothing has no size, and no cell."""
    share = np.array([0.02] * 6 + [0.3] * 3 + [np.nan])
    iou = np.array([0.55] * 3 + [0.75] * 3 + [0.15] * 3 + [0.0])
    best = Best(iou, share, np.zeros(10, int), np.zeros(10, int))
    few = Best(iou[6:], share[6:], np.zeros(4, int), np.zeros(4, int))
    figure = size_density({"PRM": best, "IAM": few})
    assert [axis.get_title() for axis in figure.axes] == ["PRM", "IAM"] and figure.axes[0].get_xscale() == "log"
    counts = [np.asarray(axis.collections[0].get_array()).ravel() for axis in figure.axes]
    assert [sorted(one[one > 0].tolist()) for one in counts] == [[3, 3, 3], [3]]
    line, = figure.axes[0].lines   # only where five objects or more are of one size
    assert len(line.get_xdata()) == 1 and 0.01 < line.get_xdata()[0] < 0.04 and line.get_ydata()[0] == pytest.approx(65)
    assert not figure.axes[1].lines
    drawn(figure)
