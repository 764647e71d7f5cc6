"""IAM's constants, PRM's among them, and which filling modules are trained on a classifier.

Free of torch, so that params.yaml can be checked quickly.
"""
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lib.base.problem import Problem
from lib.base.runs import TableRun, follows, of_tier
from lib.base.strict import bounded, build
from lib.data.classes import check_classes
from lib.refine.settings import ConvCrfSettings, CrfSettings
from lib.training.settings import TrainingSettings


@dataclass(frozen=True)
class RetrievalSettings:
    """The fit of a proposal to a peak response map (IAM, section 3.2; PRM).

    alpha * inside + beta * on the contour - gamma * background.

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


@dataclass(frozen=True)
class FillingSettings:
    """A filling module's size, and how its pseudo masks come about (sections 3.1 and 3.2).

    What the paper leaves open was chosen on validation images.

    channels    C of eq. 2 and 3
    width       the feature pyramid's channels
    r           the side of the neighbourhood
    ranking     what ranks proposals for pseudo masks: section 3.2's f (matching), or PRM's score, which has a
                background term (retrieval)
    most        proposals that are ranked for each peak: at least the largest k
    peaks       peaks of an image and class that a map is made of, the highest first
    """
    retrieval: RetrievalSettings = bounded()
    channels: int = bounded(1, 256)
    width: int = bounded(1, 1024)
    r: Literal[3, 5, 7] = bounded()
    ranking: Literal["matching", "retrieval"] = bounded()
    most: int = bounded(1, 1000)
    peaks: int = bounded(1, 1000)


@dataclass(frozen=True)
class MaskSettings:
    """How activation maps become masks (section 3.3, post-processing).

    level            of a map, from which a pixel belongs to the object
    crf, dense_crf   that refine maps: the paper's, and the one that the table has beside it
    """
    level: float = bounded(0.01, 0.99)
    crf: ConvCrfSettings = bounded()
    dense_crf: CrfSettings = bounded()


@dataclass(frozen=True)
class IamSettings(MaskSettings, FillingSettings):
    """The settings of a filling module, and how its maps become masks.

    They are two blocks in params.yaml, since no network has to be trained again for other masks.
    """


@dataclass(frozen=True)
class IamConstants:
    """Constants that are tried on validation images.

    peaks   least values of a peak
    cams    shares of a class activation map's maximum
    crfs    constants of the ConvCRF that differ from those of the tables
    """
    peaks: list[float] = bounded(-100, 1000)
    cams: list[float] = bounded(0.01, 0.99)
    crfs: dict[str, dict[str, int | float]] = bounded()


@dataclass(frozen=True)
class FillingTraining:
    """How filling modules are trained (section 3.3).

    The classifier stays as it is; all training images that have proposals are used.

    side        of the padded squares that the classifier sees
    map_side    of the peak response maps that are filled, at most `side`
    batch       images a step, with all their peaks
    passes      over the images; pseudo targets are drawn anew in every one
    """
    side: int = bounded(64, 2048)
    map_side: int = bounded(32, 2048)
    batch: int = bounded(1, 1024)
    passes: int = bounded(1, 10_000)
    optimiser: Literal["sgd", "adam"] = bounded()
    rate: float = bounded(1e-9, 10)


@dataclass(frozen=True)
class IamNetwork:
    """A classifier with stimulated peaks, and the filling modules on it: one for each k and seed."""
    classifier: TrainingSettings
    filling: FillingTraining
    k: list[int] = bounded(1, 1000)
    seeds: list[int] = bounded(0, 2 ** 31)


@dataclass(frozen=True)
class IamTrainRun:
    """The networks to train on one data set.

    unseen   classes whose images a filling module of its own never sees (null: none)
    """
    networks: dict[str, IamNetwork]
    dataset: str = of_tier("dataset")
    unseen: list[str] | None = None


def settings_of(filling: FillingSettings, masks: MaskSettings) -> IamSettings:
    """The blocks `iam_filling` and `iam` of params.yaml as one."""
    return IamSettings(**vars(filling), **vars(masks))


def crfs_of(settings: MaskSettings, constants: IamConstants) -> dict[str, ConvCrfSettings]:
    """ConvCRFs by name: the one of the tables, and those that are tried beside it."""
    crfs = {"chosen": settings.crf}
    for name, change in constants.crfs.items():
        if not change:
            raise Problem(f"iam_constants.crfs.{name}: changes nothing; give it a constant of its own.")
        crfs[name] = build(ConvCrfSettings, asdict(settings.crf) | change, f"iam_constants.crfs.{name}")
    return crfs


TABLE_K: tuple[int, ...] = (1, 5, 9)   # of table 1
MAIN = 5                               # k of the modules that sections 4.2 and 4.3 use


@dataclass(frozen=True)
class FillingJob:
    """One filling module to train; an `unseen` one never sees an image of the classes that are held out."""
    k: int
    seed: int
    unseen: bool = False

    @property
    def name(self) -> str:
        """The name of its folder and of its curves."""
        name = f"k{self.k}_seed{self.seed}"
        return f"{name}_unseen" if self.unseen else name


def filling_jobs(network: IamNetwork, unseen: bool) -> list[FillingJob]:
    """Every filling module of a classifier, seed by seed, so that an interrupted run has whole rows."""
    jobs = []
    for seed in network.seeds:
        jobs += [FillingJob(k, seed) for k in network.k]
        if unseen:
            jobs.append(FillingJob(MAIN, seed, unseen=True))
    return jobs


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
    """Table 3 on data sets with boxes, and table 4 on data sets with saliency (null: none).

    The classes of those with boxes are named by the networks of CSoA.
    """
    images: int | None = bounded(2, None)
    boxes: list[str] | None = None
    saliency: list[str] | None = None

    @property
    def others(self) -> list[str]:
        """The data sets beside its own."""
        return [*(self.boxes or ()), *(self.saliency or ())]


@dataclass(frozen=True)
class Params:
    """IAM's constants in params.yaml."""
    iam_filling: FillingSettings
    iam: MaskSettings
    iam_constants: IamConstants


