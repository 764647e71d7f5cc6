"""The poster's constants; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Any, Literal

from lib.base.runs import TableRun
from lib.base.strict import bounded
from lib.papers.dcsm import settings as dcsm
from lib.refine.settings import CrfSettings

Enhance = Literal["product", "geometric"]
Maximum = Literal["image", "class"]


@dataclass(frozen=True)
class ZofSettings:
    """ZOF: superpixels of an image (SLIC), and the mi-SVM on them."""
    superpixels: int = bounded(2, 10_000)
    rounds: int = bounded(1, 100)
    negatives: int = bounded(1, 10_000_000)
    c: float = bounded(1e-6, 1e6)
    balanced: bool = bounded()


@dataclass(frozen=True)
class FcnGbpSettings:
    """FCN + GBP and its two relatives: image-level prior, enhancement, thresholds, level of the foreground, CRF."""
    least_probability: float   # of a class that is kept (the best class always is)
    enhance: Enhance           # class map and saliency: their product, or its square root
    maximum: Maximum           # 1 is the highest value of all classes' enhanced maps, or of each class's own
    least_map: float           # lower values become 0
    alpha: float               # foreground is tanh(alpha x)
    crf: CrfSettings


@dataclass(frozen=True)
class FcnGbpGrid:
    """What the poster leaves open, for each of its methods to choose from on validation images; the CRF is DCSM's."""
    least_probability: float = bounded(0, 1)
    least_map: float = bounded(0, 1)
    enhance: list[Enhance] = bounded()
    maximum: list[Maximum] = bounded()
    alpha: list[float] = bounded(1e-3, 1000)
    zof: ZofSettings = bounded()


@dataclass(frozen=True)
class PosterRun(TableRun):
    """Images: those of the training split that mi-SVM learns from, and how many of the ones with raw maps are scored."""
    train_images: int = bounded(1, None)
    val_images: int = bounded(1, None)
    images: int | None = bounded(1, None)


@dataclass(frozen=True)
class Params:
    """The poster's constants in params.yaml."""
    fcn_gbp: FcnGbpGrid


@dataclass(frozen=True)
class Tier:
    """The poster's share of a tier: its notebook."""
    fcn_gbp: PosterRun


STAGES: tuple[str, ...] = ()
NOTEBOOKS = ("fcn_gbp",)
USUAL: dict[str, tuple[str, ...]] = {}


def check(params: Params) -> None:
    """Every combination of the grid is a method: nothing can contradict."""


def check_tier(name: str, tier: Any, params: Params) -> None:
    """The poster starts from DCSM's raw maps; `tier` has DCSM's blocks too."""
    dcsm.follows(name, "fcn_gbp", tier.fcn_gbp, "dcsm_maps", tier.dcsm_maps, "given raw maps")
