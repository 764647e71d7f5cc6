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
    cut_instances,
    prm_instances,
    truth_boxes,
    unrefined,
)
from lib.papers.iam.method import ClassifierOutput, activate, present, run_classifier, unsquared
from lib.papers.iam.settings import FillingJob, IamSettings
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


SceneRows = dict[RowKey, Rated]    # of one image
Rows = dict[RowKey, list[Rated]]   # one entry an image


def iam_row(job: FillingJob) -> RowKey:
    """The row of a filling module in tables of several k, or of the one that never saw some classes."""
    return RowKey("iam_unseen" if job.unseen else f"iam_s{job.k}", seed=job.seed)


def table_rows(trained: Trained, samples: Sequence[Sample], ks: Sequence[int], label: str,
               others: Mapping[str, Refine] | None = None) -> Rows:
    """PRM, and IAM by k and seed; processes share the images.

    others   row -> what the main module's activation maps are refined with instead of the ConvCRF
    """
    open_proposals(trained.proposals, samples[0].split, [sample.id for sample in samples])   # all are there
    jobs = [FillingJob(k, seed) for seed in trained.network.seeds for k in ks]
    rows: Rows = {}
    make = partial(_scene_worker, trained, jobs, others or {})
    for of_part in each_batch(make, samples, BATCH, label):
        for row, entries in of_part.items():
            rows.setdefault(row, []).extend(entries)
    return rows


def _scene_worker(trained: Trained, jobs: Sequence[FillingJob],
                  others: Mapping[str, Refine]) -> Callable[[Sequence[Sample]], Rows]:
    def of_part(part: Sequence[Sample]) -> Rows:
        rows: Rows = {}
        for scene in scenes_of(trained, part, jobs):
            of_scene = peak_rows(trained, scene, jobs) | refined_rows(trained, scene, others)
            for row, rated in of_scene.items():
                rows.setdefault(row, []).append(rated)
        return rows
    return of_part


def peak_rows(trained: Trained, scene: Scene, jobs: Sequence[FillingJob]) -> SceneRows:
    """PRM, and IAM by filling module."""
    prm = prm_instances(scene.output, scene.proposals, scene.shape, trained.settings)
    rows = {RowKey("prm"): _rated(prm, scene)}
    for job, foreground in _refined_together(trained, scene, jobs).items():
        iam = cut_instances(scene.photo, scene.output, foreground, trained.settings)
        rows[iam_row(job)] = _rated(iam, scene)
    return rows


def _refined_together(trained: Trained, scene: Scene, jobs: Sequence[FillingJob]) -> dict[FillingJob, Tensor]:
    """Foreground `(P, h, w)` by filling module; the kernels of the photograph's ConvCRF are made once."""
    if not jobs:
        return {}
    maps = torch.cat([scene.activations[job] for job in jobs])
    foreground = by_convcrf(trained.settings.crf)(scene.photo, maps)
    by_job = foreground.reshape(len(jobs), len(scene.output.peaks), *foreground.shape[1:])
    return dict(zip(jobs, by_job, strict=True))


def refined_rows(trained: Trained, scene: Scene, refines: Mapping[str, Refine]) -> SceneRows:
    """The main module's activation maps, refined in several ways."""
    rows = {}
    for name, refine in refines.items():
        foreground = refine(scene.photo, scene.activations[trained.main_job])
        masks = cut_instances(scene.photo, scene.output, foreground, trained.settings)
        rows[RowKey(name)] = _rated(masks, scene)
    return rows


def other_refinements(settings: IamSettings) -> dict[str, Refine]:
    """Rows of table 1 that have something else in place of the ConvCRF."""
    return {"iam_s5_unrefined": unrefined, "iam_s5_dense_crf": by_dense_crf(settings.dense_crf)}


def crf_refinements(crfs: Mapping[str, ConvCrfSettings]) -> dict[str, Refine]:
    """Several ConvCRFs, and (`unrefined`) none."""
    return {name: by_convcrf(crf) for name, crf in crfs.items()} | {"unrefined": unrefined}


def box_rows(scene: Scene, shares: Sequence[float]) -> SceneRows:
    """CAM at every share of its maximum, and truth boxes, each by the three ways from boxes."""
    boxes = {("cam", share): cam_boxes(scene.output, scene.shape, share) for share in shares}
    boxes["gt_box", None] = truth_boxes(scene.numbers, scene.classes)
    rows = {}
    for (name, share), boxed in boxes.items():
        for way, masks in box_instances(boxed, scene.proposals, scene.shape).items():
            rows[RowKey(f"{name}_{way}", share=share)] = _rated(masks, scene)
    return rows


@torch.inference_mode()
def best_of_maps(trained: Trained, scene: Scene) -> dict[str, Compared]:
    """Section 4.2: peak response maps and the main module's activation maps, not refined.

    Each counts at the threshold at which it and an object agree best.
    """
    rows = {}
    for row, maps in (("prm", scene.output.prms), ("iam", scene.activations[trained.main_job])):
        large = unsquared(maps, *scene.shape)
        heat = each_maximum_is_one(large).clamp(0, 1).cpu().numpy()
        rows[row] = compared_at_best(heat, scene.output.peaks.label.tolist(),
                                     scene.output.confidences.tolist(), scene.numbers, scene.classes,
                                     len(trained.fcn.classes))
    return rows


def _rated(masks: InstanceMasks, scene: Scene) -> Rated:
    """Masks, compared with the truth of their image."""
    n_classes = scene.output.class_maps.shape[1]
    result = compared(masks.masks, masks.classes, masks.scores, scene.numbers, scene.classes, n_classes)
    return Rated(result, masks.values)
