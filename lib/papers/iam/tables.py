"""IAM's tables: scores of instance masks over images and trained seeds, constants from validation images."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.metrics.bootstrap import Chance, Scores, Table, table
from lib.metrics.instances import Compared, abo, map_r, per_class_iou
from lib.metrics.miou import mean_of_known
from lib.papers.iam.rows import Rated, RowKey, Rows
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))

LEVELS = {"map25": 0.25, "map50": 0.5, "map75": 0.75}
ALL_CLASSES = "all classes"   # the row of figure 8 for the mean over classes

BySeed = list[list[Compared]]   # images of each seed of one row
RatedBySeed = list[list[Rated]]


@dataclass(frozen=True)
class ChosenRows:
    """Rows of a table by name, and the constants that were chosen for each on validation images."""
    rows: dict[str, BySeed]
    constants: dict[str, dict[str, float]] = field(default_factory=dict)

    def at(self, positions: Sequence[int]) -> "ChosenRows":
        """Some of the images alone."""
        rows = {}
        for row, seeds in self.rows.items():
            rows[row] = [_at(images, positions) for images in seeds]
        return ChosenRows(rows, self.constants)


def every_peak(rows: Rows) -> ChosenRows:
    """Rows without constants: every peak counts, however low."""
    return ChosenRows({key.name: _all_masks(seeds) for key, seeds in by_seed(rows).items()})


def choose(val: Rows, test: Rows, peaks: Sequence[float]) -> ChosenRows:
    """Test rows at the constants that are best on the validation images.

    Of rows that differ in their share of a class activation map's maximum one is left; others get the best of
    the least values of a peak.
    """
    val_rows = by_seed(val)
    rows: dict[str, BySeed] = {}
    constants: dict[str, dict[str, float]] = {}
    for key, seeds in by_seed(test).items():
        if key.share is not None:
            if key == _best_share(val_rows, key.name):
                constants[key.name] = {"cam_share": key.share}
                rows[key.name] = _all_masks(seeds)
        elif _are_boxes(val_rows[key]):
            constants[key.name] = {}
            rows[key.name] = _all_masks(seeds)
        else:
            least = best_least(val_rows[key], peaks)
            constants[key.name] = {"least": least}
            rows[key.name] = [_above(images, least) for images in seeds]
    return ChosenRows(rows, constants)


def by_seed(rows: Rows) -> dict[RowKey, RatedBySeed]:
    """Rows with the images of every seed; their keys have none."""
    found: dict[RowKey, RatedBySeed] = {}
    for key, images in rows.items():
        found.setdefault(replace(key, seed=None), []).append(images)
    return found


def best_least(seeds: Sequence[Sequence[Rated]], tried: Sequence[float]) -> float:
    """The least value of a peak with the best scores, averaged over seeds; of equals the lowest.

    For validation images.
    """
    means = []
    for least in tried:
        means.append(np.mean([overall(_above(images, least)) for images in seeds]))
    return tried[int(np.argmax(means))]


def overall(images: Sequence[Compared]) -> float:
    """What constants are chosen by: the mean of the three mAP^r."""
    alike = np.full((1, len(images)), 1 / len(images))
    return float(np.mean([map_r(images, alike, least)[0] for least in LEVELS.values()]))


def instance_scores(images: Sequence[Compared], weights: np.ndarray) -> Scores:
    """mAP^r at three overlaps and ABO, in percent, under image weights `(S, N)`."""
    scores = {metric: map_r(images, weights, least) for metric, least in LEVELS.items()}
    return scores | {"abo": abo(images, weights)}


def scores_over_seeds(seeds: Sequence[Sequence[Compared]], chance: Chance) -> Scores:
    """Every score, averaged over the seeds that were trained `(1 + samples,)`.

    Draws take images and seeds, the same for every row.
    """
    weights = chance.draws(len(seeds[0]))
    chosen_seeds = replace(chance, seed=chance.seed + 1).draws(len(seeds))
    each = [instance_scores(images, weights) for images in seeds]
    scores = {}
    for metric in each[0]:
        values = np.stack([_where_known(own[metric]) for own in each], axis=1)
        scores[metric] = (chosen_seeds * values).sum(1)
    return scores


def instance_table(chosen: ChosenRows, pairs: Sequence[tuple[str, str]], chance: Chance) -> Table:
    """Rows with intervals, each with the constants that were chosen for it, and comparisons of `pairs`."""
    scores = {row: scores_over_seeds(seeds, chance) for row, seeds in chosen.rows.items()}
    rows, comparisons = table(scores, pairs, chance)
    for row, constants in chosen.constants.items():
        for name, value in constants.items():
            rows[row][name] = {"mean": value, "low": value, "high": value}
    return rows, comparisons


def gain_table(chosen: ChosenRows, chance: Chance) -> Table:
    """By how much, in percent, IAM-S5's scores exceed PRM's: one row a metric, and their differences."""
    ours = scores_over_seeds(chosen.rows["iam_s5"], chance)
    theirs = scores_over_seeds(chosen.rows["prm"], chance)
    gains: dict[str, Scores] = {}
    for metric in ours:
        gains[metric] = {"gain": 100 * (ours[metric] / np.maximum(theirs[metric], 1e-9) - 1)}
    pairs = [(a, b) for a in gains for b in gains if a != b]
    return table(gains, pairs, chance)


def class_table(maps: Mapping[str, Sequence[Compared]], classes: Sequence[str], chance: Chance) -> Table:
    """Figure 8: mean best IoU of a class's maps, rows `dog, PRM` and `dog, IAM`, and the mean over classes.

    Classes without maps of either kind are left out.
    """
    weights = chance.draws(len(maps["prm"]))
    iou = {kind: per_class_iou(images, weights, len(classes)) for kind, images in maps.items()}
    rows: dict[str, Scores] = {}
    for k, name in enumerate(classes):
        if all(np.isfinite(values[0, k]) for values in iou.values()):
            for kind, values in iou.items():
                rows[class_row(name, kind)] = {"iou_class": _where_known(values[:, k])}
    if rows:
        for kind, values in iou.items():
            rows[class_row(ALL_CLASSES, kind)] = {"iou_class": _where_known(mean_of_known(values))}
    pairs = [(class_row(name, "iam"), class_row(name, "prm")) for name in (*classes, ALL_CLASSES)]
    return table(rows, pairs, chance)


def class_row(name: str, kind: str) -> str:
    """The row of figure 8 for a class and a kind of map, "prm" or "iam"."""
    return f"{name}, {kind.upper()}"


def class_groups(rows: Mapping[str, Any], classes: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Figure 8's bars from the rows of `class_table`: kind of map -> class -> interval."""
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for kind in ("prm", "iam"):
        there = [name for name in classes if class_row(name, kind) in rows]
        groups[kind.upper()] = {name: rows[class_row(name, kind)]["iou_class"] for name in there}
    return groups


