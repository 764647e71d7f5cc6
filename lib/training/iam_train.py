"""IAM's networks: a classifier with stimulated peaks, and filling modules on it, one folder each."""
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lib.data.dataset import Dataset
from lib.data.proposal_store import open_proposals
from lib.files import digest, sha256, whole_file
from lib.nets.fcn import Fcn
from lib.nets.fcn_file import load_fcn
from lib.nets.filling_file import read_filling, save_filling
from lib.papers.iam_jobs import FillingJob, filling_jobs
from lib.papers.iam_settings import IamNetwork, FillingSettings, IamTrainRun
from lib.parallel import device_here
from lib.problem import Problem, nearest
from lib.refine.extent_filling import ExtentFilling
from lib.training.curves import as_csv
from lib.training.dcsm_train import train_networks
from lib.training.filling import COLUMNS, train_filling
from lib.training.filling_lessons import Lesson, lessons

def train_run(dataset: Dataset, run: IamTrainRun, settings: FillingSettings, seed: int, proposals: Path, folder: Path, logs: Path,
              classifying: Mapping[str, Any], filling: Mapping[str, Any]) -> None:
    """Train every classifier and filling module that is not there yet; what was interrupted goes on.

    `proposals` are those of the data set; `classifying` and `filling`: digests of the definitions that decide what comes out of
    either, by name.
    """
    _check_unseen(run, dataset)
    for name, network in run.networks.items():
        train_networks(dataset, {name: network.classifier}, seed, folder, logs, classifying, "peaks")
        train_fillings(dataset, run, name, network, settings, proposals, folder / name, logs / name, filling)


def train_fillings(dataset: Dataset, run: IamTrainRun, name: str, network: IamNetwork, settings: FillingSettings, proposals: Path,
                   folder: Path, logs: Path, code: Mapping[str, Any]) -> None:
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
        fcn = load_fcn(classifier, name).to(device_here())
        given = given or lessons(fcn, samples, loaders, settings, network.filling)
        _train(job, fcn, given, run.unseen or (), settings, network, weights, log, fingerprint)


def _train(job: FillingJob, fcn: Fcn, given: Sequence[Lesson], unseen: Sequence[str], settings: FillingSettings, network: IamNetwork, weights: Path, log: Path,
           fingerprint: str) -> None:
    torch.manual_seed(job.seed)   # the first weights
    filling = ExtentFilling([level.shape[0] for level in given[0].levels], settings.channels, settings.width, settings.r).to(device_here())
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
