"""CSoA's figures: bars without the rows that look at nothing, and one row of pictures an image."""
from pathlib import Path

import pytest
import torch
from csoa_toys import CLASSES, toy_data, toy_trunk
from torch import nn

from lib.data.dataset import Dataset
from lib.papers.csoa.figures import COLUMNS, Thresholded, box_grid, error_bars, map_grid
from lib.papers.csoa.method import network_of
from lib.papers.csoa.settings import Variant


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return toy_data(tmp_path / "shapes")


def toy(variant: Variant) -> Thresholded:
    torch.manual_seed(5)
    net = network_of(variant, "4-5", toy_trunk(1), CLASSES[:2], 6)
    nn.init.normal_(net.w_l[-1].weight)
    return Thresholded(net.requires_grad_(False), 0.3)


def test_bars_are_of_networks_beside_the_papers_value() -> None:
    interval = {"mean": 50.0, "low": 40.0, "high": 60.0}
    metrics = {"gt_known": interval, "loc1": interval, "cls1": interval}
    rows = {"base": metrics, "csoa": metrics, "whole_image": {"gt_known": interval}}
    axis = error_bars(rows, "table1_modules", "collage_single").axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["base", "csoa"]
    diamonds = [tuple(point) for points in axis.collections for point in points.get_offsets().tolist()]
    assert (0.0, 53.42) in diamonds
    assert (1.0, 37.69) in diamonds


def test_maps_of_every_image_and_their_union(data: Dataset) -> None:
    samples = data.split("val")[:2]
    figure = map_grid(toy("csoa"), samples, data.boxes, 32)
    assert len(figure.axes) == 2 * len(COLUMNS)
    assert [axis.get_title() for axis in figure.axes[:len(COLUMNS)]] == list(COLUMNS)
    s_l, s_f, union = (axis.images[0].get_array() for axis in figure.axes[3:6])
    assert ((s_l > 0) | (s_f > 0) == (union > 0)).all()


def test_boxes_of_the_variants_side_by_side(data: Dataset) -> None:
    figure = box_grid({"base": toy("base"), "csoa": toy("csoa")}, data.split("val")[:3], data.boxes, 32)
    assert len(figure.axes) == 2 * 3
    assert [axis.get_title() for axis in figure.axes[:2]] == ["base", "csoa"]
