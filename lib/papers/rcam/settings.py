"""rCAM's constants (params.yaml, block rcam)."""
from dataclasses import dataclass
from typing import Literal

from lib.base.problem import Problem
from lib.base.runs import ConstantsRun, SingleRun, of_tier
from lib.base.strict import bounded
from lib.refine.settings import CrfSettings


@dataclass(frozen=True)
class BoxSettings:
    """Boxes of rCAM_Box: around segment proposals whose sides are at least `least_side` of the image's, or windows of a grid; how many are
    kept, non-maximum suppression, the least score, the enlargement."""
    source: Literal["proposals", "windows"] = bounded()
    least_side: float = bounded(0, 1)
    count: int = bounded(1, 100)
    overlap: float = bounded(0, 1)
    least_score: float = bounded(0, 1)
    margin: float = bounded(0, 1)


@dataclass(frozen=True)
class RcamSettings:
    """Section 3 of the paper; `window` is a radius in cells where it is a number."""
    sizes: tuple[int, ...] = bounded(64, 2048)
    guide_stride: Literal[2, 4, 8, 16] = bounded()
    components: int = bounded(1, 16)
    max_lag: float = bounded(0.1, 1.0)
    lag_components: Literal[1, 3] = bounded()
    window: Literal["radius", "diameter"] | int = bounded(1, 64)
    eps: float = bounded(1e-8, 10)
    crf: CrfSettings = bounded()
    crf_cited: CrfSettings = bounded()
    boxes: BoxSettings = bounded()
    googlenet_tail: Literal["dilated", "undilated"] = bounded()


@dataclass(frozen=True)
class RcamScales:
    sizes: list[tuple[int, ...]] = bounded(64, 2048)
    guide_strides: list[Literal[2, 4, 8, 16]] = bounded()
    radii: list[int] = bounded(1, 64)
    crf_iterations: list[int] = bounded(1, 100)


@dataclass(frozen=True)
class RcamConstants:
    eps: list[float] = bounded(1e-8, 10)
    windows: list[Literal["radius", "diameter"]] = bounded()
    lag_components: list[Literal[1, 3]] = bounded()
    max_lags: list[float] = bounded(0.1, 1.0)
    theta_betas: list[float] = bounded(0.1, 255)
    theta_alphas: list[float] = bounded(1, 1000)
    weights: list[tuple[float, ...]] = bounded(0, 100)
    tails: list[Literal["dilated", "undilated"]] = bounded()


@dataclass(frozen=True)
class RcamRun:
    """What a notebook runs on in one tier: data sets, networks, images of each (null: all; in boxes: fewer), images a batch."""
    datasets: list[str] = of_tier("dataset")
    networks: list[str] = of_tier("networks")
    images: int | None = bounded(1, None)
    box_images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)


@dataclass(frozen=True)
class Params:
    """rCAM's constants in params.yaml."""
    rcam: RcamSettings
    rcam_scales: RcamScales
    rcam_constants: RcamConstants


@dataclass(frozen=True)
class Tier:
    """rCAM's share of a tier: its notebooks."""
    rcam: RcamRun
    rcam_scales: SingleRun
    rcam_constants: ConstantsRun


STAGES: tuple[str, ...] = ()
NOTEBOOKS = ("rcam", "rcam_scales", "rcam_constants")
USUAL: dict[str, tuple[str, ...]] = {}


def check(params: Params) -> None:
    """Refuse constants that do not fit together."""
    for pair in params.rcam_constants.weights:
        if len(pair) != 2:
            raise Problem(f"rcam_constants.weights: {list(pair)} must be a pair, bilateral and spatial.")


def check_tier(name: str, tier: Tier, params: Params) -> None:
    """rCAM is not trained: nothing has to be there before its notebooks."""
