"""CSoA's figures: both class activation maps, what exceeds the threshold, their union, and the boxes."""
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch.nn.functional import interpolate

from lib.data.dataset import Box, Sample
from lib.metrics.localisation import boxes_of
from lib.papers.csoa.batches import Squares
from lib.papers.csoa.locate import at_thresholds, square_truth
from lib.papers.csoa.method import own_map
from lib.papers.csoa.two_classifiers import TwoClassifiers
from lib.report.figures import SIDE, Picture, heat, picture_grid

TRUTH, FOUND = (60, 200, 60), (230, 40, 40)
COLUMNS = ("box (red), truth (green)", "S_L", "S_F", "S_L > θ max", "S_F > θ max", "union")


def map_grid(net: TwoClassifiers, theta: float, samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]], side: int) -> Figure:
    """Figures 1 and 4: the true class's maps of a network with two classifiers, one row an image."""
    squares = Squares(side)
    rows = []
    for sample in samples:
        maps = _own_maps(net, sample, squares)
        masks = {name: masks[0] for name, masks in at_thresholds(maps, side, [theta]).items()}
        found = boxes_of(masks["union"], "largest")
        rows.append([_with_boxes(sample, squares, boxes, found), *(heat(_unit(maps[name])) for name in ("s_l", "s_f")),
                     *(heat(masks[name].astype(float), Image.Resampling.NEAREST) for name in ("s_l", "s_f", "union"))])
    return picture_grid(rows, COLUMNS, [sample.labels[0] for sample in samples])


def box_grid(nets: Mapping[str, tuple[TwoClassifiers, float]], samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]], side: int) -> Figure:
    """Figure 3, with the variants of CSoA side by side: boxes of the true class at each one's theta."""
    squares = Squares(side)
    rows = [[_with_boxes(sample, squares, boxes, boxes_of(at_thresholds(_own_maps(net, sample, squares), side, [theta])["union"][0], "largest"))
             for net, theta in nets.values()] for sample in samples]
    return picture_grid(rows, list(nets), [sample.labels[0] for sample in samples])


@torch.inference_mode()
def _own_maps(net: TwoClassifiers, sample: Sample, squares: Squares) -> dict[str, torch.Tensor]:
    classes = torch.tensor([net.classes.index(sample.labels[0])])
    found = dict(zip(("s_l", "s_f"), net(squares.batch([sample]))))
    return {name: own_map(maps, classes)[0] for name, maps in found.items() if maps is not None}


def _unit(values: torch.Tensor) -> np.ndarray:
    """A map enlarged, from its least to its largest value."""
    large = interpolate(values[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0].numpy()
    return (large - large.min()) / max(float(large.max() - large.min()), 1e-9)


def _with_boxes(sample: Sample, squares: Squares, boxes: Mapping[str, Sequence[Box]], found: np.ndarray) -> Picture:
    photo = sample.photo().resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    draw, scale = ImageDraw.Draw(photo), SIDE / squares.side
    for colour, corners in ((TRUTH, square_truth(sample, boxes, squares)), (FOUND, found)):
        for x, y, right, bottom in corners * scale:
            draw.rectangle((x, y, max(x, right - 1), max(y, bottom - 1)), outline=colour, width=3)
    return np.asarray(photo)
