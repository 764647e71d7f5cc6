"""Rows of IAM's tables: what every method finds in the images of a split, compared with the truth."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.data.dataset import Sample, instance_truth
from lib.maps.cam import each_maximum_is_one
from lib.metrics.instances import Compared, compared, compared_at_best
from lib.metrics.scoring import batches, each_batch
from lib.papers.iam.instances import (
    InstanceMasks,
    Refine,
    box_instances,
    by_convcrf,
    by_dense_crf,
    cam_boxes,
    iam_instances,
    prm_instances,
    truth_boxes,
    unrefined,
)
from lib.papers.iam.method import ClassifierOutput, activate, present, run_classifier, unsquared
from lib.papers.iam.settings import MAIN, FillingJob, IamSettings
from lib.papers.iam.trained import Trained
from lib.proposals.store import open_proposals
from lib.refine.settings import ConvCrfSettings

BATCH = 8   # images of a forward pass


@dataclass(frozen=True)
class Scene:
    """An image with its truth and proposals, the classifier's output, and activation maps by filling module.

    numbers   the instance mask `(H, W)`
    classes   the class of each number
    """
    sample: Sample
    photo: Image.Image
    numbers: np.ndarray
    classes: dict[int, int]
    proposals: np.ndarray
    output: ClassifierOutput
    activations: Mapping[FillingJob, Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.numbers.shape


def scenes(trained: Trained, samples: Sequence[Sample], jobs: Sequence[FillingJob],
           label: str) -> Iterator[Scene]:
    """Image by image; a forward pass takes several at a time."""
    for part in batches(samples, BATCH, label):
        yield from scenes_of(trained, part, jobs)


def scenes_of(trained: Trained, part: Sequence[Sample], jobs: Sequence[FillingJob]) -> Iterator[Scene]:
    """The images of one forward pass."""
    loaders = open_proposals(trained.proposals, part[0].split, [sample.id for sample in part])
    training = trained.network.filling
    photos = [sample.photo() for sample in part]
    output = run_classifier(trained.fcn, photos, training.side, training.map_side,
                            present(trained.settings.peaks))
    maps = {job: activate(trained.fillings[job], output) for job in jobs}
    for place, (sample, photo) in enumerate(zip(part, photos, strict=True)):
        its_peaks = (output.peaks.image == place).nonzero()[:, 0]   # by number: waited for once
        numbers, classes = instance_truth(sample, len(trained.fcn.classes))
        yield Scene(sample, photo, numbers, classes, loaders[sample.id](), output.of_image(place),
                    {job: activations[its_peaks] for job, activations in maps.items()})


@dataclass(frozen=True)
class RowKey:
    """A row of instance masks: its name in the table, and what tells it from other rows of that name.

    seed    of the filling module; rows of several seeds are averaged
    share   of a class activation map's maximum, from which a pixel belongs to a box; one of them is chosen
    """
    name: str
    seed: int | None = None
    share: float | None = None


@dataclass(frozen=True)
class Rated:
    """A method's masks in one image, compared with the truth, and the value of each mask's peak `(R,)`."""
    compared: Compared
    values: np.ndarray

    def above(self, least: float) -> Compared:
        """The comparison without masks of lower peaks."""
        kept = self.values > least
        whole = self.compared
        return Compared(whole.classes[kept], whole.scores[kept], whole.iou[kept], whole.truth_classes,
                        whole.truth_shares)


Rows = dict[RowKey, list[Rated]]   # one entry an image


def iam_row(job: FillingJob) -> RowKey:
    """The row of a filling module in tables of several k."""
    return RowKey(f"iam_s{job.k}", seed=job.seed)


def table_rows(trained: Trained, samples: Sequence[Sample], ks: Sequence[int], shares: Sequence[float],
               label: str, others: Mapping[str, Refine] | None = None) -> Rows:
    """PRM, CAM at every share of its maximum, truth boxes, and IAM by k and seed.

    others   row -> what the main module's activation maps are refined with instead of the ConvCRF
    """
    jobs = [FillingJob(k, seed) for seed in trained.network.seeds for k in ks]
    add = partial(_add_table, trained, jobs, shares, others or {})
    return _over_scenes(trained, samples, jobs, add, label)


def _add_table(trained: Trained, jobs: Sequence[FillingJob], shares: Sequence[float],
               others: Mapping[str, Refine], rows: Rows, scene: Scene) -> None:
    _add(rows, RowKey("prm"), _prm(trained, scene), scene)
    for job in jobs:
        _add(rows, iam_row(job), _iam(trained, scene, job), scene)
    for name, refine in others.items():
        _add(rows, RowKey(name), _iam(trained, scene, trained.main_job, refine), scene)
    _add_cams(rows, scene, shares)
    if shares:
        boxes = truth_boxes(scene.numbers, scene.classes)
        for way, masks in box_instances(boxes, scene.proposals, scene.shape).items():
            _add(rows, RowKey(f"gt_box_{way}"), masks, scene)


def other_refinements(settings: IamSettings) -> dict[str, Refine]:
    """Rows of table 1 that have something else in place of the ConvCRF."""
    return {"iam_s5_unrefined": unrefined, "iam_s5_dense_crf": by_dense_crf(settings.dense_crf)}


def crf_rows(trained: Trained, samples: Sequence[Sample], crfs: Mapping[str, ConvCrfSettings],
             label: str) -> Rows:
    """The main module's masks, refined with several ConvCRFs and (`unrefined`) without any."""
    refines = {name: by_convcrf(crf) for name, crf in crfs.items()} | {"unrefined": unrefined}
    add = partial(_add_refined, trained, refines)
    return _over_scenes(trained, samples, [trained.main_job], add, label)


