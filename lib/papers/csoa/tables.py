"""CSoA's tables: errors of trained networks over images and seeds, and of boxes that look at nothing."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.dataset import Box, Dataset, Sample
from lib.metrics.bootstrap import Scores, compare, draws, summarise
from lib.metrics.localisation import (
    Localised,
    centred,
    errors,
    max_box_acc,
    max_box_acc_v2,
    overlaps,
    truth_boxes,
    whole_image,
)
from lib.papers.csoa.batches import SingleObjects, single_objects
from lib.papers.csoa.runs import POSITION, Job, Located, load_located
from lib.papers.csoa.settings import CsoaRun
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))


@dataclass(frozen=True)
class Opened:
    """By data set, the first one that of table 1; folders by (data set, network)."""
    data: dict[str, Dataset]
    single: dict[str, SingleObjects]
    blind: dict[str, dict[str, np.ndarray]]
    folders: dict[tuple[str, str], Path]


def opened(places: Mapping[str, Path], runs: Mapping[str, Mapping[str, CsoaRun]], trained: Path) -> Opened:
    """`places` are the data sets' folders, `trained` is what the stage csoa_train wrote."""
    data = {name: Dataset(place) for name, place in places.items()}
    single = {name: single_objects(dataset, next(iter(runs[name].values())).least) for name, dataset in data.items()}
    return Opened(data, single, {name: blind_overlaps(single[name].splits["test"], dataset.boxes) for name, dataset in data.items()},
                  {(name, network): trained / name / network for name in data for network in runs[name]})


Seeds = Sequence[Located]   # what the networks of one row found, seed by seed
BLIND = ("whole_image", "centred_box")


def found_by(folder: Path, jobs: Sequence[Job], split: str) -> list[Located]:
    """What the stage csoa_train left of the networks of one row."""
    return [load_located(folder / job.name / f"{split}.npz") for job in jobs]


def variant_rows(folder: Path, run: CsoaRun, split: str) -> dict[str, list[Located]]:
    """Table 1: base, ConfSeg, CoAug, CSoA."""
    return {variant: found_by(folder, [Job(variant, POSITION, seed) for seed in run.seeds], split) for variant in run.variants}


def position_rows(folder: Path, run: CsoaRun, split: str) -> dict[str, list[Located]]:
    """Table 2: CSoA by the position of W_F."""
    positions = sorted({POSITION, *(run.positions or ())})
    return {position: found_by(folder, [Job("csoa", position, seed) for seed in run.seeds], split) for position in positions}


def trial_rows(folder: Path, run: CsoaRun) -> dict[str, list[Located]]:
    """CSoA with other constants beside the one of the tables, of the first seed, on validation images."""
    jobs = {"csoa": Job("csoa", POSITION, run.seeds[0])} | {trial: Job("csoa", POSITION, run.seeds[0], trial) for trial in run.trials or ()}
    return {row: found_by(folder, [job], "val") for row, job in jobs.items()}


