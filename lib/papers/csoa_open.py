"""What CSoA's notebooks start from: data sets, their images of single objects, trained networks, and the boxes that look at nothing."""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.dataset import Dataset
from lib.papers.csoa_settings import CsoaRun
from lib.papers.csoa_tables import blind_overlaps
from lib.training.csoa_batches import SingleObjects, single_objects


@dataclass(frozen=True)
class Opened:
    """By data set, the first one that of table 1; folders by (data set, network)."""
    data: dict[str, Dataset]
    single: dict[str, SingleObjects]
    blind: dict[str, dict[str, np.ndarray]]
    folders: dict[tuple[str, str], Path]


def opened(places: Mapping[str, Path], runs: Mapping[str, Mapping[str, CsoaRun]], trained: Path) -> Opened:
    """`places` are the data sets' folders, `trained` is what the stage csoa_train wrote."""
    data = {name: Dataset(place) for name, place in places.items()}
    single = {name: single_objects(dataset, next(iter(runs[name].values())).least) for name, dataset in data.items()}
    return Opened(data, single, {name: blind_overlaps(single[name].splits["test"], dataset.boxes) for name, dataset in data.items()},
                  {(name, network): trained / name / network for name in data for network in runs[name]})
