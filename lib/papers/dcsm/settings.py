"""DCSM's constants; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Literal

from lib.base.runs import TableRun
from lib.base.strict import bounded
from lib.refine.settings import CrfSettings

BASE = 500   # the paper's longest side; scales are named relative to it, a tier says how many pixels its base has
BLOCKS = ("block1", "block2", "block3", "block4", "block5")
Block = Literal["block1", "block2", "block3", "block4", "block5"]


@dataclass(frozen=True)
class DcsmSettings:
    """One way of running the method; see params.yaml for what each constant means."""
    scales: tuple[int, ...] = bounded(64, 4096)
    blocks: tuple[Block, ...] = bounded()
    candidates: int = bounded(0, 1000)
    reading: Literal["paper", "demo"] = bounded()
    normaliser: Literal["own", "joint", "after"] = bounded()
    alpha: float = bounded(1e-6, 1000)
    alpha_simonyan: float = bounded(1e-6, 1000)
    map_stride: int = bounded(1, 8)
    crf: CrfSettings = bounded()
    crf_paper: CrfSettings = bounded()


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


@dataclass(frozen=True)
class DcsmConstants:
    alphas: list[float] = bounded(1e-6, 1000)
    readings: list[Literal["paper", "demo"]] = bounded()
    normalisers: list[Literal["own", "joint", "after"]] = bounded()
    alphas_simonyan: list[float] = bounded(1e-6, 1000)
    kernels: list[tuple[float, ...]] = bounded(0.1, 1000)
    weights: list[tuple[float, ...]] = bounded(0, 100)
    thresholds: list[float] = bounded(0, 1)


@dataclass(frozen=True)
class DcsmAlpha:
    alphas: list[float] = bounded(1e-6, 1000)


@dataclass(frozen=True)
class DcsmLayers:
    combinations: list[str]


@dataclass(frozen=True)
class DcsmScales:
    combinations: list[tuple[int, ...]] = bounded(64, 4096)


@dataclass(frozen=True)
class DcsmTopN:
    numbers: list[int] = bounded(0, 1000)


@dataclass(frozen=True)
class DcsmRun(TableRun):
    """`saliency_dataset`: DCSM's row in rCAM's table 2, on the images on which notebook rcam runs its boxes."""
    saliency_dataset: str
