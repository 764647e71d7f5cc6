"""IAM's networks: a classifier with stimulated peaks, and filling modules on it, one folder each.

Sections 3.2 and 3.3. A training can be resumed after every pass over the images.
"""
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.base.files import digest, sha256
from lib.base.parallel import device
from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.base.spent import spends
from lib.base.work import each
from lib.data.dataset import Dataset
from lib.nets.fcn import load_fcn
from lib.papers.iam.filling import ExtentFilling, read_filling, save_filling
from lib.papers.iam.lessons import Batch, Lesson, batch_of, lessons
from lib.papers.iam.settings import (
    FillingJob,
    FillingSettings,
    FillingTraining,
    IamNetwork,
    IamTrainRun,
    filling_jobs,
)
from lib.proposals.store import open_proposals
from lib.training.checkpoint import TrainedFile, TrainingFolders, load_checkpoint, save_checkpoint
from lib.training.loss import finite_value
from lib.training.networks import train_networks

COLUMNS: tuple[str, ...] = ("epoch", "step", "loss")


@dataclass(frozen=True)
class Folders:
    """The proposals of the data set, and where weights and curves are to lie."""
    proposals: Path
    weights: Path
    curves: Path


@dataclass(frozen=True)
class Code:
    """Digests of the definitions that decide what comes out of a training, by name."""
    classifier: Mapping[str, Any]
    filling: Mapping[str, Any]


def train_run(dataset: Dataset, run: IamTrainRun, settings: FillingSettings, seed: int, folders: Folders,
              code: Code) -> None:
    """Train every classifier and filling module that is not there yet; what was interrupted is resumed."""
    _check_unseen(run, dataset)
    for name, network in run.networks.items():
        classifiers = TrainingFolders(folders.weights, folders.curves)
        train_networks(dataset, {name: network.classifier}, seed, classifiers, code.classifier, "peaks")
        train_fillings(dataset, run, name, settings, folders, code.filling)


def train_fillings(dataset: Dataset, run: IamTrainRun, name: str, settings: FillingSettings, folders: Folders,
                   code: Mapping[str, Any]) -> None:
    """Train the filling modules of one classifier that are not there yet."""
    network = run.networks[name]
    classifier = folders.weights / name / "weights.safetensors"
    loaders = open_proposals(folders.proposals, "train")
    samples = [sample for sample in dataset.split("train") if sample.id in loaders]
    facts = {"classifier": sha256(classifier), "settings": dataclasses.asdict(settings),
             "training": dataclasses.asdict(network.filling), "data": dataset.hash,
             "proposals": sha256(folders.proposals / "fingerprint.json"),
             "images": [sample.id for sample in samples], "code": dict(code)}
    tasks = []
    for job in filling_jobs(network, bool(run.unseen)):
        task = FillingTask(job, _target(job, folders, name, facts, run.unseen))
        if not task.target.is_finished(read_filling):
            tasks.append(task)
    if tasks:
        fcn = load_fcn(classifier, name).to(device())
        taught = lessons(fcn, samples, loaders, settings, network.filling)
        make = partial(_trainer, taught, settings, network, name, run.unseen or ())
        for _ in each(make, tasks, f"filling modules, {name}"):
            pass


@dataclass(frozen=True)
class FillingTask:
    """A filling module to train, and where it is to lie."""
    job: FillingJob
    target: TrainedFile

    @property
    def name(self) -> str:
        """The module's."""
        return self.job.name


def _trainer(taught: Sequence[Lesson], settings: FillingSettings, network: IamNetwork, name: str,
             unseen: Sequence[str]) -> Callable[[FillingTask], None]:
    def train_one(task: FillingTask) -> None:
        own = _without(taught, unseen) if task.job.unseen else taught
        _train(task.job, own, settings, network, name, task.target)
    return train_one


def _target(job: FillingJob, folders: Folders, name: str, facts: Mapping[str, Any],
            unseen: Sequence[str] | None) -> TrainedFile:
    """Where a filling module lies; `facts` are those that all modules of the classifier follow from."""
    own = facts | dataclasses.asdict(job)
    if job.unseen:
        own["classes"] = unseen
    return TrainedFile(folders.weights / name / job.name / "weights.safetensors",
                       folders.curves / name / f"{job.name}.csv", digest(own))


def _without(taught: Sequence[Lesson], unseen: Sequence[str]) -> list[Lesson]:
    """The lessons without an object of the classes that are held out."""
    kept = [lesson for lesson in taught if not set(lesson.labels) & set(unseen)]
    if not kept:
        raise Problem(f"iam_train: every training image has one of the classes {', '.join(unseen)}; "
                      "hold fewer of them out.")
    return kept


