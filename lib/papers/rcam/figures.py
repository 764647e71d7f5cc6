"""Figures 1, 3 and 4 of the rCAM paper, the contact sheet, and grids of the best and worst images by score."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import minimum_filter

from lib.data.dataset import Dataset, Sample
from lib.maps.cam import normalise
from lib.metrics.scoring import Scored, subset
from lib.nets.network import Network
from lib.papers.rcam.levels import components
from lib.papers.rcam.method import rcam
from lib.papers.rcam.settings import RcamSettings
from lib.report.figures import SIDE, Picture, heat, photograph, picture_grid

MAPS = ("cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam")
LABELS = ("image", "CAM₁", "CAM₂", "rCAM₁", "rCAM₂", "rCAM₃", "rCAM", "truth")


def contact_sheet(dataset: Dataset, split: str, images: int = 24, columns: int = 8) -> Figure:
    """Images of a split spread evenly over it, the truth's outline drawn in."""
    pictures = [_outlined(s) for s in subset(dataset.split(split), images)]
    pictures += [np.ones((SIDE, SIDE, 3))] * (-len(pictures) % columns)
    return picture_grid([pictures[i:i + columns] for i in range(0, len(pictures), columns)], [""] * columns, size=1.25)


def map_grid(network: Network, samples: Sequence[Sample], settings: RcamSettings, labels: Sequence[str] = ()) -> Figure:
    """Figures 1 and 4: every map of the method beside image and truth."""
    found = rcam(network, [s.photo() for s in samples], settings).maps
    rows = [[photograph(s.photo()), *(heat(found[m][i, 0].numpy()) for m in MAPS), _truth(s)] for i, s in enumerate(samples)]
    return picture_grid(rows, LABELS, labels or [s.id for s in samples], size=1.2)


def component_grid(network: Network, samples: Sequence[Sample], settings: RcamSettings) -> Figure:
    """Figure 3: the first three components at every level."""
    found = components(network, [s.photo() for s in samples], settings)
    columns = ["image", *(f"C{side} {k + 1}" for side in found for k in range(3))]
    rows = [[photograph(s.photo()), *(heat(normalise(maps[i:i + 1, k:k + 1])[0, 0].numpy(), Image.Resampling.NEAREST)
                                      for maps in found.values() for k in range(3))] for i, s in enumerate(samples)]
    return picture_grid(rows, columns, size=0.95)


def extremes(scored: Scored, row: str, images: int) -> tuple[list[int], list[int]]:
    """Positions of the best and the worst images by their own best F: chosen by score, not by taste."""
    from lib.metrics.fmeasure import Curves

    order = Curves.of(scored.curves[row]).f.max(1).argsort(kind="stable")
    return order[::-1][:images].tolist(), order[:images].tolist()


def extreme_grid(network: Network, samples: Sequence[Sample], scored: Scored, settings: RcamSettings, images: int) -> tuple[Figure, Figure]:
    """Map grids of the best and of the worst images, labelled with their F."""
    from lib.metrics.fmeasure import Curves

    f, by_id = Curves.of(scored.curves["rcam"]).f.max(1), {s.id: s for s in samples}
    grids = [map_grid(network, [by_id[scored.ids[i]] for i in chosen], settings, [f"F {f[i]:.2f}" for i in chosen])
             for chosen in extremes(scored, "rcam", images)]
    return grids[0], grids[1]


def _truth(sample: Sample) -> Picture:
    return heat(sample.foreground()[0].astype(np.float32), Image.Resampling.NEAREST)


def _outlined(sample: Sample) -> Picture:
    """The photograph in its own shape on a white square, a yellow line around the foreground."""
    photo = sample.photo()
    photo.thumbnail((SIDE, SIDE))
    truth = np.asarray(Image.fromarray(sample.foreground()[0]).resize(photo.size))
    edge = truth & ~minimum_filter(truth, 3)
    picture = Image.fromarray(np.where(edge[..., None], np.uint8((255, 230, 0)), np.asarray(photo)))
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return np.asarray(square)
