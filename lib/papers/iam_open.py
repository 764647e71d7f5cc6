"""What IAM's notebooks start from: the images that have proposals, and what the stages proposals and iam_train left."""
from collections.abc import Sequence
from pathlib import Path

from lib.data.dataset import Dataset, Sample
from lib.data.proposal_store import open_proposals
from lib.data.subset import subset
from lib.files import sha256
from lib.papers.iam_rows import Trained, trained
from lib.papers.iam_settings import IamSettings, IamTrainRun


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
