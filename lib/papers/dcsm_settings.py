"""DCSM's constants; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Literal

from lib.refine.crf import CrfSettings
from lib.strict import bounded

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