def worst_class(rows: Mapping[str, Any], comparisons: Mapping[str, Any], classes: Sequence[str]) -> Table:
    """The class on which IAMs gain least over PRMs in `class_table`, as rows `iam` and `prm`.

    A claim on every class stands or falls with it. A class in a single image has no interval, and no say.
    Nothing where no class has one.
    """
    gains: dict[str, float] = {}
    for name in classes:
        difference = comparisons.get(f"{class_row(name, 'iam')} - {class_row(name, 'prm')}")
        if difference and difference["iou_class"]["low"] < difference["iou_class"]["high"]:
            gains[name] = difference["iou_class"]["mean"]
    if not gains:
        return {}, {}
    worst = min(gains, key=gains.__getitem__)
    iam, prm = class_row(worst, "iam"), class_row(worst, "prm")
    renamed = {f"iam {sign} prm": comparisons[f"{iam} {sign} {prm}"] for sign in "-/"}
    return {"prm": rows[prm], "iam": rows[iam]}, renamed


def _best_share(val_rows: Mapping[RowKey, RatedBySeed], name: str) -> RowKey:
    options = [key for key in val_rows if key.name == name and key.share is not None]
    return max(options, key=lambda key: overall(_every_mask(val_rows[key][0])))


def _are_boxes(seeds: RatedBySeed) -> bool:
    """Masks that come from boxes have no peaks, so that no least value of one is chosen for them."""
    return any(np.isinf(image.values).any() for images in seeds for image in images)


def _all_masks(seeds: RatedBySeed) -> BySeed:
    return [_every_mask(images) for images in seeds]


def _every_mask(images: Sequence[Rated]) -> list[Compared]:
    return [image.compared for image in images]


def _at(images: Sequence[Compared], positions: Sequence[int]) -> list[Compared]:
    return [images[i] for i in positions]


def _above(images: Sequence[Rated], least: float) -> list[Compared]:
    return [image.above(least) for image in images]


def _where_known(values: np.ndarray) -> np.ndarray:
    """Draws without any map of a class, or any truth, say nothing: they take the estimate from all images."""
    return np.where(np.isnan(values), values[0], values)
