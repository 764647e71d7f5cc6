"""What params.yaml holds, as typed dataclasses; `lib.params` reads and checks it."""
from dataclasses import dataclass
from typing import Literal

from lib.papers.csoa_settings import CsoaRuns, CsoaSettings, CsoaThresholds
from lib.papers.dcsm_maps_settings import MapsRun, MapsSettings
from lib.papers.dcsm_settings import DcsmSettings
from lib.papers.fcn_gbp_settings import FcnGbpGrid
from lib.papers.iam_settings import FillingSettings, IamConstants, IamTrainRun, MaskSettings, ProposalRun
from lib.papers.rcam_settings import RcamSettings
from lib.strict import bounded
from lib.training.multilabel_settings import TrainingSettings


@dataclass(frozen=True)
class Bootstrap:
    samples: int = bounded(100, 100_000)
    level: float = bounded(0.5, 0.999)


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
    datasets: list[str]
    networks: list[str]
    images: int | None = bounded(1, None)
    box_images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)


@dataclass(frozen=True)
class SingleRun:
    """The same for a notebook on one data set and one network."""
    dataset: str
    network: str
    images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)


@dataclass(frozen=True)
class TableRun:
    """The same for a notebook on one data set and several networks."""
    dataset: str
    networks: list[str]


@dataclass(frozen=True)
class ConstantsRun(TableRun):
    images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)


@dataclass(frozen=True)
class Training:
    """Which networks are trained on the data set's train split, and how."""
    dataset: str
    networks: dict[str, TrainingSettings]


@dataclass(frozen=True)
class DcsmConstants:
    alphas: list[float] = bounded(1e-6, 1000)
    readings: list[Literal["paper", "demo"]] = bounded()
    normalisers: list[Literal["own", "joint", "after"]] = bounded()
    alphas_simonyan: list[float] = bounded(1e-6, 1000)
    kernels: list[tuple[float, ...]] = bounded(0.1, 1000)
    weights: list[tuple[float, ...]] = bounded(0, 100)
    thresholds: list[float] = bounded(0, 1)


@dataclass(frozen=True)
class DcsmAlpha:
    alphas: list[float] = bounded(1e-6, 1000)


@dataclass(frozen=True)
class DcsmLayers:
    combinations: list[str]


@dataclass(frozen=True)
class DcsmScales:
    combinations: list[tuple[int, ...]] = bounded(64, 4096)


@dataclass(frozen=True)
class DcsmTopN:
    numbers: list[int] = bounded(0, 1000)


@dataclass(frozen=True)
class DcsmRun(TableRun):
    """`saliency_dataset`: DCSM's row in rCAM's table 2, on the images on which notebook rcam runs its boxes."""
    saliency_dataset: str


@dataclass(frozen=True)
class PosterRun(TableRun):
    """Images: those of the training split that mi-SVM learns from, and how many of the ones with raw maps are scored."""
    train_images: int = bounded(1, None)
    val_images: int = bounded(1, None)
    images: int | None = bounded(1, None)


@dataclass(frozen=True)
class CsoaTables(TableRun):
    """A notebook of CSoA: table 1 and the sweep come from one data set, the comparison of tables 4 to 6 from several.

    `figures`: images of each in figures 1, 3 and 4.
    """
    others: list[str] | None
    figures: int = bounded(1, 100)


@dataclass(frozen=True)
class IamTables(TableRun):
    """A notebook of IAM: images of the validation and test splits, spread evenly (null: all)."""
    val_images: int | None = bounded(2, None)
    images: int | None = bounded(2, None)


@dataclass(frozen=True)
class IamMain(IamTables):
    """`figures`: images of each in figures 1, 5 and 6."""
    figures: int = bounded(1, 100)


@dataclass(frozen=True)
class IamSpeed(TableRun):
    """`images` are timed; `peaks` go down together and one by one."""
    images: int = bounded(1, 1000)
    peaks: int = bounded(2, 64)


@dataclass(frozen=True)
class IamTransfer(TableRun):
    """Table 3 on data sets with boxes, whose classes the networks of CSoA name, and table 4 on data sets with saliency (null: none)."""
    boxes: list[str] | None
    saliency: list[str] | None
    images: int | None = bounded(2, None)

    @property
    def others(self) -> list[str]:
        return [*(self.boxes or ()), *(self.saliency or ())]


@dataclass(frozen=True)
class ComparisonRun(TableRun):
    """All methods on so many images; CSoA's networks were trained on `single`."""
    single: str
    images: int = bounded(2, 10_000)


@dataclass(frozen=True)
class Tier:
    data: dict[str, dict[str, int | str]]
    dcsm_train: Training
    dcsm_maps: MapsRun
    csoa_train: CsoaRuns
    proposals: ProposalRun
    iam_train: IamTrainRun
    rcam: RcamRun
    rcam_scales: SingleRun
    rcam_constants: ConstantsRun
    dcsm: DcsmRun
    dcsm_constants: TableRun
    dcsm_alpha: TableRun
    dcsm_layers: TableRun
    dcsm_scales: TableRun
    dcsm_top_n: TableRun
    dcsm_backprop: TableRun
    fcn_gbp: PosterRun
    csoa: CsoaTables
    csoa_positions: TableRun
    csoa_thresholds: TableRun
    iam: IamMain
    iam_sampling: IamTables
    iam_speed: IamSpeed
    iam_transfer: IamTransfer
    comparison: ComparisonRun


@dataclass(frozen=True)
class Params:
    tiers: list[str]
    seed: int = bounded(0, 2 ** 31)
    mirror: str = bounded()
    bootstrap: Bootstrap = bounded()
    rcam: RcamSettings = bounded()
    rcam_scales: RcamScales = bounded()
    rcam_constants: RcamConstants = bounded()
    dcsm_maps: MapsSettings = bounded()
    dcsm: DcsmSettings = bounded()
    dcsm_constants: DcsmConstants = bounded()
    dcsm_alpha: DcsmAlpha = bounded()
    dcsm_layers: DcsmLayers = bounded()
    dcsm_scales: DcsmScales = bounded()
    dcsm_top_n: DcsmTopN = bounded()
    fcn_gbp: FcnGbpGrid = bounded()
    csoa: CsoaSettings = bounded()
    csoa_thresholds: CsoaThresholds = bounded()
    csoa_trials: dict[str, dict[str, bool | float | str]] = bounded()
    iam_filling: FillingSettings = bounded()
    iam: MaskSettings = bounded()
    iam_constants: IamConstants = bounded()
    tier: dict[str, Tier] = bounded()
