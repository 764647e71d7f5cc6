"""CSoA's constants; free of torch, so that params.yaml can be checked quickly."""
import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lib.base.problem import Problem, nearest
from lib.base.runs import TableRun, of_tier
from lib.base.strict import bounded, build

Variant = Literal["base", "confseg", "coaug", "csoa"]
Position = Literal["3-5", "4-5", "5-5"]
Rise = Literal["linear", "late", "constant"]
Scaling = Literal["minmax", "positive"]


@dataclass(frozen=True)
class CsoaSettings:
    """Sections 3.1 and 3.2; what the paper leaves open was chosen on validation images.

    alpha     the largest share of L_inner (eq. 6)
    rise      how alpha is reached: linearly from 0 in the first epoch (linear), at once after half of the
              epochs (late), or from the start (constant)
    inner     L_inner as eq. 5 prints it, a sum over pixels, or the mean over them
    detach    S_L supervises S_F without being pulled towards it
    scaling   S_L^c between 0 and 1 in eq. 8 and 10: from its least to its largest value (minmax), or what is
              positive of it over the largest (positive)
    gamma     of the distances of backgrounds in eq. 12
    delta     of the distances of foregrounds of different classes in eq. 12
    weight    of L_D beside L_C
    """
    alpha: float = bounded(0, 1)
    rise: Rise = bounded()
    inner: Literal["sum", "mean"] = bounded()
    detach: bool = bounded()
    scaling: Scaling = bounded()
    gamma: float = bounded(0, 1000)
    delta: float = bounded(0, 1000)
    weight: float = bounded(0, 1000)


@dataclass(frozen=True)
class CsoaTraining:
    """Section 4.1; the CPU tiers train fewer and smaller heads on smaller images.

    side            of the network's input; training crops it, at random, out of squares of 8/7 of it
    output_stride   of the trunk
    width           of the two 3x3 convolutions of a classifier
    frozen          stage of the trunk up to which nothing is trained (0: everything is)
    depthwise       whether filters of one channel each are trained above that; on a CPU they are half of a
                    step's time
    embedded_side   of the images that CoAug embeds
    rate, head_rate of the trunk and of the classifiers; both fall by `decay` every epoch
    """
    side: int = bounded(32, 2048)
    output_stride: int = bounded(8, 32)
    width: int = bounded(1, 4096)
    frozen: int = bounded(0, 5)
    depthwise: bool = bounded()
    embedded_side: int = bounded(32, 512)
    batch: int = bounded(2, 4096)
    batch_classes: int = bounded(1, 1000)
    epochs: int = bounded(1, 1000)
    rate: float = bounded(0, 10)
    head_rate: float = bounded(1e-9, 10)
    decay: float = bounded(0.1, 1)
    weight_decay: float = bounded(0, 1)


@dataclass(frozen=True)
class CsoaRun:
    """The networks that are trained on one data set with one trunk.

    least       training images of a single object that a class needs; rarer classes are left out
    seeds       of the networks of tables 1 and 2
    variants    the rows of table 1
    positions   of W_F in CSoA for table 2, beside the 4-5 of table 1; null: none
    trials      names under `csoa_trials`: CSoA with other constants, trained with the first seed and scored
                on validation images
    ten_crop    whether classes are also found as the mean over ten crops
    """
    least: int = bounded(2, 100_000)
    seeds: list[int] = bounded(0, 2 ** 31)
    variants: list[Variant] = bounded()
    ten_crop: bool = bounded()
    training: CsoaTraining = bounded()
    positions: list[Position] | None = None
    trials: list[str] | None = None


@dataclass(frozen=True)
class CsoaRuns:
    """Data set -> network -> what is trained."""
    runs: dict[str, dict[str, CsoaRun]]

    @property
    def datasets(self) -> list[str]:
        return list(self.runs)

    @property
    def networks(self) -> list[str]:
        return list(itertools.chain.from_iterable(self.runs.values()))


@dataclass(frozen=True)
class CsoaThresholds:
    """theta of eq. 13: those that are tried, and the one that `python -m lib segment` takes."""
    tried: list[float] = bounded(0.001, 0.999)
    chosen: float = bounded(0.001, 0.999)


