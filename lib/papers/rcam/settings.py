"""rCAM's constants in params.yaml; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Literal

from lib.base.problem import Problem
from lib.base.runs import ConstantsRun, SingleRun, of_tier
from lib.base.strict import bounded
from lib.nets.modules import check_cam
from lib.refine.settings import CrfSettings


@dataclass(frozen=True)
class BoxSettings:
    """Boxes of rCAM_Box (section 4.4).

    source        boxes around segment proposals, or windows of a grid
    least_side    of a box around a segment, as a share of the image's side; smaller ones are left out
    count         boxes kept an image
    overlap       intersection over union with a better box above which a box is suppressed
    least_score   of a box that is kept (the best one always is)
    margin        by which a kept box is enlarged, as a share of its sides
    """
    source: Literal["proposals", "windows"] = bounded()
    least_side: float = bounded(0, 1)
    count: int = bounded(1, 100)
    overlap: float = bounded(0, 1)
    least_score: float = bounded(0, 1)
    margin: float = bounded(0, 1)


@dataclass(frozen=True)
class RcamSettings:
    """Section 3 of the paper.

    sizes            sides of the input images, the smallest first
    guide_stride     stride of the response maps that guide the filter
    components       principal components of the response maps that make up the shape S
    max_lag          largest lag of the variogram, as a share of the guide's side
    lag_components   components that the variogram is taken of
    window           what the variogram's sigma is read as; where it is a number, the radius in cells
    eps              of the guided filter
    crf, crf_cited   our CRF, and the one of the implementation that the paper cites
    boxes            of rCAM_Box
    googlenet_tail   whether BVLC GoogLeNet's last modules are dilated at stride 16
    """
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
    """The ablations of notebook rcam_scales, one list of choices a table."""
    sizes: list[tuple[int, ...]] = bounded(64, 2048)
    guide_strides: list[Literal[2, 4, 8, 16]] = bounded()
    radii: list[int] = bounded(1, 64)
    crf_iterations: list[int] = bounded(1, 100)


@dataclass(frozen=True)
class RcamConstants:
    """The choices that notebook rcam_constants tries; `weights` are pairs, bilateral and spatial."""
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
    """The data sets and networks of notebook rcam in one tier.

    images       of each data set, spread evenly (null: all)
    box_images   of these, how many are run in boxes (null: all)
    batch        images at a time
    """
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
NOTEBOOKS: tuple[str, ...] = ("rcam", "rcam_scales", "rcam_constants")
USUAL: dict[str, tuple[str, ...]] = {}


def check(params: Params) -> None:
    """Refuse constants that do not fit together."""
    for pair in params.rcam_constants.weights:
        if len(pair) != 2:
            raise Problem(f"rcam_constants.weights: {list(pair)} must be a pair, bilateral and spatial.")


def check_tier(name: str, tier: Tier, params: Params) -> None:
    """Refuse networks without class activation maps.

    rCAM is not trained, so nothing else has to be there before its notebooks.
    """
    check_cam(f"tier.{name}.rcam.networks", tier.rcam.networks)
    check_cam(f"tier.{name}.rcam_scales.network", [tier.rcam_scales.network])
    check_cam(f"tier.{name}.rcam_constants.networks", tier.rcam_constants.networks)
