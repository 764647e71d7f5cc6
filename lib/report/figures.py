"""Figures that the notebooks share: grids of pictures, and bars with intervals."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

COLOURS: tuple[str, ...] = ("#31688e", "#e07b39", "#35a16b", "#8f4e9f")
SIDE = 160   # pixels of a picture in a grid
Picture = Image.Image | np.ndarray   # a photograph, or a heat map (H, W) in 0..1


def photograph(photo: Image.Image) -> Picture:
    """A photograph as a picture of a grid."""
    return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def heat(values: np.ndarray, how: Image.Resampling = Image.Resampling.BILINEAR) -> Picture:
    """A map `(h, w)` in 0..1 as a picture of a grid."""
    image = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(image.resize((SIDE, SIDE), how))


def palette() -> np.ndarray:
    """VOC's colours `(256, 3)`: class 0 black, 255 void, here light grey."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            is_set = (numbers >> (3 * bit + channel)) & 1
            colours[:, channel] |= (is_set << (7 - bit)).astype(np.uint8)
    colours[255] = 224
    return colours


def picture_grid(rows: Sequence[Sequence[Picture]], columns: Sequence[str], labels: Sequence[str] = (),
                 size: float = 1.5) -> Figure:
    """Photographs and heat maps side by side; one row an image, its label at the left."""
    figure = Figure(figsize=(size * len(columns), size * len(rows) + 0.25), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            _show(axes[r, c], picture)
            if r == 0:
                axes[r, c].set_title(columns[c], fontsize=8)
            if c == 0 and labels:
                axes[r, c].set_ylabel(labels[r], fontsize=7)
    return figure


def bars(groups: Mapping[str, Mapping[str, Mapping[str, float]]], ylabel: str,
         paper: Mapping[str, float | None] | None = None) -> Figure:
    """{network: {row: {"mean", "low", "high"}}} as bars with intervals, the paper's values as diamonds."""
    rows = list(next(iter(groups.values())))
    figure = Figure(figsize=(max(4.5, 0.95 * len(rows)), 3), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(groups)
    for g, (name, values) in enumerate(groups.items()):
        x = np.arange(len(rows)) + (g - (len(groups) - 1) / 2) * width
        means = np.array([values[row]["mean"] for row in rows])
        ends = np.array([[values[row]["low"], values[row]["high"]] for row in rows])
        axis.bar(x, means, width * 0.92, yerr=np.abs(ends.T - means), capsize=2.5, label=name,
                 color=COLOURS[g % len(COLOURS)], error_kw={"lw": 1})
    quoted = {row: value for row, value in (paper or {}).items() if value is not None and row in rows}
    if quoted:
        places = [rows.index(row) for row in quoted]
        axis.scatter(places, list(quoted.values()), marker="D", s=28, color="black", zorder=3, label="paper")
    longest = max(len(row) for row in rows)
    axis.set_xticks(range(len(rows)), rows, rotation=20 if longest > 7 else 0, fontsize=8)
    axis.set_ylabel(ylabel)
    axis.set_ylim(bottom=_bottom(groups, quoted))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _show(axis: Any, picture: Picture) -> None:
    """One picture without ticks; a map in the colours of a heat map, on the same scale everywhere."""
    axis.set_xticks([])
    axis.set_yticks([])
    is_heat = isinstance(picture, np.ndarray) and picture.ndim == 2
    colours = {"cmap": "magma", "vmin": 0, "vmax": 1} if is_heat else {}
    axis.imshow(np.asarray(picture), **colours, aspect="auto")


def _bottom(groups: Mapping[str, Mapping[str, Mapping[str, float]]], quoted: Mapping[str, float]) -> float:
    """Where the axis begins: below the least value, so that differences of long bars are seen."""
    lows = list(quoted.values())
    for values in groups.values():
        lows += [value["low"] for value in values.values()]
    least = min(lows)
    return max(0.0, least - 0.35 * abs(least))
