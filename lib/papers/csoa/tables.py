"""CSoA's tables: errors of trained networks over images and seeds, and of boxes that look at nothing."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.base.files import sha256
from lib.data.dataset import Box, Dataset, Sample
from lib.metrics.bootstrap import Chance, Scores, Table, summarise, table
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
BLIND = ("whole_image", "centred_box")   # rows of boxes that look at nothing
LOCALISATION: tuple[str, ...] = ("loc1", "loc5", "gt_known")
SPREAD: tuple[str, ...] = ("loc1", "gt_known", "cls1")   # what is shown of every seed
RIGHT = 0.5   # the overlap from which on a box is right
Seeds = Sequence[Located]   # what the networks of one row found, seed by seed


@dataclass(frozen=True)
class Opened:
    """Data sets, and what was trained on them, for a notebook to start from; that of table 1 comes first.

    single    images of single objects
    blind     the overlaps of boxes that look at nothing
    folders   (data set, network) -> what the stage csoa_train left of its networks
    """
    data: dict[str, Dataset]
    single: dict[str, SingleObjects]
    blind: dict[str, dict[str, np.ndarray]]
    folders: dict[tuple[str, str], Path]

    def weights(self, jobs: str = "*", networks: Sequence[str] | None = None) -> dict[str, str]:
        """Hashes of weights as a record takes them: of jobs whose names match, of these networks or all."""
        hashes = {}
        for (name, network), folder in self.folders.items():
            if networks is None or network in networks:
                for path in sorted(folder.glob(f"{jobs}/weights.safetensors")):
                    hashes[f"{name}/{network}/{path.parent.name}"] = sha256(path)
        return hashes


def opened(places: Mapping[str, Path], runs: Mapping[str, Mapping[str, CsoaRun]], trained: Path) -> Opened:
    """Data sets from their folders, table 1's first; `trained` is what the stage csoa_train wrote."""
    data = {name: Dataset(place) for name, place in places.items()}
    single: dict[str, SingleObjects] = {}
    blind: dict[str, dict[str, np.ndarray]] = {}
    folders: dict[tuple[str, str], Path] = {}
    for name, dataset in data.items():
        least = next(iter(runs[name].values())).least
        single[name] = single_objects(dataset, least)
        blind[name] = blind_overlaps(single[name].splits["test"], dataset.boxes)
        for network in runs[name]:
            folders[name, network] = trained / name / network
    return Opened(data, single, blind, folders)


# What the stage left, row by row

def located_by(folder: Path, jobs: Sequence[Job], split: str) -> list[Located]:
    """Findings of the networks of one row, job by job."""
    return [load_located(folder / job.name / f"{split}.npz") for job in jobs]


def variant_rows(folder: Path, run: CsoaRun, split: str) -> dict[str, list[Located]]:
    """Table 1: base, ConfSeg, CoAug, CSoA."""
    rows = {}
    for variant in run.variants:
        jobs = [Job(variant, POSITION, seed) for seed in run.seeds]
        rows[variant] = located_by(folder, jobs, split)
    return rows


def dataset_rows(folder: Path, run: CsoaRun, split: str) -> dict[str, list[Located]]:
    """Tables 4 to 6: the base network and CSoA."""
    rows = variant_rows(folder, run, split)
    return {row: seeds for row, seeds in rows.items() if row in ("base", "csoa")}


def position_rows(folder: Path, run: CsoaRun, split: str) -> dict[str, list[Located]]:
    """Table 2: CSoA by the position of W_F."""
    rows = {}
    for position in sorted({POSITION, *(run.positions or ())}):
        jobs = [Job("csoa", position, seed) for seed in run.seeds]
        rows[position] = located_by(folder, jobs, split)
    return rows


def trial_rows(folder: Path, run: CsoaRun) -> dict[str, list[Located]]:
    """CSoA with other constants beside the one of the tables, of the first seed, on validation images."""
    jobs = {"csoa": Job("csoa", POSITION, run.seeds[0])}
    for trial in run.trials or ():
        jobs[trial] = Job("csoa", POSITION, run.seeds[0], trial)
    return {row: located_by(folder, [job], "val") for row, job in jobs.items()}


# Scores

