"""The networks of CSoA, one folder each: their weights, and what they find on validation and test images."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lib.base.files import digest, sha256
from lib.base.parallel import device, share, together
from lib.base.work import each
from lib.data.dataset import Dataset
from lib.nets import load_network, with_weights
from lib.nets.fold import fold_normalisation
from lib.papers.csoa.batches import SingleObjects, Squares, enlarged
from lib.papers.csoa.locate import Search, locate
from lib.papers.csoa.method import Extractor
from lib.papers.csoa.runs import Job, is_located, jobs, save_located
from lib.papers.csoa.settings import CsoaRun, CsoaSettings
from lib.papers.csoa.training import COLUMNS, TrainingTask, build, train
from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers, save_two_classifiers
from lib.training.checkpoint import TrainedFile

WITH_EXTRACTOR = ("coaug", "csoa")   # variants whose losses embed images


@dataclass(frozen=True)
class RunPlan:
    """The networks to train on one data set with one trunk, and all that they follow from.

    images       the data set's images of single objects
    network      the trunk, one of lib.nets
    run          which variants, positions, seeds and trials
    constants    trial -> settings, "" for those of the tables
    thresholds   theta of eq. 13: all that are tried
    training_code, locating_code   digests of the definitions that decide what comes out of either, by name
    """
    dataset: Dataset
    images: SingleObjects
    network: str
    run: CsoaRun
    constants: Mapping[str, CsoaSettings]
    thresholds: Sequence[float]
    training_code: Mapping[str, Any]
    locating_code: Mapping[str, Any]

    def trained_facts(self, job: Job) -> dict[str, Any]:
        """Everything that a network's weights follow from."""
        return {"job": asdict(job), "network": self.network,
                "data": self.dataset.hash, "least": self.run.least,
                "settings": asdict(self.constants[job.trial]), "training": asdict(self.run.training),
                "code": dict(self.training_code)}

    def located_facts(self, weights: Path) -> dict[str, Any]:
        """Everything that is decisive for where a network finds objects."""
        return {"weights": sha256(weights), "thresholds": list(self.thresholds),
                "ten_crop": self.run.ten_crop, "code": dict(self.locating_code)}


@dataclass(frozen=True)
class Photographs:
    """A run's photographs at the network's input size, and larger: training and ten crops cut them."""
    small: Squares
    large: Squares


def train_run(plan: RunPlan, folder: Path, logs: Path) -> None:
    """Train the networks of a run that are not there yet, and locate objects with them.

    Networks go below `folder`, curves below `logs`; a run that was interrupted resumes. Under torchrun every
    process trains, and the first one writes.
    """
    make = partial(_trainer, plan, folder, logs)
    if share()[1] > 1:
        train_one = make()
        for job in jobs(plan.run):
            train_one(job)
    else:
        for _ in each(make, jobs(plan.run), f"networks of CSoA, {plan.network}"):
            pass


def _trainer(plan: RunPlan, folder: Path, logs: Path) -> Callable[[Job], None]:
    """A function that trains one network, unless it is there, and locates objects with it."""
    side = plan.run.training.side
    photographs = Photographs(Squares(side), Squares(enlarged(side)))
    extractor = fold_normalisation(Extractor(with_weights(load_network(plan.network))))
    extractor = extractor.to(device(), memory_format=torch.channels_last)

    def train_one(job: Job) -> None:
        fingerprint = digest(plan.trained_facts(job))
        target = TrainedFile(folder / job.name / "weights.safetensors", logs / f"{job.name}.csv", fingerprint)
        if not target.is_finished(read_two_classifiers):
            train_job(job, plan, photographs, extractor, target)
        if share()[0] == 0:
            locate_job(job, plan, photographs, target.weights)
        together()
    return train_one


def train_job(job: Job, plan: RunPlan, photographs: Photographs, extractor: Extractor,
              target: TrainedFile) -> None:
    """Train one network of a run, and write its weights and curves."""
    training = plan.run.training
    net = build(job, plan.network, plan.images.classes, training)
    net = net.to(device(), memory_format=torch.channels_last)
    task = TrainingTask(job, plan.images, photographs.large, plan.constants[job.trial], training,
                        extractor if job.variant in WITH_EXTRACTOR else None)
    rows = train(net, task, target.checkpoint, target.fingerprint)
    together()
    if share()[0] == 0:
        target.finish(rows, COLUMNS, lambda: save_two_classifiers(net.cpu(), target.weights, training.side,
                                                                  fingerprint=target.fingerprint))


def locate_job(job: Job, plan: RunPlan, photographs: Photographs, weights: Path) -> None:
    """Write val.npz and test.npz beside the weights; a trial only sees validation images."""
    net = None
    fingerprint = digest(plan.located_facts(weights))
    for split in ("val",) if job.trial else ("val", "test"):
        target = weights.with_name(f"{split}.npz")
        if is_located(target, fingerprint):
            continue
        net = net or load_two_classifiers(weights).to(device())
        crops = photographs.large if plan.run.ten_crop and split == "test" else None
        batch = plan.run.training.batch
        search = Search(photographs.small, plan.dataset.boxes, plan.thresholds, batch, crops)
        located = locate(net, plan.images.splits[split], search, f"{job.name}, {split}")
        save_located(target, located, fingerprint)
