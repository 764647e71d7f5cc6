"""IAM's tables: scores of rows of instance masks, over images and trained seeds; constants from validation images."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.metrics.bootstrap import Scores, compare, draws, summarise
from lib.metrics.instances import Compared, abo, map_r, per_class_iou
from lib.metrics.miou import mean_of_known
from lib.papers.iam.rows import Rated, Rows
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))

LEVELS = {"map25": 0.25, "map50": 0.5, "map75": 0.75}
Chance = tuple[int, float, int]   # samples, level and seed of the bootstrap


def instance_scores(images: Sequence[Compared], weights: np.ndarray) -> Scores:
    """mAP^r at three overlaps and ABO, in percent, under image weights `(S, N)`."""
    return {metric: map_r(images, weights, least) for metric, least in LEVELS.items()} | {"abo": abo(images, weights)}


def overall(images: Sequence[Compared]) -> float:
    """What constants are chosen by: the mean of the three mAP^r."""
    alike = np.full((1, len(images)), 1 / len(images))
    return float(np.mean([map_r(images, alike, least)[0] for least in LEVELS.values()]))


def best_least(seeds: Sequence[Sequence[Rated]], tried: Sequence[float]) -> float:
    """The least value of a peak with the best scores, averaged over seeds; for validation images. Of equals the lowest."""
    means = [np.mean([overall([image.above(least) for image in images]) for images in seeds]) for least in tried]
    return tried[int(np.argmax(means))]


def by_seed(rows: Rows) -> dict[str, list[list[Rated]]]:
    """Row -> images of each seed: `iam_s5 seed 0` and `iam_s5 seed 1` are one row."""
    found: dict[str, list[list[Rated]]] = {}
    for row, images in rows.items():
        found.setdefault(row.split(" seed ")[0], []).append(images)
    return found


def chosen_rows(val: Rows, test: Rows, peaks: Sequence[float]) -> tuple[dict[str, list[list[Compared]]], dict[str, dict[str, float]]]:
    """Test rows at the constants that are best on the validation images, by row and seed; and those constants.

    Of `cam_rect 0.3`, `cam_rect 0.4`, ... one is left as `cam_rect`.
    """
    val_rows, test_rows, constants = by_seed(val), by_seed(test), {}
    found: dict[str, list[list[Compared]]] = {}
    for row in test_rows:
        name, _, share = row.partition(" ")
        if share:
            options = [other for other in val_rows if other.startswith(f"{name} ")]
            best = max(options, key=lambda other: overall([image.compared for image in val_rows[other][0]]))
            if row == best:
                constants[name], found[name] = {"cam_share": float(share)}, [[image.compared for image in images] for images in test_rows[row]]
        else:
            least = None if np.isinf(_values(val_rows[row])).any() else best_least(val_rows[row], peaks)   # boxes have no peaks
            constants[row] = {} if least is None else {"least": least}
            found[row] = [[image.compared if least is None else image.above(least) for image in images] for images in test_rows[row]]
    return found, constants


def scores_over_seeds(seeds: Sequence[Sequence[Compared]], chance: Chance) -> Scores:
    """Every score, averaged over the seeds that were trained `(1 + samples,)`: draws take images and seeds, the same for every row."""
    samples, _, seed = chance
    weights, chosen = draws(len(seeds[0]), samples, seed), draws(len(seeds), samples, seed + 1)
    each = [{metric: _where_known(values) for metric, values in instance_scores(images, weights).items()} for images in seeds]
    return {metric: (chosen * np.stack([part[metric] for part in each], axis=1)).sum(1) for metric in each[0]}


def table(rows: Mapping[str, Sequence[Sequence[Compared]]], constants: Mapping[str, Mapping[str, float]], pairs: Sequence[tuple[str, str]],
          chance: Chance) -> tuple[dict[str, Any], dict[str, Any]]:
    """(rows, paired comparisons) as a record takes them, each row with the constants that were chosen for it."""
    found = {row: scores_over_seeds(seeds, chance) for row, seeds in rows.items()}
    summed = summarise(found, chance[1])
    chosen = {row: {metric: {"mean": v, "low": v, "high": v} for metric, v in constants.get(row, {}).items()} for row in found}
    return {row: metrics | chosen[row] for row, metrics in summed.items()}, compare(found, [p for p in pairs if p[0] in found and p[1] in found], chance[1])


def gain_table(rows: Mapping[str, Sequence[Sequence[Compared]]], chance: Chance, row: str = "iam_s5", base: str = "prm") -> tuple[dict[str, Any], dict[str, Any]]:
    """By how much, in percent, a row's scores exceed another's: one row a metric, and the differences between them."""
    ours, theirs = (scores_over_seeds(rows[name], chance) for name in (row, base))
    gains: dict[str, Scores] = {metric: {"gain": 100 * (ours[metric] / np.maximum(theirs[metric], 1e-9) - 1)} for metric in ours}
    return summarise(gains, chance[1]), compare(gains, [(a, b) for a in gains for b in gains if a != b], chance[1])


def class_table(maps: Mapping[str, Sequence[Compared]], classes: Sequence[str], chance: Chance) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figure 8: rows `dog, PRM` and `dog, IAM` with the mean best IoU of a class's maps, for classes that have some of both; and over classes."""
    weights = draws(len(maps["prm"]), chance[0], chance[2])
    found = {row: per_class_iou(images, weights, len(classes)) for row, images in maps.items()}
    rows: dict[str, Scores] = {}
    for k, name in enumerate(classes):
        if all(np.isfinite(values[0, k]) for values in found.values()):
            rows |= {f"{name}, {row.upper()}": {"iou_class": _where_known(values[:, k])} for row, values in found.items()}
    rows |= {f"all classes, {row.upper()}": {"iou_class": _where_known(mean_of_known(values))} for row, values in found.items() if rows}
    pairs = [(f"{name}, IAM", f"{name}, PRM") for name in (*classes, "all classes") if f"{name}, IAM" in rows]
    return summarise(rows, chance[1]), compare(rows, pairs, chance[1])


def worst_class(rows: Mapping[str, Any], comparisons: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of `class_table` the class on which IAMs gain least over PRMs, as rows `iam` and `prm`: a claim on every class stands or falls with it.
    A class in a single image has no interval, and no say. Nothing where no class has one."""
    gaps = {key: values["iou_class"]["mean"] for key, values in comparisons.items()
            if " - " in key and not key.startswith("all classes") and values["iou_class"]["low"] < values["iou_class"]["high"]}
    if not gaps:
        return {}, {}
    name = min(gaps, key=gaps.__getitem__).split(", IAM")[0]
    renamed = {f"iam {sign} prm": comparisons[f"{name}, IAM {sign} {name}, PRM"] for sign in "-/"}
    return {row: rows[f"{name}, {row.upper()}"] for row in ("prm", "iam")}, renamed


def _where_known(values: np.ndarray) -> np.ndarray:
    """Draws without any map of a class, or any truth, take the estimate from all images: they say nothing about it."""
    return np.where(np.isnan(values), values[0], values)


def _values(seeds: Sequence[Sequence[Rated]]) -> np.ndarray:
    return np.concatenate([image.values for images in seeds for image in images] + [np.zeros(0)])