def best_threshold(seeds: Seeds, maps: str = "union") -> int:
    """Number of the threshold with the least top-1 localisation error, averaged over seeds.

    It is chosen on validation images. Of several the one in the middle: a plateau's edge is a matter of luck.
    """
    images = len(seeds[0].ids)
    alike = np.full((1, images), 1 / images)
    means = []
    for number in range(seeds[0].largest[maps].shape[1]):
        means.append(np.mean([errors(one.localised(maps), alike, number)["loc1"][0] for one in seeds]))
    lowest = np.flatnonzero(np.array(means) <= min(means) + 1e-9)
    return int(lowest[len(lowest) // 2])


def scores(seeds: Seeds, threshold: int, chance: Chance, maps: str = "union") -> Scores:
    """Every error, MaxBoxAcc and MaxBoxAccV2, averaged over seeds; draws take images and seeds.

    threshold   its number among those that were tried
    maps        one of MAPS: from which map boxes come
    """
    def of_one(one: Located, weights: np.ndarray) -> Scores:
        values = errors(one.localised(maps), weights, threshold)
        values["max_box_acc"] = max_box_acc(one.largest[maps], weights)
        values["max_box_acc_v2"] = max_box_acc_v2(one.every, weights)
        return values

    return _over_seeds(seeds, chance, of_one)


def blind_scores(overlap: np.ndarray, chance: Chance) -> Scores:
    """Scores of boxes that look at nothing, from overlaps `(N, 1)`; no class, so no errors that need one."""
    weights = chance.draws(len(overlap))
    no_classes = np.zeros(len(overlap))
    return {"gt_known": errors(Localised(no_classes, overlap), weights, 0)["gt_known"],
            "max_box_acc": max_box_acc(overlap, weights),
            "max_box_acc_v2": max_box_acc_v2(overlap, weights)}


def class_scores(seeds: Seeds, chance: Chance) -> Scores:
    """Classification errors, from the whole image and, where they were taken, from ten crops (`_ten`)."""
    def of_one(one: Located, weights: np.ndarray) -> Scores:
        values = {}
        nowhere = np.zeros((len(one.ids), 1))
        for metric in ("cls1", "cls5"):
            for ending, rank in (("", one.rank), ("_ten", one.rank_ten)):
                if (rank >= 0).all():
                    values[metric + ending] = errors(Localised(rank, nowhere), weights, 0)[metric]
        return values

    return _over_seeds(seeds, chance, of_one)


def _over_seeds(seeds: Seeds, chance: Chance, score: Callable[[Located, np.ndarray], Scores]) -> Scores:
    """Means over seeds `(1 + samples,)`; every draw takes images and seeds anew."""
    images = chance.draws(len(seeds[0].ids))
    # (1 + samples, seeds); the same for every row, which pairs them by seed
    drawn = replace(chance, seed=chance.seed + 1).draws(len(seeds))
    each = [score(one, images) for one in seeds]
    means = {}
    for metric in each[0]:
        values = np.stack([one[metric] for one in each], axis=1)
        means[metric] = (drawn * values).sum(1)
    return means


# Tables

def module_table(val: Mapping[str, Seeds], test: Mapping[str, Seeds], blind: Mapping[str, np.ndarray],
                 tried: Sequence[float], chance: Chance) -> Table:
    """Rows of networks, each at its own best threshold on validation images, with the blind boxes below.

    The pairs that are compared are those that claims are about: every row with all rows above it.
    """
    numbers = {row: best_threshold(seeds) for row, seeds in val.items()}
    scored = {row: scores(seeds, numbers[row], chance) for row, seeds in test.items()}
    for row, overlap in blind.items():
        scored[row] = blind_scores(overlap, chance)
    names = list(test)
    pairs = [(later, earlier) for place, earlier in enumerate(names) for later in names[place + 1:]]
    rows, comparisons = table(scored, pairs, chance)
    for row, number in numbers.items():
        if row in rows:
            rows[row] |= chosen("theta", tried[number])
    return rows, comparisons


def seed_table(val: Mapping[str, Seeds], test: Mapping[str, Seeds], numbers: Sequence[int],
               chance: Chance) -> dict[str, Any]:
    """Every network by itself, at its row's threshold: the spread over seeds; intervals over images alone.

    numbers   the seeds
    """
    rows = {}
    for row, seeds in test.items():
        threshold = best_threshold(val[row])
        for number, one in zip(numbers, seeds, strict=True):
            values = scores([one], threshold, chance)
            rows[f"{row}, seed {number}"] = {m: v for m, v in values.items() if m in SPREAD}
    return summarise(rows, chance.level)


def sweep(seeds: Seeds, tried: Sequence[float], chance: Chance, maps: str = "union") -> dict[float, Scores]:
    """Localisation errors at every threshold."""
    return {theta: localisation_scores(seeds, number, chance, maps) for number, theta in enumerate(tried)}


def printed_sweep(dataset: str) -> dict[float, float]:
    """Table 3 as printed: the top-1 localisation error by theta."""
    rows = PAPER.printed_rows("table3_thresholds", dataset)
    return {float(theta): float(metrics["loc1"]) for theta, metrics in rows.items()}


def localisation_scores(seeds: Seeds, threshold: int, chance: Chance, maps: str = "union") -> Scores:
    """The errors that a box has a share in."""
    return {m: v for m, v in scores(seeds, threshold, chance, maps).items() if m in LOCALISATION}


def blind_overlaps(samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]]) -> dict[str, np.ndarray]:
    """Overlaps `(N, 1)` of boxes that look at nothing: the whole image, a centred one of half its area."""
    best: dict[str, list[float]] = {row: [] for row in BLIND}
    for sample in samples:
        size = sample.photo().size
        truth = truth_boxes(boxes[sample.id], sample.labels[0], size, sample.id)
        for row, box in zip(BLIND, (whole_image(size), centred(size)), strict=True):
            best[row].append(float(overlaps(box, truth).max()))
    return {row: np.array(values)[:, None] for row, values in best.items()}


def missed(located: Located, threshold: int) -> set[str]:
    """Images on which a network's box is wrong."""
    overlap = located.largest["union"][:, threshold]
    return {id for id, best in zip(located.ids, overlap, strict=True) if best < RIGHT}


def as_printed(rows: Mapping[str, Any], network: str, printed: str) -> dict[str, Any]:
    """Rows under their names in the paper's tables 4 to 6; `vgg_gap` and `googlenet_gap` are the base there.

    Table 6 prints the error with the class given under the name of the top-1 error.
    """
    family = _family(network)
    named = {}
    for row, values in rows.items():
        if row not in BLIND:
            shown = {"loc1": values["gt_known"]} if printed == "table6_gt_known" else values
            named[f"{family}_{'gap' if row == 'base' else row}"] = shown
    return named


def _family(network: str) -> str:
    if "vgg" in network:
        return "vgg"
    return "googlenet" if "inception" in network else network


def chosen(metric: str, value: float) -> dict[str, dict[str, float]]:
    """A number that was chosen, without an interval of its own."""
    return {metric: {"mean": value, "low": value, "high": value}}
