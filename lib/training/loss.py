"""The one look that a training step takes at its loss."""
import math

from torch import Tensor

from lib.base.problem import Problem


def finite_value(loss: Tensor, otherwise: str) -> float:
    """A loss as a number; where it is none, `otherwise` is the sentence of the problem.

    Before the weights are changed, so that they stay good. A GPU is waited for here, once a step.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise Problem(otherwise)
    return value
