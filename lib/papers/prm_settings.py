"""Constants of PRM's retrieval and of IAM's pseudo masks; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Literal

from lib.strict import bounded


@dataclass(frozen=True)
class RetrievalSettings:
    """What makes a proposal fit a peak response map: alpha * inside + beta * on the contour - gamma * background (IAM, section 3.2; PRM).

    gamma        for each background pixel inside the proposal, were the image 448 x 448
    background   below this share of a map's mean
    width        of the square with which contours are drawn, in pixels of the working size
    nms          overlap (intersection over union) from which one of two masks of a class goes
    overlap      least share of any peak response map that a pseudo mask holds
    """
    alpha: float = bounded(0, 100)
    beta: float = bounded(0, 100)
    gamma: float = bounded(0, 1)
    background: float = bounded(0, 10)
    width: Literal[3, 5, 7, 9] = bounded()
    nms: float = bounded(0, 1)
    overlap: float = bounded(0, 1)
