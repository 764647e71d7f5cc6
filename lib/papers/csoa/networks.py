"""The networks of CSoA, one folder each: weights.safetensors, and what they find on validation and test images."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lib.base.files import digest, sha256, whole_file
from lib.base.parallel import device, share, together
from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.nets import load_network
from lib.nets.fold import fold_normalisation
from lib.papers.csoa.batches import SingleObjects, Squares, enlarged, single_objects
from lib.papers.csoa.locate import locate
from lib.papers.csoa.method import Extractor
from lib.papers.csoa.runs import Job, jobs, load_located, save_located
from lib.papers.csoa.settings import CsoaRun, CsoaSettings
from lib.papers.csoa.training import COLUMNS, build, facts, train
from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers, save_two_classifiers
from lib.training.checkpoint import as_csv

SPLITS = ("val", "test")


def train_run(dataset: Dataset, network: str, run: CsoaRun, constants: Mapping[str, CsoaSettings], thresholds: Sequence[float], folder: Path, logs: Path,
              code: Mapping[str, Any], locating: Mapping[str, Any]) -> None:
    """Train every network of a run that is not there yet, and look where it finds objects; what was interrupted goes on.

    constants: trial -> settings, "" for those of the tables. `code` and `locating`: digests of the definitions that decide what comes
    out of either, by name.
    Under torchrun every process trains, and the first one writes.
    """
    data, squares = single_objects(dataset, run.least), Squares(enlarged(run.training.side))
    small = Squares(run.training.side)
    extractor = fold_normalisation(Extractor(load_network(network))).to(device(), memory_format=torch.channels_last)
    for job in jobs(run):
        settings = constants[job.trial]
        fingerprint = digest(facts(job, network, dataset.hash, run.least, settings, run.training, code))
        weights, log = folder / job.name / "weights.safetensors", logs / f"{job.name}.csv"
        if not (_finished(weights, fingerprint) and log.is_file()):
            train_job(job, network, data, run, settings, extractor, weights, log, fingerprint, squares)
        if share()[0] == 0:
            locate_job(job, weights, dataset, data, run, thresholds, locating, small, squares)
        together()


def train_job(job: Job, network: str, data: SingleObjects, run: CsoaRun, settings: CsoaSettings, extractor: Extractor, weights: Path,
              log: Path, fingerprint: str, squares: Squares) -> None:
    """Train one network of a run, and write its weights and curves."""
    net = build(job, network, data.classes, run.training).to(device(), memory_format=torch.channels_last)
    checkpoint = weights.with_name("checkpoint.pt")
    rows = train(net, job, data, settings, run.training, extractor if job.variant in ("coaug", "csoa") else None, checkpoint, fingerprint, squares)
    together()
    if share()[0] == 0:
        with whole_file(log) as part:
            part.write_text(as_csv(rows, COLUMNS), encoding="utf-8")
        save_two_classifiers(net.cpu(), weights, run.training.side, fingerprint=fingerprint)
        checkpoint.unlink(missing_ok=True)


def locate_job(job: Job, weights: Path, dataset: Dataset, data: SingleObjects, run: CsoaRun, thresholds: Sequence[float],
               code: Mapping[str, Any], small: Squares, large: Squares) -> None:
    """val.npz and test.npz beside the weights; a trial only sees validation images."""
    net = None
    for split in SPLITS[:1] if job.trial else SPLITS:
        fingerprint = digest({"weights": sha256(weights), "thresholds": list(thresholds), "ten_crop": run.ten_crop, "code": dict(code)})
        target = weights.with_name(f"{split}.npz")
        if load_located(target, fingerprint) is None:
            net = net or load_two_classifiers(weights).to(device())
            crops = large if run.ten_crop and split == "test" and not job.trial else None
            save_located(target, locate(net, data.splits[split], dataset.boxes, small, thresholds, run.training.batch, f"{job.name}, {split}", crops), fingerprint)


def _finished(weights: Path, fingerprint: str) -> bool:
    """Weights that are missing or damaged are trained (again)."""
    try:
        return read_two_classifiers(weights)["facts"].get("fingerprint") == fingerprint
    except Problem:
        return False
