"""CSoA's figures: both class activation maps, what exceeds the threshold, their union, and the boxes."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch.nn.functional import interpolate

from lib.data.dataset import Sample
from lib.metrics.localisation import boxes_of
from lib.papers.csoa.batches import Squares
from lib.papers.csoa.locate import TruthBoxes, at_thresholds, own_maps, square_truth
from lib.papers.csoa.tables import BLIND, PAPER
from lib.papers.csoa.two_classifiers import TwoClassifiers
from lib.report.figures import SIDE, Picture, bars, heat, picture_grid

TRUTH, PREDICTED = (60, 200, 60), (230, 40, 40)   # colours of boxes
COLUMNS: tuple[str, ...] = ("box (red), truth (green)", "S_L", "S_F", "S_L > θ max", "S_F > θ max", "union")

ERRORS = {"GT-known": "gt_known", "top-1 localisation": "loc1", "top-1 classification": "cls1"}


def error_bars(rows: Mapping[str, Mapping[str, Any]], table: str, dataset: str) -> Figure:
    """Errors of a table's networks with intervals; diamonds are the paper's top-1 localisation error."""
    networks = {row: metrics for row, metrics in rows.items() if row not in BLIND}
    groups = {}
    for name, metric in ERRORS.items():
        groups[name] = {row: metrics[metric] for row, metrics in networks.items()}
    printed = {row: PAPER.value(table, dataset, row, "loc1") for row in networks}
    return bars(groups, "error (%)", printed)


@dataclass(frozen=True)
class Thresholded:
    """A network, and the theta at which its maps are binarised."""
    net: TwoClassifiers
    theta: float


def map_grid(drawn: Thresholded, samples: Sequence[Sample], boxes: TruthBoxes, side: int) -> Figure:
    """Figures 1 and 4: the true class's maps of a network with two classifiers, one row an image."""
    squares = Squares(side)
    rows = []
    for sample in samples:
        maps = _maps_of(drawn.net, sample, squares)
        masks = _masks_of(maps, side, drawn.theta)
        row = [_with_boxes(sample, squares, boxes, boxes_of(masks["union"], "largest"))]
        row += [heat(_unit(maps[name])) for name in ("s_l", "s_f")]
        row += [heat(masks[name].astype(float), Image.Resampling.NEAREST) for name in ("s_l", "s_f", "union")]
        rows.append(row)
    return picture_grid(rows, COLUMNS, [sample.labels[0] for sample in samples])


def box_grid(variants: Mapping[str, Thresholded], samples: Sequence[Sample], boxes: TruthBoxes,
             side: int) -> Figure:
    """Figure 3, with the variants of CSoA side by side: boxes of the true class at each one's theta."""
    squares = Squares(side)
    rows = []
    for sample in samples:
        row = []
        for drawn in variants.values():
            masks = _masks_of(_maps_of(drawn.net, sample, squares), side, drawn.theta)
            row.append(_with_boxes(sample, squares, boxes, boxes_of(masks["union"], "largest")))
        rows.append(row)
    return picture_grid(rows, list(variants), [sample.labels[0] for sample in samples])


@torch.inference_mode()
def _maps_of(net: TwoClassifiers, sample: Sample, squares: Squares) -> dict[str, torch.Tensor]:
    """The maps `(h, w)` of the sample's class, by classifier."""
    device = next(net.parameters()).device
    classes = torch.tensor([net.classes.index(sample.labels[0])], device=device)
    s_l, s_f = net(squares.batch([sample]).to(device))
    return {name: maps[0].cpu() for name, maps in own_maps(s_l, s_f, classes).items()}


def _masks_of(maps: Mapping[str, torch.Tensor], side: int, theta: float) -> dict[str, np.ndarray]:
    alone = {name: one[None] for name, one in maps.items()}
    return {name: masks[0, 0] for name, masks in at_thresholds(alone, side, [theta]).items()}


def _unit(values: torch.Tensor) -> np.ndarray:
    """A map enlarged, from its least to its largest value."""
    large = interpolate(values[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0].numpy()
    return (large - large.min()) / max(float(large.max() - large.min()), 1e-9)


def _with_boxes(sample: Sample, squares: Squares, boxes: TruthBoxes, predicted: np.ndarray) -> Picture:
    """A photograph with its truth boxes, and with boxes that were found in its square."""
    photo = sample.photo().resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(photo)
    scale = SIDE / squares.side
    for colour, corners in ((TRUTH, square_truth(sample, boxes, squares)), (PREDICTED, predicted)):
        for x, y, right, bottom in corners * scale:
            draw.rectangle((x, y, max(x, right - 1), max(y, bottom - 1)), outline=colour, width=3)
    return np.asarray(photo)
