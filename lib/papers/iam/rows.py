"""Rows of IAM's tables: what every method finds in the images of a split, compared with the truth."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.base.files import sha256
from lib.base.parallel import device
from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample, instance_truth, subset
from lib.metrics.instances import Compared, compared, compared_at_best
from lib.metrics.scoring import batches
from lib.nets.fcn import Fcn, load_fcn
from lib.papers.iam.filling import ExtentFilling, load_filling
from lib.papers.iam.instances import (
    Found,
    Refine,
    box_instances,
    by_convcrf,
    cam_boxes,
    iam_instances,
    prm_instances,
    truth_boxes,
    unrefined,
)
from lib.papers.iam.method import Seen, activate, look, present, unsquared
from lib.papers.iam.settings import MAIN, FillingJob, IamNetwork, IamSettings, IamTrainRun, filling_jobs
from lib.proposals.store import Loader, open_proposals
from lib.refine.settings import ConvCrfSettings

BATCH = 8   # images that are looked at together


@dataclass(frozen=True)
class Rated:
    """What a method finds in one image, compared with the truth, and the value of the peak behind each of its R masks `(R,)`."""
    compared: Compared
    values: np.ndarray

    def above(self, least: float) -> Compared:
        """The same without masks of lower peaks."""
        kept, all = self.values > least, self.compared
        return Compared(all.classes[kept], all.scores[kept], all.iou[kept], all.truth_classes, all.truth_shares)


Rows = dict[str, list[Rated]]   # one entry an image


@dataclass(frozen=True)
class Trained:
    """A data set, its classifier and filling modules in evaluation mode, and what they were trained with."""
    dataset: Dataset
    fcn: Fcn
    fillings: Mapping[FillingJob, ExtentFilling]
    network: IamNetwork
    settings: IamSettings
    proposals: Path

    def on(self, proposals: Path) -> "Trained":
        """The same with proposals from another folder."""
        return replace(self, proposals=proposals)

    def of(self, k: int, seed: int | None = None, unseen: bool = False) -> ExtentFilling:
        return self.fillings[FillingJob(k, self.network.seeds[0] if seed is None else seed, unseen)]


def trained(dataset: Dataset, name: str, network: IamNetwork, unseen: bool, settings: IamSettings, folder: Path, proposals: Path) -> Trained:
    """What the stages iam_train and proposals left; `folder` is the network's."""
    jobs = filling_jobs(network, unseen)
    fillings = {job: load_filling(folder / job.name / "weights.safetensors", name).to(device()) for job in jobs}
    return Trained(dataset, load_fcn(folder / "weights.safetensors", name).to(device()), fillings, network, settings, proposals)


def same_classes(fcn: Fcn, dataset: Dataset) -> None:
    """A classifier's class numbers must be the data set's."""
    if list(fcn.classes) != dataset.classes:
        raise Problem(f"{dataset.folder}: its classes are not those that the network was trained on; give a folder with them, in the same order.")