def _train(job: FillingJob, taught: Sequence[Lesson], settings: FillingSettings, network: IamNetwork,
           name: str, target: TrainedFile) -> None:
    torch.manual_seed(job.seed)   # the first weights
    depths = [level.shape[0] for level in taught[0].levels]
    filling = ExtentFilling(depths, settings.channels, settings.width, settings.r).to(device())
    training = network.filling
    rows = train_filling(filling, taught, job, training, target, f"{name}, {job.name}")

    def save() -> None:
        save_filling(filling.cpu(), target.weights, name, training.side, training.map_side,
                     fingerprint=target.fingerprint, k=job.k)

    target.finish(rows, COLUMNS, save)


@spends("training")
def train_filling(filling: ExtentFilling, taught: Sequence[Lesson], job: FillingJob,
                  training: FillingTraining, target: TrainedFile, label: str) -> list[dict[str, Any]]:
    """Train in place; returns the rows of the curves.

    A checkpoint of the target's fingerprint is resumed, to the same losses.
    """
    optimiser = _optimiser(filling, training)
    passes_done = 0
    rows: list[dict[str, Any]] = []
    saved = load_checkpoint(target.checkpoint, target.fingerprint, filling)
    if saved:
        state, optimiser_state = saved
        optimiser.load_state_dict(optimiser_state)
        passes_done = state["epoch"]
        rows = state["rows"]
    filling.train()
    course = _Course(filling, taught, job, training, optimiser)
    for epoch in range(passes_done, training.passes):
        rows += course.one_pass(epoch, f"{label}, pass {epoch + 1}/{training.passes}")
        state = {"epoch": epoch + 1, "rows": rows}
        save_checkpoint(target.checkpoint, target.fingerprint, filling, optimiser, state)
    filling.requires_grad_(False).eval()
    return rows


def filling_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy over the pixels that show the image, every peak alike."""
    each = binary_cross_entropy_with_logits(logits, batch.targets.float(), reduction="none") * batch.valid
    return (each.sum((1, 2)) / batch.valid.sum((1, 2))).mean()


@dataclass(frozen=True)
class _Course:
    """A filling module in training, and all that its passes need."""
    filling: ExtentFilling
    taught: Sequence[Lesson]
    job: FillingJob
    training: FillingTraining
    optimiser: torch.optim.Optimizer

    def one_pass(self, epoch: int, label: str) -> list[dict[str, Any]]:
        """Every lesson once, in an order of its own; a row of the curves for each step with a pseudo mask."""
        order = np.random.default_rng((self.job.seed, epoch)).permutation(len(self.taught))
        size = self.training.batch
        parts = [order[i:i + size] for i in range(0, len(order), size)]
        rows = []
        for step, part in enumerate(progress(parts, label)):
            batch = self._draw(part, epoch, step)
            if batch is None:
                continue
            done = epoch * len(parts) + step
            self._set_rate(done / (self.training.passes * len(parts)))
            loss = filling_loss(self.filling(batch.prms, batch.levels, batch.image), batch)
            value = finite_value(
                loss, f"{label}: the loss is no longer finite in step {step + 1}; lower the rate.")
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            rows.append({"epoch": epoch + 1, "step": done + 1, "loss": round(value, 5)})
        if not rows:
            raise Problem(f"{label}: no peak of any training image has a proposal that holds enough of it; "
                          "lower iam_filling.retrieval.overlap or find more proposals.")
        return rows

    def _draw(self, part: np.ndarray, epoch: int, step: int) -> Batch | None:
        """A batch whose pseudo masks follow from the seed, the pass and the step alone."""
        seed = int(np.random.default_rng((self.job.seed, epoch, step)).integers(2 ** 31))
        generator = torch.Generator().manual_seed(seed)
        device = next(self.filling.parameters()).device
        return batch_of([self.taught[i] for i in part], self.job.k, generator, device)

    def _set_rate(self, share_done: float) -> None:
        """The polynomial fall of the classifier's training."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.training.rate * (1 - share_done) ** 0.9


def _optimiser(filling: ExtentFilling, training: FillingTraining) -> torch.optim.Optimizer:
    if training.optimiser == "sgd":
        return torch.optim.SGD(filling.parameters(), training.rate, momentum=0.9, weight_decay=1e-4)
    return torch.optim.Adam(filling.parameters(), training.rate)


def _check_unseen(run: IamTrainRun, dataset: Dataset) -> None:
    for name in run.unseen or ():
        if name not in dataset.classes:
            raise Problem(f'iam_train.unseen: {dataset.name} has no class "{name}"'
                          f"{nearest(name, dataset.classes)}")
