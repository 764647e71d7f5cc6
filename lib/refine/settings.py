"""Constants of the convolutional CRF; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass, field

from lib.base.problem import Problem
from lib.base.strict import bounded


@dataclass(frozen=True)
class ConvCrfSettings:
    """Convolutional CRF: a dense CRF whose pixels hear a window around them.

    Kernel widths and weights mean what they mean in `CrfSettings`: with a window as large as the image
    both CRFs are the same.

    filter_size     side of the window, odd: 7 or 11 in the paper
    blur            messages are passed between means over blur x blur pixels: the window reaches `blur` times
                    as far, at about 1 / blur² of the cost, for edges as coarse as that. The original code has
                    4, for images of 500 pixels; the default 1 keeps every pixel of the small images of the
                    small tiers.

    The original code does not normalise the kernels by default (its `norm` is "none"), which ties the weights
    to the window's size; here both are divided by the square roots of both pixels' sums (its "sym"), as in
    the dense CRF. Its colour kernel leaves the position out by default: a theta_alpha far above the window's
    reach does the same.
    """
    filter_size: int = bounded(1, 101)
    theta_alpha: float = bounded(0.1, 10_000)
    theta_beta: float = bounded(0.1, 255)
    theta_gamma: float = bounded(0.1, 10_000)
    bilateral: float = bounded(0, 100)
    spatial: float = bounded(0, 100)
    iterations: int = bounded(1, 100)
    blur: int = field(default=1, metadata={"low": 1, "high": 16})

    def __post_init__(self) -> None:
        if self.filter_size % 2 == 0:
            raise Problem(f"filter_size: {self.filter_size} is even, so the window has no pixel in its "
                          "middle; use an odd one, such as 7 or 11.")


@dataclass(frozen=True)
class CrfSettings:
    """Dense CRF: kernel widths in pixels and grey levels, weights, mean-field iterations."""
    theta_alpha: float = bounded(0.1, 10_000)
    theta_beta: float = bounded(0.1, 255)
    theta_gamma: float = bounded(0.1, 10_000)
    bilateral: float = bounded(0, 100)
    spatial: float = bounded(0, 100)
    iterations: int = bounded(1, 100)
