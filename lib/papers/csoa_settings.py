"""CSoA's constants; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Literal

from lib.strict import bounded

Variant = Literal["base", "confseg", "coaug", "csoa"]
Position = Literal["3-5", "4-5", "5-5"]


@dataclass(frozen=True)
class CsoaSettings:
    """Sections 3.1 and 3.2; what the paper leaves open was chosen on validation images.

    alpha       the share of L_inner in the last epoch; it rises linearly from 0 in the first (eq. 6)
    inner       L_inner as eq. 5 prints it, a sum over pixels, or the mean over them
    detach      S_L supervises S_F without being pulled towards it
    gamma, delta, weight   of eq. 12, and of the whole of L_D beside L_C
    threshold   theta of eq. 13
    """
    alpha: float = bounded(0, 1)
    inner: Literal["sum", "mean"] = bounded()
    detach: bool = bounded()
    gamma: float = bounded(0, 1000)
    delta: float = bounded(0, 1000)
    weight: float = bounded(0, 1000)
    threshold: float = bounded(0.01, 0.99)


@dataclass(frozen=True)
class CsoaTraining:
    """Section 4.1; the CPU tiers train fewer and smaller heads on smaller images.

    side            of the square that images are resized to; training crops a random 7/8 of its sides
    output_stride   of the trunk
    width           of the two 3x3 convolutions of a classifier
    frozen          stage of the trunk up to which nothing is trained (0: everything is)
    embedded_side   of the images that CoAug embeds
    rate, head_rate of the trunk and of the classifiers; both fall by `decay` every epoch
    """
    side: int = bounded(32, 2048)
    output_stride: int = bounded(8, 32)
    width: int = bounded(1, 4096)
    frozen: int = bounded(0, 5)
    embedded_side: int = bounded(32, 512)
    batch: int = bounded(2, 4096)
    batch_classes: int = bounded(1, 1000)
    epochs: int = bounded(1, 1000)
    rate: float = bounded(0, 10)
    head_rate: float = bounded(1e-9, 10)
    decay: float = bounded(0.1, 1)
    weight_decay: float = bounded(0, 1)
