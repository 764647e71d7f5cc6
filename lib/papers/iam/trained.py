"""The start of IAM's notebooks and commands: trained networks, and the images that have proposals."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.files import sha256
from lib.base.parallel import device
from lib.base.paths import BUILD, DATA, REPORTS
from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample, subset
from lib.nets.fcn import Fcn, load_fcn
from lib.papers.iam.filling import ExtentFilling, load_filling
from lib.papers.iam.settings import (
    MAIN,
    FillingJob,
    IamNetwork,
    IamSettings,
    IamTrainRun,
    filling_jobs,
    settings_of,
)
from lib.proposals.store import open_proposals


@dataclass(frozen=True)
class Trained:
    """A data set, its classifier and filling modules in evaluation mode, and what they were trained with.

    proposals   the folder of the data set's proposals
    """
    dataset: Dataset
    fcn: Fcn
    fillings: Mapping[FillingJob, ExtentFilling]
    network: IamNetwork
    settings: IamSettings
    proposals: Path

    @property
    def main_job(self) -> FillingJob:
        """The filling module of sections 4.2 and 4.3, of the first seed."""
        return FillingJob(MAIN, self.network.seeds[0])

    @property
    def main(self) -> ExtentFilling:
        """The filling module of sections 4.2 and 4.3, of the first seed."""
        return self.fillings[self.main_job]


def open_trained(name: str, run: IamTrainRun, settings: IamSettings, dataset: Dataset, weights: Path,
                 proposals: Path) -> Trained:
    """Open one network that the stage iam_train left in a folder of `weights`."""
    fillings = {}
    for job in filling_jobs(run.networks[name], bool(run.unseen)):
        filling = load_filling(weights / name / job.name / "weights.safetensors", name)
        fillings[job] = filling.to(device())
    fcn = load_fcn(weights / name / "weights.safetensors", name).to(device())
    return Trained(dataset, fcn, fillings, run.networks[name], settings, proposals)


@dataclass(frozen=True)
class TrainedTier:
    """A tier's networks by name, as the stage iam_train left them, and the folders of weights and curves."""
    networks: dict[str, Trained]
    weights: Path
    curves: Path

    @property
    def first(self) -> Trained:
        """The network that a notebook names first."""
        return next(iter(self.networks.values()))

    @property
    def dataset(self) -> Dataset:
        """The data set that all of them were trained on."""
        return self.first.dataset

    def curve_files(self, network: str) -> dict[str, Path]:
        """How the classifier and the main filling module were trained, by name."""
        names = [network, f"{network}/{self.networks[network].main_job.name}"]
        return {name: self.curves / f"{name}.csv" for name in names}

    def hashes(self) -> dict[str, str]:
        """Name -> hash of every network's weights."""
        return hashes(self.weights, list(self.networks))


def open_tier(params: Any, tier: str, dataset: str, networks: Sequence[str]) -> TrainedTier:
    """The networks of a tier that were trained on a data set, with its proposals."""
    run = params.tier[tier].iam_train
    settings = settings_of(params.iam_filling, params.iam)
    weights = BUILD / tier / "iam_train"
    proposals = BUILD / tier / "proposals" / run.dataset
    opened = Dataset(DATA / tier / dataset)
    trained = {name: open_trained(name, run, settings, opened, weights, proposals) for name in networks}
    return TrainedTier(trained, weights, REPORTS / tier / "curves" / "iam_train")


def same_classes(fcn: Fcn, dataset: Dataset) -> None:
    """A classifier's class numbers must be the data set's."""
    if list(fcn.classes) != dataset.classes:
        raise Problem(f"{dataset.folder}: its classes are not those that the network was trained on; "
                      "give a folder with them, in the same order.")


def with_proposals(trained: Trained, split: str, images: int | None = None) -> list[Sample]:
    """Images of a split for which proposals were found, or so many of them, spread evenly."""
    loaders = open_proposals(trained.proposals, split)
    return subset([sample for sample in trained.dataset.split(split) if sample.id in loaders], images)


def wanted(trained: Trained, numbers: Sequence[int | None]) -> dict[str, list[Sample]]:
    """Split -> the images to look at: all for validation, and those of notebooks that test on so many."""
    tested: set[str] = set()
    for number in numbers:
        tested |= {sample.id for sample in with_proposals(trained, "test", number)}
    test = [sample for sample in with_proposals(trained, "test") if sample.id in tested]
    return {"val": with_proposals(trained, "val"), "test": test}


def clean(samples: Sequence[Sample]) -> list[int]:
    """Positions of the images whose instance masks can be trusted: all of a data set that does not say."""
    return [i for i, sample in enumerate(samples) if sample.extra.get("instances_clean", "1") == "1"]


def hashes(folder: Path, networks: Sequence[str]) -> dict[str, str]:
    """Name -> hash of every trained network's weights."""
    hash_of = {}
    for name in networks:
        for path in sorted((folder / name).rglob("weights.safetensors")):
            hash_of[str(path.parent.relative_to(folder))] = sha256(path)
    return hash_of
