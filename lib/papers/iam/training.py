"""Training of a filling module on pseudo masks, resumable after every pass (sections 3.2 and 3.3)."""
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.base.files import digest, sha256, whole_file
from lib.base.parallel import device
from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.dataset import Dataset
from lib.nets.fcn import Fcn, load_fcn
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
from lib.training.checkpoint import TrainingFolders, as_csv, load_checkpoint, save_checkpoint
from lib.training.networks import train_networks

COLUMNS = ("epoch", "step", "loss")


def train_filling(filling: ExtentFilling, given: Sequence[Lesson], k: int, training: FillingTraining, seed: int, checkpoint: Path, fingerprint: str,
                  label: str) -> list[dict[str, Any]]:
    """Train in place; returns the rows of the curves. A checkpoint of the same fingerprint is gone on from, to the same losses."""
    optimiser = _optimiser(filling, training)
    saved = load_checkpoint(checkpoint, fingerprint, filling)
    done, rows = (saved[0]["epoch"], saved[0]["rows"]) if saved else (0, [])
    if saved:
        optimiser.load_state_dict(saved[1])
    filling.train()
    for epoch in range(done, training.passes):
        rows += _pass(filling, given, k, training, optimiser, seed, epoch, f"{label}, pass {epoch + 1}/{training.passes}")
        save_checkpoint(checkpoint, fingerprint, filling, optimiser, {"epoch": epoch + 1, "rows": rows})
    filling.requires_grad_(False).eval()
    return rows


def filling_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy over the pixels that show the image, every peak alike."""
    each = binary_cross_entropy_with_logits(logits, batch.targets.float(), reduction="none") * batch.valid
    return (each.sum((1, 2)) / batch.valid.sum((1, 2))).mean()


def _pass(filling: ExtentFilling, given: Sequence[Lesson], k: int, training: FillingTraining, optimiser: torch.optim.Optimizer, seed: int, epoch: int,
          label: str) -> list[dict[str, Any]]:
    order = np.random.default_rng((seed, epoch)).permutation(len(given))
    parts = [order[i:i + training.batch] for i in range(0, len(order), training.batch)]
    device, rows = next(filling.parameters()).device, []
    for step, part in enumerate(progress(parts, label)):
        generator = torch.Generator().manual_seed(int(np.random.default_rng((seed, epoch, step)).integers(2 ** 31)))
        batch = batch_of([given[i] for i in part], k, generator, device)
        if batch is None:
            continue
        for group in optimiser.param_groups:   # the polynomial fall of the classifier's training
            group["lr"] = training.rate * (1 - (epoch * len(parts) + step) / (training.passes * len(parts))) ** 0.9
        loss = filling_loss(filling(batch.prms, batch.levels, batch.image), batch)
        if not torch.isfinite(loss):
            raise Problem(f"{label}: the loss is no longer finite in step {step + 1}; lower the rate.")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rows.append({"epoch": epoch + 1, "step": epoch * len(parts) + step + 1, "loss": round(loss.item(), 5)})
    if not rows:
        raise Problem(f"{label}: no peak of any training image has a proposal that holds enough of it; lower iam.retrieval.overlap or find more proposals.")
    return rows


def _optimiser(filling: ExtentFilling, training: FillingTraining) -> torch.optim.Optimizer:
    if training.optimiser == "sgd":
        return torch.optim.SGD(filling.parameters(), training.rate, momentum=0.9, weight_decay=1e-4)
    return torch.optim.Adam(filling.parameters(), training.rate)


def train_run(dataset: Dataset, run: IamTrainRun, settings: FillingSettings, seed: int, proposals: Path, folder: Path, logs: Path,
              classifying: Mapping[str, Any], filling: Mapping[str, Any]) -> None:
    """Train every classifier and filling module that is not there yet; what was interrupted goes on.

    `proposals` are those of the data set; `classifying` and `filling`: digests of the definitions that decide what comes out of
    either, by name.
    """
    _check_unseen(run, dataset)
    for name, network in run.networks.items():
        train_networks(dataset, {name: network.classifier}, seed, TrainingFolders(folder, logs), classifying, "peaks")
        train_fillings(dataset, run, name, network, settings, proposals, folder / name, logs / name, filling)


def train_fillings(dataset: Dataset, run: IamTrainRun, name: str, network: IamNetwork, settings: FillingSettings,
                   proposals: Path, folder: Path, logs: Path, code: Mapping[str, Any]) -> None:
    """Train the filling modules of one classifier that are not there yet."""
    classifier, loaders = folder / "weights.safetensors", open_proposals(proposals, "train")
    samples = [sample for sample in dataset.split("train") if sample.id in loaders]
    facts = {"classifier": sha256(classifier), "settings": dataclasses.asdict(settings), "training": dataclasses.asdict(network.filling),
             "data": dataset.hash, "proposals": sha256(proposals / "fingerprint.json"), "images": [sample.id for sample in samples], "code": dict(code)}
    given: list[Lesson] = []
    for job in filling_jobs(network, bool(run.unseen)):
        fingerprint = digest(facts | dataclasses.asdict(job) | ({"classes": run.unseen} if job.unseen else {}))
        weights, log = folder / job.name / "weights.safetensors", logs / f"{job.name}.csv"
        if _finished(weights, fingerprint) and log.is_file():
            continue
        fcn = load_fcn(classifier, name).to(device())
        given = given or lessons(fcn, samples, loaders, settings, network.filling)
        _train(job, fcn, given, run.unseen or (), settings, network, weights, log, fingerprint)


def _train(job: FillingJob, fcn: Fcn, given: Sequence[Lesson], unseen: Sequence[str], settings: FillingSettings, network: IamNetwork, weights: Path, log: Path,
           fingerprint: str) -> None:
    torch.manual_seed(job.seed)   # the first weights
    filling = ExtentFilling([level.shape[0] for level in given[0].levels], settings.channels, settings.width, settings.r).to(device())
    mine = [lesson for lesson in given if not (job.unseen and set(lesson.labels) & set(unseen))]
    if not mine:
        raise Problem(f"iam_train: every training image has one of the classes {', '.join(unseen)}; hold fewer of them out.")
    checkpoint = weights.with_name("checkpoint.pt")
    rows = train_filling(filling, mine, job.k, network.filling, job.seed, checkpoint, fingerprint, f"{fcn.name}, {job.name}")
    with whole_file(log) as part:
        part.write_text(as_csv(rows, COLUMNS), encoding="utf-8")
    save_filling(filling.cpu(), weights, fcn.name, network.filling.side, network.filling.map_side, fingerprint=fingerprint, k=job.k)
    checkpoint.unlink(missing_ok=True)


def _check_unseen(run: IamTrainRun, dataset: Dataset) -> None:
    for name in run.unseen or ():
        if name not in dataset.classes:
            raise Problem(f'iam_train.unseen: {dataset.name} has no class "{name}"{nearest(name, dataset.classes)}')


def _finished(weights: Path, fingerprint: str) -> bool:
    """Weights that are missing or damaged are trained (again)."""
    try:
        return read_filling(weights)["facts"].get("fingerprint") == fingerprint
    except Problem:
        return False