def best_threshold(found: Seeds, maps: str = "union") -> int:
    """Number of the threshold with the least top-1 localisation error, averaged over seeds; for validation images.

    Of several the one in the middle: a plateau's edge is a matter of luck.
    """
    alike = np.full((1, len(found[0].ids)), 1 / len(found[0].ids))
    by = np.array([np.mean([errors(one.at(maps), alike, t)["loc1"][0] for one in found]) for t in range(found[0].largest[maps].shape[1])])
    best = np.flatnonzero(by <= by.min() + 1e-9)
    return int(best[len(best) // 2])


def scores(found: Seeds, threshold: int, samples: int, seed: int, maps: str = "union") -> Scores:
    """Every error, and MaxBoxAcc and V2, averaged over the seeds that were trained `(1 + samples,)`: draws take images and seeds."""
    return _over_seeds(found, samples, seed, lambda one, weights: errors(one.at(maps), weights, threshold) | {
        "max_box_acc": max_box_acc(one.largest[maps], weights), "max_box_acc_v2": max_box_acc_v2(one.every, weights)})


def blind_scores(overlap: np.ndarray, samples: int, seed: int) -> Scores:
    """Of boxes that look at nothing, from their overlaps `(N, 1)`: no classes, so no errors that need one."""
    weights = draws(len(overlap), samples, seed)
    return {"gt_known": errors(Localised(np.zeros(len(overlap)), overlap), weights, 0)["gt_known"], "max_box_acc": max_box_acc(overlap, weights),
            "max_box_acc_v2": max_box_acc_v2(overlap, weights)}


def class_scores(found: Seeds, samples: int, seed: int) -> Scores:
    """Classification errors, from the whole image and from ten crops."""
    def both(one: Located, weights: np.ndarray) -> Scores:
        each = {"": one.rank, "_ten": one.rank_ten}
        nowhere = np.zeros((len(one.ids), 1))
        return {f"{metric}{crops}": errors(Localised(rank, nowhere), weights, 0)[metric] for metric in ("cls1", "cls5") for crops, rank in each.items()
                if (rank >= 0).all()}
    return _over_seeds(found, samples, seed, both)


def table(rows: Mapping[str, Scores], pairs: Sequence[tuple[str, str]], level: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """(rows, paired comparisons) as a record takes them."""
    return summarise(rows, level), compare(rows, [pair for pair in pairs if pair[0] in rows and pair[1] in rows], level)


def module_table(val: Mapping[str, Seeds], test: Mapping[str, Seeds], blind: Mapping[str, np.ndarray], tried: Sequence[float],
                 chance: tuple[int, float, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows of networks, each at its own best threshold on validation images, with the blind boxes below; the pairs that claims are about.

    chance: samples, level and seed of the bootstrap.
    """
    samples, level, seed = chance
    at = {row: best_threshold(found) for row, found in val.items()}
    rows = {row: scores(found, at[row], samples, seed) for row, found in test.items()}
    rows |= {name: blind_scores(overlap, samples, seed) for name, overlap in blind.items()}
    names = list(test)
    found, comparisons = table(rows, [(b, a) for i, a in enumerate(names) for b in names[i + 1:]], level)
    return {row: metrics | (fixed("theta", tried[at[row]]) if row in at else {}) for row, metrics in found.items()}, comparisons


def seed_table(val: Mapping[str, Seeds], test: Mapping[str, Seeds], seeds: Sequence[int], chance: tuple[int, float, int]) -> dict[str, Any]:
    """Every network by itself, at its row's threshold: the spread over seeds; intervals over images alone."""
    samples, level, seed = chance
    rows = {f"{row}, seed {number}": scores([one], best_threshold(val[row]), samples, seed) for row, found in test.items()
            for number, one in zip(seeds, found, strict=True)}
    return summarise({row: {m: v for m, v in metrics.items() if m in ("loc1", "gt_known", "cls1")} for row, metrics in rows.items()}, level)


def sweep(found: Seeds, tried: Sequence[float], samples: int, seed: int, maps: str = "union") -> dict[float, Scores]:
    """Localisation errors at every threshold."""
    return {theta: {m: v for m, v in scores(found, t, samples, seed, maps).items() if m in ("loc1", "loc5", "gt_known")} for t, theta in enumerate(tried)}


def blind_overlaps(samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]]) -> dict[str, np.ndarray]:
    """Overlaps `(N, 1)` of boxes that look at nothing: the whole image, and the centred one of half its area."""
    found: dict[str, list[float]] = {name: [] for name in BLIND}
    for sample in samples:
        size = sample.photo().size
        truth = truth_boxes(boxes[sample.id], sample.labels[0], size, sample.id)
        for name, box in zip(BLIND, (whole_image(size), centred(size))):
            found[name].append(float(overlaps(box, truth).max()))
    return {name: np.array(values)[:, None] for name, values in found.items()}


def missed(found: Located, threshold: int) -> set[str]:
    """Images on which a network's box is wrong."""
    return {id for id, overlap in zip(found.ids, found.largest["union"][:, threshold]) if overlap < 0.5}


def as_printed(rows: Mapping[str, Any], network: str, name: str) -> dict[str, Any]:
    """Rows named as in the paper's tables 4 to 6, where `vgg_gap` and `googlenet_gap` are what is the base here; table 6 prints the error
    with the class given under the name of the top-1 error."""
    family = "vgg" if "vgg" in network else "googlenet" if "inception" in network else network
    found = {f"{family}_{'gap' if row == 'base' else row}": values for row, values in rows.items() if row not in BLIND}
    return {row: {"loc1": values["gt_known"]} for row, values in found.items()} if name == "table6_gt_known" else found


def fixed(metric: str, value: float) -> dict[str, dict[str, float]]:
    """A number that was chosen, without an interval of its own."""
    return {metric: {"mean": value, "low": value, "high": value}}


def _over_seeds(found: Seeds, samples: int, seed: int, score: Callable[[Located, np.ndarray], Scores]) -> Scores:
    weights = draws(len(found[0].ids), samples, seed)
    chosen = draws(len(found), samples, seed + 1)   # (1 + samples, seeds); the same for every row, which pairs them by seed
    each = [score(one, weights) for one in found]
    return {metric: (chosen * np.stack([part[metric] for part in each], axis=1)).sum(1) for metric in each[0]}