def _add_refined(trained: Trained, refines: Mapping[str, Refine], rows: Rows, scene: Scene) -> None:
    for name, refine in refines.items():
        _add(rows, RowKey(name), _iam(trained, scene, trained.main_job, refine), scene)


def unseen_rows(trained: Trained, samples: Sequence[Sample], shares: Sequence[float], label: str) -> Rows:
    """PRM, CAM, the main module and the one that never saw the held-out classes, of the first seed."""
    jobs = {"iam": trained.main_job, "iam_unseen": FillingJob(MAIN, trained.network.seeds[0], unseen=True)}
    add = partial(_add_unseen, trained, jobs, shares)
    return _over_scenes(trained, samples, list(jobs.values()), add, label)


def _add_unseen(trained: Trained, jobs: Mapping[str, FillingJob], shares: Sequence[float], rows: Rows,
                scene: Scene) -> None:
    _add(rows, RowKey("prm"), _prm(trained, scene), scene)
    for name, job in jobs.items():
        _add(rows, RowKey(name), _iam(trained, scene, job), scene)
    _add_cams(rows, scene, shares)


def map_rows(trained: Trained, samples: Sequence[Sample], label: str) -> dict[str, list[Compared]]:
    """Section 4.2: peak response maps and the main module's activation maps, not refined.

    Each counts at the threshold at which it and an object agree best.
    """
    return _over_scenes(trained, samples, [trained.main_job], partial(_add_maps, trained), label)


@torch.inference_mode()
def _add_maps(trained: Trained, rows: dict[str, list[Compared]], scene: Scene) -> None:
    for row, maps in (("prm", scene.output.prms), ("iam", scene.activations[trained.main_job])):
        large = unsquared(maps, *scene.shape)
        heat = each_maximum_is_one(large).clamp(0, 1).cpu().numpy()
        rows.setdefault(row, []).append(compared_at_best(
            heat, scene.output.peaks.label.tolist(), scene.output.confidences.tolist(), scene.numbers,
            scene.classes, len(trained.fcn.classes)))


def _over_scenes(trained: Trained, samples: Sequence[Sample], jobs: Sequence[FillingJob],
                 add: Callable[[dict, Scene], None], label: str) -> dict:
    """Rows, to which `add` puts what it finds in an image; processes share the images."""
    open_proposals(trained.proposals, samples[0].split, [sample.id for sample in samples])   # all are there
    rows: dict = {}
    make = partial(_scene_worker, trained, jobs, add)
    for of_part in each_batch(make, samples, BATCH, label):
        for row, entries in of_part.items():
            rows.setdefault(row, []).extend(entries)
    return rows


def _scene_worker(trained: Trained, jobs: Sequence[FillingJob],
                  add: Callable[[dict, Scene], None]) -> Callable[[Sequence[Sample]], dict]:
    def of_part(part: Sequence[Sample]) -> dict:
        rows: dict = {}
        for scene in scenes_of(trained, part, jobs):
            add(rows, scene)
        return rows
    return of_part


def _prm(trained: Trained, scene: Scene) -> InstanceMasks:
    return prm_instances(scene.output, scene.proposals, scene.shape, trained.settings)


def _iam(trained: Trained, scene: Scene, job: FillingJob, refine: Refine | None = None) -> InstanceMasks:
    """IAM's masks by one filling module; refined with the paper's ConvCRF unless told otherwise."""
    refine = refine or by_convcrf(trained.settings.crf)
    return iam_instances(scene.photo, scene.output, scene.activations[job], trained.settings, refine)


def _add_cams(rows: Rows, scene: Scene, shares: Sequence[float]) -> None:
    for share in shares:
        boxes = cam_boxes(scene.output, scene.shape, share)
        for way, masks in box_instances(boxes, scene.proposals, scene.shape).items():
            _add(rows, RowKey(f"cam_{way}", share=share), masks, scene)


def _add(rows: Rows, row: RowKey, masks: InstanceMasks, scene: Scene) -> None:
    """Compare masks with the truth of their image, as the row's next entry."""
    n_classes = scene.output.class_maps.shape[1]
    result = compared(masks.masks, masks.classes, masks.scores, scene.numbers, scene.classes, n_classes)
    rows.setdefault(row, []).append(Rated(result, masks.values))
