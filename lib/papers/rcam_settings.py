"""rCAM's constants (params.yaml, block rcam)."""
from dataclasses import dataclass
from typing import Literal

from lib.refine.crf import CrfSettings
from lib.strict import bounded


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