@dataclass(frozen=True)
class Scene:
    """An image, its truth, its proposals, what the classifier sees in it, and the activation maps of every filling module."""
    sample: Sample
    photo: Image.Image
    numbers: np.ndarray
    classes: dict[int, int]
    proposals: np.ndarray
    seen: Seen
    activations: Mapping[FillingJob, Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        return self.numbers.shape


def scenes(of: Trained, samples: Sequence[Sample], jobs: Sequence[FillingJob], label: str) -> Iterator[Scene]:
    """Image by image; networks see several at a time."""
    loaders: Mapping[str, Loader] = open_proposals(of.proposals, samples[0].split, [sample.id for sample in samples])
    training = of.network.filling
    for part in batches(samples, BATCH, label):
        photos = [sample.photo() for sample in part]
        seen = look(of.fcn, photos, training.side, training.map_side, present(of.settings.peaks))
        maps = {job: activate(of.fillings[job], seen) for job in jobs}
        for place, (sample, photo) in enumerate(zip(part, photos)):
            mine = seen.peaks.image == place
            yield Scene(sample, photo, *instance_truth(sample, len(of.fcn.classes)), loaders[sample.id](), seen.of(place), {job: m[mine] for job, m in maps.items()})


def rated(found: Found, scene: Scene, n_classes: int) -> Rated:
    return Rated(compared(found.masks, found.classes, found.scores, scene.numbers, scene.classes, n_classes), found.values)


def table_rows(of: Trained, samples: Sequence[Sample], ks: Sequence[int], shares: Sequence[float], label: str,
               others: Mapping[str, Refine] | None = None) -> Rows:
    """PRM, CAM at every share of its maximum (`cam_rect 0.3`), truth boxes, and IAM by k and seed (`iam_s5 seed 0`).

    others: row -> what the activation maps of the first seed's main module are refined with instead of the ConvCRF.
    """
    rows: Rows = {}
    jobs = [FillingJob(k, seed) for seed in of.network.seeds for k in ks]
    for scene in scenes(of, samples, jobs, label):
        for row, found in _found(of, scene, jobs, shares, others or {}):
            rows.setdefault(row, []).append(rated(found, scene, len(of.fcn.classes)))
    return rows


def _found(of: Trained, scene: Scene, jobs: Sequence[FillingJob], shares: Sequence[float], others: Mapping[str, Refine]) -> Iterator[tuple[str, Found]]:
    yield "prm", prm_instances(scene.seen, scene.proposals, scene.shape, of.settings)
    for job in jobs:
        yield iam_row(job), iam_instances(scene.photo, scene.seen, scene.activations[job], of.settings, by_convcrf(of.settings.crf))
    for row, refine in others.items():
        yield row, iam_instances(scene.photo, scene.seen, scene.activations[FillingJob(MAIN, of.network.seeds[0])], of.settings, refine)
    for share in shares:
        for way, found in box_instances(*cam_boxes(scene.seen, scene.shape, share), scene.proposals, scene.shape).items():
            yield f"cam_{way} {share:g}", found
    if shares:
        for way, found in box_instances(*truth_boxes(scene.numbers, scene.classes), scene.proposals, scene.shape).items():
            yield f"gt_box_{way}", found


def crf_rows(of: Trained, samples: Sequence[Sample], crfs: Mapping[str, ConvCrfSettings], label: str) -> Rows:
    """IAM-S5 of the first seed, refined with several ConvCRFs and (`unrefined`) without any."""
    job = FillingJob(MAIN, of.network.seeds[0])
    refines = {name: by_convcrf(crf) for name, crf in crfs.items()} | {"unrefined": unrefined}
    rows: Rows = {name: [] for name in refines}
    for scene in scenes(of, samples, [job], label):
        for name, refine in refines.items():
            found = iam_instances(scene.photo, scene.seen, scene.activations[job], of.settings, refine)
            rows[name].append(rated(found, scene, len(of.fcn.classes)))
    return rows


def unseen_rows(of: Trained, samples: Sequence[Sample], shares: Sequence[float], label: str) -> Rows:
    """PRM, CAM, IAM-S5 and the filling module that never saw the held-out classes, all of the first seed."""
    jobs = {"iam": FillingJob(MAIN, of.network.seeds[0]), "iam_unseen": FillingJob(MAIN, of.network.seeds[0], True)}
    rows: Rows = {}
    for scene in scenes(of, samples, list(jobs.values()), label):
        found = {"prm": prm_instances(scene.seen, scene.proposals, scene.shape, of.settings)}
        found |= {row: iam_instances(scene.photo, scene.seen, scene.activations[job], of.settings, by_convcrf(of.settings.crf)) for row, job in jobs.items()}
        found |= {f"cam_{way} {share:g}": boxed for share in shares for way, boxed in
                  box_instances(*cam_boxes(scene.seen, scene.shape, share), scene.proposals, scene.shape).items()}
        for row, one in found.items():
            rows.setdefault(row, []).append(rated(one, scene, len(of.fcn.classes)))
    return rows


def iam_row(job: FillingJob) -> str:
    return f"iam_s{job.k} seed {job.seed}"


@torch.inference_mode()
def map_rows(of: Trained, samples: Sequence[Sample], job: FillingJob, label: str) -> dict[str, list[Compared]]:
    """Section 4.2: PRMs and IAMs, not refined, each at the threshold at which it and an object agree best."""
    rows: dict[str, list[Compared]] = {"prm": [], "iam": []}
    for scene in scenes(of, samples, [job], label):
        for row, maps in (("prm", scene.seen.prms), ("iam", scene.activations[job])):
            large = unsquared(maps, *scene.shape)
            heat = (large / large.amax((1, 2), keepdim=True).clamp(min=1e-12)).clamp(0, 1).cpu().numpy()
            rows[row].append(compared_at_best(heat, scene.seen.peaks.label.tolist(), scene.seen.confidences.tolist(), scene.numbers, scene.classes,
                                              len(of.fcn.classes)))
    return rows


def opened(run: IamTrainRun, settings: IamSettings, networks: Sequence[str], data: Path, folder: Path, proposals: Path) -> dict[str, Trained]:
    """By network: the data set, classifier and filling modules; `folder` and `proposals` are what the two stages wrote."""
    dataset = Dataset(data)
    return {name: trained(dataset, name, run.networks[name], bool(run.unseen), settings, folder / name, proposals / run.dataset) for name in networks}


def with_proposals(of: Trained, split: str, images: int | None = None) -> list[Sample]:
    """Images of a split for which proposals were found, or so many of them, spread evenly."""
    found = open_proposals(of.proposals, split)
    return subset([sample for sample in of.dataset.split(split) if sample.id in found], images)


def clean(samples: Sequence[Sample]) -> list[int]:
    """Positions of the images whose instance masks can be trusted: all of a data set that does not say."""
    return [i for i, sample in enumerate(samples) if sample.extra.get("instances_clean", "1") == "1"]


def hashes(folder: Path, networks: Sequence[str]) -> dict[str, str]:
    """Name -> hash of every trained network's weights."""
    return {str(path.parent.relative_to(folder)): sha256(path) for name in networks for path in sorted((folder / name).rglob("weights.safetensors"))}
