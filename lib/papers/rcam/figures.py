"""Figures 1, 3 and 4 of rCAM, a contact sheet, grids of the best and the worst images, and bars of F."""
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import minimum_filter
from torch import Tensor

from lib.data.dataset import Dataset, Sample, subset
from lib.maps.cam import normalise
from lib.metrics.fmeasure import Curves
from lib.metrics.scoring import Scored
from lib.nets.network import Network
from lib.papers.rcam.levels import components
from lib.papers.rcam.method import rcam
from lib.papers.rcam.settings import RcamSettings
from lib.report.figures import SIDE, Picture, bars, heat, photograph, picture_grid

MAPS: tuple[str, ...] = ("cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam")
LABELS: tuple[str, ...] = ("image", "CAM₁", "CAM₂", "rCAM₁", "rCAM₂", "rCAM₃", "rCAM", "truth")
SHEET_IMAGES, SHEET_COLUMNS = 24, 8
COMPONENTS = 3   # of every level that figure 3 shows
OUTLINE: tuple[int, ...] = (255, 230, 0)


def contact_sheet(dataset: Dataset, split: str) -> Figure:
    """Images of a split spread evenly over it, the truth's outline drawn in."""
    pictures = [_outlined(sample) for sample in subset(dataset.split(split), SHEET_IMAGES)]
    blank = np.ones((SIDE, SIDE, 3))
    pictures += [blank] * (-len(pictures) % SHEET_COLUMNS)
    starts = range(0, len(pictures), SHEET_COLUMNS)
    rows = [pictures[start:start + SHEET_COLUMNS] for start in starts]
    return picture_grid(rows, [""] * SHEET_COLUMNS, size=1.25)


def map_grid(network: Network, samples: Sequence[Sample], settings: RcamSettings,
             labels: Sequence[str] = ()) -> Figure:
    """Figures 1 and 4: every map of the method beside image and truth; `labels` replace the images' ids."""
    photos = [sample.photo() for sample in samples]
    maps = rcam(network, photos, settings).maps
    rows = []
    for i, sample in enumerate(samples):
        heats = [heat(maps[row][i, 0].numpy()) for row in MAPS]
        rows.append([photograph(photos[i]), *heats, _truth(sample)])
    return picture_grid(rows, LABELS, labels or [sample.id for sample in samples], size=1.2)


def component_grid(network: Network, samples: Sequence[Sample], settings: RcamSettings) -> Figure:
    """Figure 3: the first three components at every level."""
    photos = [sample.photo() for sample in samples]
    levels = components(network, photos, settings)
    columns = ["image"]
    for side in levels:
        columns += [f"C{side} {k + 1}" for k in range(COMPONENTS)]
    rows = []
    for i, photo in enumerate(photos):
        row = [photograph(photo)]
        for maps in levels.values():
            row += [_component(maps[i:i + 1, k:k + 1]) for k in range(COMPONENTS)]
        rows.append(row)
    return picture_grid(rows, columns, size=0.95)


def extremes(scored: Scored, row: str, images: int) -> tuple[list[int], list[int]]:
    """Positions of the best and the worst images by their own best F: chosen by score, not by taste."""
    worst_first = best_f(scored, row).argsort(kind="stable")
    return worst_first[::-1][:images].tolist(), worst_first[:images].tolist()


def best_f(scored: Scored, row: str) -> np.ndarray:
    """Each image's own best F `(N,)`."""
    return Curves.of(scored.curves[row]).f.max(1)


def extreme_grid(network: Network, samples: Sequence[Sample], scored: Scored, settings: RcamSettings,
                 images: int) -> tuple[Figure, Figure]:
    """Map grids of the best and of the worst images by F of rCAM, labelled with it."""
    f = best_f(scored, "rcam")
    by_id = {sample.id: sample for sample in samples}
    grids = []
    for places in extremes(scored, "rcam", images):
        chosen = [by_id[scored.ids[place]] for place in places]
        grids.append(map_grid(network, chosen, settings, [f"F {f[place]:.2f}" for place in places]))
    best, worst = grids
    return best, worst


def f_bars(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """ODS and OIS of every row with their intervals; `rows` is {row: {metric: interval}}, as in a record."""
    groups = {}
    for metric in ("ods", "ois"):
        groups[metric] = {row: scores[metric] for row, scores in rows.items()}
    return bars(groups, "F")


def _component(values: Tensor) -> Picture:
    """One component `(1, 1, h, w)`, its cells left square."""
    return heat(normalise(values)[0, 0].numpy(), Image.Resampling.NEAREST)


def _truth(sample: Sample) -> Picture:
    return heat(sample.foreground()[0].astype(np.float32), Image.Resampling.NEAREST)


def _outlined(sample: Sample) -> Picture:
    """The photograph in its own shape on a white square, a yellow line around the foreground."""
    photo = sample.photo()
    photo.thumbnail((SIDE, SIDE))
    truth = np.asarray(Image.fromarray(sample.foreground()[0]).resize(photo.size))
    edge = truth & ~minimum_filter(truth, 3)
    picture = Image.fromarray(np.where(edge[..., None], np.uint8(OUTLINE), np.asarray(photo)))
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return np.asarray(square)