@dataclass(frozen=True)
class Tier:
    """IAM's share of a tier: its stage and its notebooks."""
    iam_train: IamTrainRun
    iam: IamMain
    iam_sampling: IamTables
    iam_speed: IamSpeed
    iam_transfer: IamTransfer


STAGES = ("iam_train", "iam_rows")
NOTEBOOKS: tuple[str, ...] = ("iam", "iam_sampling", "iam_speed", "iam_transfer")
# Which filling modules are trained on a classifier where a tier says nothing else.
USUAL = {"iam_modules": ("iam_train.networks.*",)}


def check(params: Params) -> None:
    """Refuse misspelt constants of a ConvCRF."""
    crfs_of(params.iam, params.iam_constants)


def check_tier(name: str, tier: Any, params: Params) -> None:
    """Filling modules learn from proposals, and notebooks start from what iam_train trains.

    `tier` is the composed one, which has proposals too.
    """
    run = tier.iam_train
    check_classes(f"tier.{name}.iam_train.unseen", run.unseen or (), run.dataset)
    for split in ("train", "val", "test"):
        if split not in tier.proposals.images.get(run.dataset, {}):
            raise Problem(f"tier.{name}.proposals.images.{run.dataset}.{split}: IAM needs proposals of this "
                          "split; give a number of images, or null for all.")
    for network, options in run.networks.items():
        where = f"tier.{name}.iam_train.networks.{network}"
        options.classifier.check(f"{where}.classifier", network)
        _check_network(where, options, params.iam_filling)
    for notebook in (*NOTEBOOKS, "comparison"):   # the comparison segments with these networks, too
        follows(name, notebook, getattr(tier, notebook), "iam_train", run, "trained")


def _check_network(where: str, options: IamNetwork, settings: FillingSettings) -> None:
    for k in TABLE_K:
        if k not in options.k:
            raise Problem(f"{where}.k: lacks {k}, which the paper's table 1 has; add it.")
    if max(options.k) > settings.most:
        raise Problem(f"{where}.k: {max(options.k)} is more than iam_filling.most, {settings.most}, "
                      "proposals that are ranked; raise that.")
    filling = options.filling
    if filling.map_side > filling.side:
        raise Problem(f"{where}.filling.map_side: {filling.map_side} is more than side, {filling.side}; "
                      "maps are made smaller, not larger.")
