"""IAM's figures: maps and masks (1 and 6), filling weights as a vector field (5), overlap against the object's size (7)."""
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from lib.data.dataset import VOID, Sample
from lib.metrics.instances import Best
from lib.papers.iam.filling import direction
from lib.papers.iam.instances import by_convcrf, iam_instances, prm_instances
from lib.papers.iam.method import HALVED, unsquared
from lib.papers.iam.rows import Scene, Trained, scenes
from lib.papers.iam.settings import MAIN, FillingJob
from lib.report.figures import SIDE, Picture, heat, palette, picture_grid

COLUMNS = ("peaks", "PRMs", "IAMs", "IAM masks", "PRM masks", "truth")


def instance_grid(of: Trained, samples: Sequence[Sample], least: float) -> Figure:
    """Figures 1 and 6: peaks, the maximum of the peak response maps and of the activation maps, instance masks by IAM-S5 and PRM, truth."""
    job = FillingJob(MAIN, of.network.seeds[0])
    rows = [_row(of, scene, job, least) for scene in scenes(of, samples, [job], "figures")]
    return picture_grid(rows, COLUMNS, ["\n".join(dict.fromkeys(sample.labels)) for sample in samples])


def field_grid(of: Trained, samples: Sequence[Sample], columns: int = 2) -> Figure:
    """Figure 5: the direction in which each pixel is filled, as arrows on the photograph; an arrow points to the neighbour it takes from."""
    job = FillingJob(MAIN, of.network.seeds[0])
    rows = -(-len(samples) // columns)
    figure = Figure(figsize=(7.4, 3.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, scene in zip(axes, scenes(of, samples, [job], "filling weights")):
        _draw_field(axis, scene, *field(of, scene, job))
    for axis in axes:
        axis.set_axis_off()
    return figure


def field(of: Trained, scene: Scene, job: FillingJob) -> tuple[np.ndarray, np.ndarray]:
    """Arrows to the right and down `(2, h, w)` where the padded square shows the image, and their places `(2, h, w)` as shares of its sides."""
    encoded = of.network.filling.map_side // HALVED
    with torch.inference_mode():
        arrows = direction(of.fillings[job].weights(scene.seen.levels, (encoded, encoded))[0]).cpu().numpy()
    height, width = (max(1, round(encoded * n / max(scene.shape))) for n in scene.shape)
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    return arrows[:, :height, :width], np.stack([x, y])


def size_density(found: Mapping[str, Best]) -> Figure:
    """Figure 7: how many objects have which size and best overlap, by kind of map; means by size as a line."""
    figure = Figure(figsize=(4.4 * len(found), 3.4), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    bounds = np.logspace(-3, 0, 13)
    for axis, (name, best) in zip(axes, found.items()):
        size, iou = best.share, 100 * best.iou
        counts, _, _ = np.histogram2d(size, iou, [bounds, np.linspace(0, 100, 11)])
        axis.pcolormesh(bounds, np.linspace(0, 100, 11), counts.T, cmap="Blues")
        middle = [(np.sqrt(a * b), iou[(size >= a) & (size < b)].mean()) for a, b in zip(bounds, bounds[1:]) if ((size >= a) & (size < b)).sum() >= 5]
        axis.plot(*zip(*middle), color="#C44E52", marker="o", ms=3, label="mean (sizes with 5 objects or more)") if middle else None
        axis.set_xscale("log")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("object size, share of the image", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("best IoU (%)", fontsize=8)
    if axes[-1].get_legend_handles_labels()[0]:
        axes[-1].legend(fontsize=7, frameon=False, loc="upper left")
    return figure


def _row(of: Trained, scene: Scene, job: FillingJob, least: float) -> list[Picture]:
    maps = [unsquared(m, *scene.shape) for m in (scene.seen.prms, scene.activations[job])]
    heats = [heat(np.zeros(scene.shape, np.float32) if not len(m) else (m / m.amax((1, 2), keepdim=True).clamp(min=1e-12)).amax(0).cpu().numpy()) for m in maps]
    found = [iam_instances(scene.photo, scene.seen, scene.activations[job], of.settings, by_convcrf(of.settings.crf)),
             prm_instances(scene.seen, scene.proposals, scene.shape, of.settings)]
    painted = [_painted(scene.photo, some.masks[some.values > least]) for some in found]
    return [_with_peaks(scene), *heats, *painted, _painted(scene.photo, [scene.numbers == n for n in scene.classes], scene.numbers == VOID)]


def _with_peaks(scene: Scene) -> Picture:
    photo = scene.photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    draw, peaks = ImageDraw.Draw(photo), scene.seen.peaks
    cell = np.array([max(scene.shape) / n for n in scene.seen.maps.shape[:1:-1]])   # of a class map, in the image's pixels
    for x, y in zip(peaks.column.tolist(), peaks.row.tolist()):
        cx, cy = (np.array([x + 0.5, y + 0.5]) * cell * SIDE / np.array(scene.shape[::-1])).tolist()
        draw.ellipse((cx - 6, cy - 6, cx + 6, cy + 6), outline=(255, 40, 40), width=3)
    return np.asarray(photo)


def _painted(photo: Image.Image, masks: Sequence[np.ndarray], void: np.ndarray | None = None) -> Picture:
    """Masks in colours of their own over a dimmed photograph; the first ones, the most confident, on top."""
    picture = np.asarray(photo).astype(np.float32) * 0.35 + 90
    for number in range(len(masks))[::-1]:
        picture[masks[number]] = 0.45 * picture[masks[number]] + 0.55 * palette()[1 + number % 20]
    if void is not None:
        picture[void] = 255
    return np.asarray(Image.fromarray(picture.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _draw_field(axis, scene: Scene, arrows: np.ndarray, places: np.ndarray) -> None:
    height, width = scene.shape
    grey = np.asarray(scene.photo.convert("L")).astype(np.float32)
    axis.imshow(0.45 * grey + 140, cmap="gray", vmin=0, vmax=255)
    length = np.hypot(*arrows)
    scale = np.quantile(length, 0.98)
    shown = length > 0.15 * scale
    step = width / arrows.shape[2]
    angle = np.arctan2(arrows[1], arrows[0])
    axis.quiver(places[0][shown] * width, places[1][shown] * height, *(arrows[:, shown] / max(scale, 1e-9) * step * 1.3), angle[shown], cmap="hsv", angles="xy",
                scale_units="xy", scale=1, width=0.0035, headwidth=3.5, clim=(-np.pi, np.pi))
