"""IAM's figures: maps and masks (1 and 6), filling weights as arrows (5), overlap by object size (7)."""
import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

from lib.data.dataset import VOID, Sample
from lib.maps.cam import each_maximum_is_one
from lib.metrics.instances import Best
from lib.papers.iam.filling import direction
from lib.papers.iam.instances import by_convcrf, iam_instances, prm_instances
from lib.papers.iam.method import HALVED, unsquared
from lib.papers.iam.rows import Scene, scenes
from lib.papers.iam.trained import Trained
from lib.report.curves import training_curves
from lib.report.figures import Picture, heat, palette, photograph, picture_grid

COLUMNS: tuple[str, ...] = ("peaks", "PRMs", "IAMs", "IAM masks", "PRM masks", "truth")
ENOUGH = 5   # objects of a size, for a mean


def instance_grid(trained: Trained, samples: Sequence[Sample], least: float) -> Figure:
    """Figures 1 and 6: peaks, maps, instance masks by IAM-S5 and PRM, truth.

    Maps are the maximum over the peaks; of IAM's and PRM's masks those of peaks above `least` are shown.
    """
    rows = [_row(trained, scene, least) for scene in scenes(trained, samples, [trained.main_job], "figures")]
    return picture_grid(rows, COLUMNS, ["\n".join(dict.fromkeys(sample.labels)) for sample in samples])


def field_grid(trained: Trained, samples: Sequence[Sample]) -> Figure:
    """Figure 5: the direction in which each pixel is filled, as arrows on the photograph; two in a row.

    An arrow points to the neighbour from which its pixel takes.
    """
    rows = -(-len(samples) // 2)
    figure = Figure(figsize=(7.4, 3.8 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for number, scene in enumerate(scenes(trained, samples, [trained.main_job], "filling weights")):
        _draw_field(axes[number], scene, *field(trained, scene))
    for axis in axes:
        axis.set_axis_off()
    return figure


def field(trained: Trained, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Arrows to the right and down `(2, h, w)`, and their places `(2, h, w)` as shares of the image's sides.

    Where the padded square shows the image.
    """
    encoded = trained.network.filling.map_side // HALVED
    with torch.inference_mode():
        weights = trained.main.weights(scene.output.levels, (encoded, encoded))[0]
        arrows = direction(weights).cpu().numpy()
    height, width = (max(1, round(encoded * n / max(scene.shape))) for n in scene.shape)
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    return arrows[:, :height, :width], np.stack([x, y])


def size_density(best_of: Mapping[str, Best]) -> Figure:
    """Figure 7: how many objects have which size and best overlap, by kind of map; means as a line."""
    figure = Figure(figsize=(4.4 * len(best_of), 3.4), layout="constrained")
    axes = figure.subplots(1, len(best_of), sharey=True, squeeze=False)[0]
    for axis, (name, best) in zip(axes, best_of.items(), strict=True):
        _draw_density(axis, best)
        axis.set_title(name, fontsize=9)
    axes[0].set_ylabel("best IoU (%)", fontsize=8)
    if axes[-1].get_legend_handles_labels()[0]:
        axes[-1].legend(fontsize=7, frameon=False, loc="upper left")
    return figure


def training_figure(path: Path) -> Figure:
    """The curves of a classifier's file, or of a filling module's, which has no phases."""
    with open(path, encoding="utf-8") as stream:
        rows = [{"phase": "filling", **line} for line in csv.DictReader(stream)]
    return training_curves(rows)


def _draw_density(axis: Axes, best: Best) -> None:
    size = best.share
    iou = 100 * best.iou
    size_bounds = np.logspace(-3, 0, 13)
    iou_bounds = np.linspace(0, 100, 11)
    counts, _, _ = np.histogram2d(size, iou, [size_bounds, iou_bounds])
    axis.pcolormesh(size_bounds, iou_bounds, counts.T, cmap="Blues")
    means = []
    for low, high in pairwise(size_bounds):
        of_this_size = iou[(size >= low) & (size < high)]
        if len(of_this_size) >= ENOUGH:
            means.append((np.sqrt(low * high), of_this_size.mean()))
    if means:
        label = "mean (sizes with 5 objects or more)"
        axis.plot(*zip(*means, strict=True), color="#C44E52", marker="o", ms=3, label=label)
    axis.set_xscale("log")
    axis.set_xlabel("object size, share of the image", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _row(trained: Trained, scene: Scene, least: float) -> list[Picture]:
    activations = scene.activations[trained.main_job]
    heats = [_united(unsquared(maps, *scene.shape), scene.shape) for maps in (scene.output.prms, activations)]
    settings = trained.settings
    iam = iam_instances(scene.photo, scene.output, activations, settings, by_convcrf(settings.crf))
    prm = prm_instances(scene.output, scene.proposals, scene.shape, settings)
    painted = [_painted(scene.photo, found.masks[found.values > least]) for found in (iam, prm)]
    truth = [scene.numbers == number for number in scene.classes]
    return [_with_peaks(scene), *heats, *painted, _painted(scene.photo, truth, scene.numbers == VOID)]


def _united(maps: Tensor, shape: tuple[int, int]) -> Picture:
    """The maximum over maps `(P, H, W)`, each divided by its own largest value."""
    if not len(maps):
        return heat(np.zeros(shape, np.float32))
    return heat(each_maximum_is_one(maps).amax(0).cpu().numpy())


def _with_peaks(scene: Scene) -> Picture:
    picture = Image.fromarray(photograph(scene.photo))
    draw = ImageDraw.Draw(picture)
    peaks = scene.output.peaks
    # Of a class map, in the image's pixels.
    cell = np.array([max(scene.shape) / n for n in scene.output.class_maps.shape[:1:-1]])
    for column, row in zip(peaks.column.tolist(), peaks.row.tolist(), strict=True):
        middle = np.array([column + 0.5, row + 0.5]) * cell
        x, y = (middle * picture.width / np.array(scene.shape[::-1])).tolist()
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=(255, 40, 40), width=3)
    return np.asarray(picture)


def _painted(photo: Image.Image, masks: Sequence[np.ndarray], void: np.ndarray | None = None) -> Picture:
    """Masks in colours of their own over a dimmed photograph; the first ones, the most confident, on top."""
    picture = np.asarray(photo).astype(np.float32) * 0.35 + 90
    for number in range(len(masks))[::-1]:
        picture[masks[number]] = 0.45 * picture[masks[number]] + 0.55 * palette()[1 + number % 20]
    if void is not None:
        picture[void] = 255
    return photograph(Image.fromarray(picture.clip(0, 255).astype(np.uint8)))


def _draw_field(axis: Axes, scene: Scene, arrows: np.ndarray, places: np.ndarray) -> None:
    height, width = scene.shape
    grey = np.asarray(scene.photo.convert("L")).astype(np.float32)
    axis.imshow(0.45 * grey + 140, cmap="gray", vmin=0, vmax=255)
    length = np.hypot(*arrows)
    scale = np.quantile(length, 0.98)
    is_shown = length > 0.15 * scale
    step = width / arrows.shape[2]
    angle = np.arctan2(arrows[1], arrows[0])
    right, down = arrows[:, is_shown] / max(scale, 1e-9) * step * 1.3
    axis.quiver(places[0][is_shown] * width, places[1][is_shown] * height, right, down, angle[is_shown],
                cmap="hsv", angles="xy", scale_units="xy", scale=1, width=0.0035, headwidth=3.5,
                clim=(-np.pi, np.pi))
