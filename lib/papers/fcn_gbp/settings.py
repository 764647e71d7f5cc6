"""The poster's constants; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Any, Literal

from lib.base.runs import TableRun, follows
from lib.base.strict import bounded
from lib.refine.settings import CrfSettings

Enhance = Literal["product", "geometric"]
Maximum = Literal["image", "class"]


@dataclass(frozen=True)
class ZofSettings:
    """ZOF: the superpixels of an image, and the mi-SVM on them.

    superpixels   of an image, about (SLIC)
    rounds        of relabelling at most
    negatives     superpixels of images without a class that its classifier learns from, at most
    c             of the linear SVM
    balanced      whether positives and negatives have equal weight
    """
    superpixels: int = bounded(2, 10_000)
    rounds: int = bounded(1, 100)
    negatives: int = bounded(1, 10_000_000)
    c: float = bounded(1e-6, 1e6)
    balanced: bool = bounded()


@dataclass(frozen=True)
class FcnGbpSettings:
    """FCN + GBP and its two relatives.

    least_probability   image-level prior of a class that is kept (the best class always is)
    enhance             class map and saliency: their product, or its square root
    maximum             1 is the highest value of all classes' enhanced maps, or of each class's own
    least_map           lower values become 0
    alpha               foreground is tanh(alpha x)
    crf                 of the last step
    """
    least_probability: float
    enhance: Enhance
    maximum: Maximum
    least_map: float
    alpha: float
    crf: CrfSettings


@dataclass(frozen=True)
class FcnGbpGrid:
    """The poster's constants in params.yaml; of each list every method chooses on validation images.

    The CRF is DCSM's.
    """
    least_probability: float = bounded(0, 1)
    least_map: float = bounded(0, 1)
    enhance: list[Enhance] = bounded()
    maximum: list[Maximum] = bounded()
    alpha: list[float] = bounded(1e-3, 1000)
    zof: ZofSettings = bounded()


@dataclass(frozen=True)
class PosterRun(TableRun):
    """How many images notebook fcn_gbp runs on in one tier.

    train_images   that mi-SVM learns from
    val_images     that methods choose their constants on
    images         of those with raw maps that are scored (null: all)
    """
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
    """Accept every grid: each combination is a method, so that nothing can contradict."""


def check_tier(name: str, tier: Any, params: Params) -> None:
    """Refuse what has none of DCSM's raw maps, from which the poster starts; `tier` has DCSM's blocks too."""
    follows(name, "fcn_gbp", tier.fcn_gbp, "dcsm_maps", tier.dcsm_maps, "given raw maps")