def constants_of(settings: CsoaSettings, trials: Mapping[str, Mapping[str, Any]]) -> dict[str, CsoaSettings]:
    """Settings by trial, each with some constants of its own; "" are those of the tables."""
    constants = {"": settings}
    for name, changes in trials.items():
        if not changes:
            raise Problem(f"csoa_trials.{name}: changes nothing; give it a constant of its own.")
        constants[name] = build(CsoaSettings, asdict(settings) | dict(changes), f"csoa_trials.{name}")
    return constants


@dataclass(frozen=True)
class CsoaTables(TableRun):
    """A notebook of CSoA: table 1 comes from `dataset`, tables 4 to 6 from the `others` too.

    figures   images of each in figures 1, 3 and 4
    """
    dataset: str = of_tier("single")
    figures: int = bounded(1, 100)
    others: list[str] | None = None


@dataclass(frozen=True)
class Params:
    """CSoA's constants in params.yaml."""
    csoa: CsoaSettings
    csoa_thresholds: CsoaThresholds
    csoa_trials: dict[str, dict[str, bool | float | str]]


@dataclass(frozen=True)
class Tier:
    """CSoA's share of a tier; notebooks that are no field run on the networks of table 2."""
    csoa_train: CsoaRuns
    csoa: CsoaTables

    @property
    def csoa_positions(self) -> TableRun:
        """The networks of table 1 that were trained for table 2, too."""
        trained = self.csoa_train.runs.get(self.csoa.dataset, {})
        networks = [name for name in self.csoa.networks if name in trained and trained[name].positions]
        # Where there is none, `check_tier` says so; it is asked after this property is.
        return TableRun(self.csoa.dataset, networks or self.csoa.networks)

    csoa_thresholds = csoa_positions


STAGES = ("csoa_train",)
NOTEBOOKS: tuple[str, ...] = ("csoa", "csoa_positions", "csoa_thresholds")
# What every run takes where a tier says nothing else.
USUAL = {"csoa_run": ("csoa_train.runs.*.*",), "csoa_training": ("csoa_train.runs.*.*.training",)}


def check(params: Params) -> None:
    """Refuse misspelt constants of a trial, and a sweep without the paper's own threshold."""
    constants_of(params.csoa, params.csoa_trials)
    if 0.3 not in params.csoa_thresholds.tried:
        raise Problem("csoa_thresholds.tried: lacks 0.3, the paper's own threshold, "
                      "which tables and claims compare with; add it.")


def check_tier(name: str, tier: Any, params: Params) -> None:
    """Notebooks of CSoA start from what csoa_train trains, as the comparison does; its trials have constants.

    `tier` is the composed one, which has the comparison too.
    """
    for dataset, networks in tier.csoa_train.runs.items():
        for network, run in networks.items():
            _check_run(f"tier.{name}.csoa_train.runs.{dataset}.{network}", run, params.csoa_trials)
    for dataset in (tier.csoa.dataset, *(tier.csoa.others or ())):
        if dataset not in tier.csoa_train.runs:
            raise Problem(f"tier.{name}.csoa: nothing is trained on {dataset} in this tier; "
                          f"add it to tier.{name}.csoa_train.runs.")
    single = tier.comparison.single
    if single not in tier.csoa_train.runs:
        raise Problem(f"tier.{name}.comparison.single: nothing of CSoA is trained on {single}, so that the "
                      f"comparison would have no row of it{nearest(single, tier.csoa_train.runs)}")
    trained = tier.csoa_train.runs[tier.csoa.dataset]
    for network in tier.csoa.networks:
        if network not in trained:
            raise Problem(f'tier.{name}.csoa: "{network}" is not trained on {tier.csoa.dataset} '
                          f"in this tier; add it to tier.{name}.csoa_train.runs.")
    if not any(trained[network].positions for network in tier.csoa.networks):
        raise Problem(f"tier.{name}.csoa_train.runs.{tier.csoa.dataset}: no network has positions, "
                      "from which tables 2 and 3 are made; name some for one.")


def _check_run(where: str, run: CsoaRun, trials: Mapping[str, Any]) -> None:
    if not run.seeds:
        raise Problem(f"{where}.seeds: must name at least one seed.")
    for trial in run.trials or ():
        if trial not in trials:
            raise Problem(f'{where}.trials: there is no "{trial}" under csoa_trials{nearest(trial, trials)}')
