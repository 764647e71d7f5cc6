"""Which raw maps are computed; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass

from lib.papers.dcsm_settings import Block
from lib.strict import bounded


@dataclass(frozen=True)
class MapsSettings:
    """Main maps for every image; the other scales and blocks, plain backpropagation and `wide` candidates for the ablations."""
    scales: tuple[int, ...] = bounded(64, 4096)
    other_scales: tuple[int, ...] = bounded(64, 4096)
    blocks: tuple[Block, ...] = bounded()
    other_blocks: tuple[Block, ...] = bounded()
    candidates: int = bounded(1, 1000)
    wide: int = bounded(1, 1000)
    threshold: float = bounded(0, 1)


@dataclass(frozen=True)
class MapsImages:
    """Images of each split, spread evenly over it (null: all); ablations are a part of test, none where 0."""
    val: int | None = bounded(1, None)
    test: int | None = bounded(1, None)
    ablations: int | None = bounded(0, None)


@dataclass(frozen=True)
class MapsRun:
    """A tier's share: data set, the longest side in pixels that the paper's 500 stands for, networks."""
    dataset: str
    side: int = bounded(64, 4096)
    networks: dict[str, MapsImages] = bounded()
