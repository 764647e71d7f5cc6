"""What a notebook runs on in one tier: data sets, networks, images, batch."""
from dataclasses import dataclass

from lib.base.strict import bounded


@dataclass(frozen=True)
class SingleRun:
    """The same for a notebook on one data set and one network."""
    dataset: str
    network: str
    images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)


@dataclass(frozen=True)
class TableRun:
    """The same for a notebook on one data set and several networks."""
    dataset: str
    networks: list[str]


@dataclass(frozen=True)
class ConstantsRun(TableRun):
    images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)
