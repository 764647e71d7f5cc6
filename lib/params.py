"""`params.yaml` as typed dataclasses, checked before anything starts; a paper's blocks are its settings."""
import copy
import dataclasses
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from lib.base.paths import ROOT
from lib.base.problem import Problem, nearest
from lib.base.runs import ProposalRun, TableRun, add_usual, filled_in
from lib.base.strict import bounded, build
from lib.base.yaml_file import read_yaml
from lib.metrics.bootstrap import Chance
from lib.papers import PAPERS

TIERS: tuple[str, ...] = ("smoke", "collage", "mirror", "paper")
COMPOSED = ("collage", "collage_single")   # data sets that are made, not converted
MIRRORED: tuple[str, ...] = ("voc", "pascal_s", "pets", "tiny_imagenet", "imagenet_sample")
TIER_DATA = {"smoke": COMPOSED, "collage": COMPOSED, "mirror": MIRRORED}   # paper: any official data set
COMPOSED_OPTIONS: dict[str, type] = {"train": int, "val": int, "test": int}
MOST_IMAGES = 100_000
SPLITS: tuple[str, ...] = ("train", "val", "test")   # of every data set that stages make

SETTINGS = {paper: import_module(f"lib.papers.{paper}.settings") for paper in PAPERS}
USUAL = {name: places for own in SETTINGS.values() for name, places in own.USUAL.items()}
STAGES: tuple[str, ...] = ("data", "proposals", *(stage for own in SETTINGS.values() for stage in own.STAGES))
PAPERS_NOTEBOOKS = [notebook for own in SETTINGS.values() for notebook in own.NOTEBOOKS]
NOTEBOOKS: tuple[str, ...] = (*PAPERS_NOTEBOOKS, "comparison", "crf_exactness")


@dataclass(frozen=True)
class Bootstrap:
    """Draws of images, and the level of intervals."""
    samples: int = bounded(100, 100_000)
    level: float = bounded(0.5, 0.999)


@dataclass(frozen=True)
class ComparisonRun(TableRun):
    """All methods on so many images; CSoA's networks were trained on `single`."""
    images: int = bounded(2, 10_000)
    single: str = dataclasses.field(metadata={"from_tier": "single"})


@dataclass(frozen=True)
class ExactnessRun(TableRun):
    """Rows that end in a CRF, by both backends, on so many images."""
    images: int = bounded(1, 10_000)


@dataclass(frozen=True)
class Shared:
    """The parameters that belong to no paper."""
    tiers: list[str]
    seed: int = bounded(0, 2 ** 31)
    mirror: str = bounded()
    bootstrap: Bootstrap = bounded()

    @property
    def chance(self) -> Chance:
        """The draws of images that every interval of this run comes from."""
        return Chance(self.bootstrap.samples, self.bootstrap.level, self.seed)


@dataclass(frozen=True)
class SharedTier:
    """What a tier names once, and its blocks that belong to no paper.

    dataset, networks   of every block that says nothing else
    single              the data set of single objects
    """
    dataset: str
    single: str
    networks: list[str]
    data: dict[str, dict[str, bool | int | str]]
    proposals: ProposalRun
    comparison: ComparisonRun
    crf_exactness: ExactnessRun


@dataclass(frozen=True)
class Tier(*(own.Tier for own in reversed(SETTINGS.values())), SharedTier):
    """One size of the pipeline: what every stage and notebook runs on."""


@dataclass(frozen=True)
class Params(*(own.Params for own in reversed(SETTINGS.values())), Shared):
    """All of params.yaml."""
    tier: dict[str, Tier]


def load_params(path: Path = ROOT / "params.yaml") -> Params:
    """Read and check everything; the first fault is a `Problem` with the key and the nearest spelling."""
    params = build(Params, completed(read_yaml(path)), "")
    _check_tier_names(params)
    for own in SETTINGS.values():
        own.check(params)
    for name, tier in params.tier.items():
        _check_tier(name, tier)
        for own in SETTINGS.values():
            own.check_tier(name, tier, params)
    return params


def tier_of(params: Params, name: str) -> Tier:
    """The tier that `--tier` names."""
    if name not in params.tier:
        raise Problem(f'--tier: there is no tier "{name}"{nearest(name, params.tier)}')
    return params.tier[name]


def completed(raw: Any) -> Any:
    """The blocks with what they leave to their tier, and trainings with what they leave to the usual one.

    What is no mapping is left for `build` to name.
    """
    if not isinstance(raw, dict):
        return raw
    filled = {key: copy.deepcopy(value) for key, value in raw.items() if key not in USUAL}
    tiers = filled.get("tier")
    for tier in tiers.values() if isinstance(tiers, dict) else ():
        if isinstance(tier, dict):
            _complete_tier(tier, raw)
    return filled


def _complete_tier(tier: dict[str, Any], raw: dict[str, Any]) -> None:
    hints = get_type_hints(Tier)
    for key, block in tier.items():
        if dataclasses.is_dataclass(hints.get(key)):
            tier[key] = filled_in(hints[key], block, tier)
    for name, places in USUAL.items():
        for place in places:
            add_usual(tier, place, raw.get(name, {}), name)


def _check_tier_names(params: Params) -> None:
    for tier in (*params.tiers, *params.tier):
        if tier not in TIERS:
            raise Problem(f'tiers: there is no tier "{tier}"{nearest(tier, TIERS)}')
    for tier in params.tiers:
        if tier not in params.tier:
            raise Problem(f'tiers: "{tier}" has no block under "tier"{nearest(tier, params.tier)}')


def _check_tier(name: str, tier: Tier) -> None:
    """Data sets and networks are known, and every block runs on data sets of its tier."""
    _check_data(name, tier)
    _check_proposals(name, tier)
    blocks = get_type_hints(Tier)
    for stage in (*STAGES[1:], *NOTEBOOKS):
        if stage not in blocks:   # a paper derives it from its other blocks
            continue
        _check_datasets(name, stage, tier)
        if stage != "proposals":   # found from pixels alone
            _check_networks(f"tier.{name}.{stage}", getattr(tier, stage))
    named = [tier.dataset, tier.single, tier.comparison.single]
    _check_in_tier(f"tier.{name}", named, tier)


def _check_proposals(name: str, tier: Tier) -> None:
    for dataset, splits in tier.proposals.images.items():
        _check_known(f"tier.{name}.proposals.images.{dataset}", "split", splits, SPLITS)


def _check_data(name: str, tier: Tier) -> None:
    from lib.data.official import OFFICIAL

    known = TIER_DATA.get(name, tuple(OFFICIAL))
    for dataset, options in tier.data.items():
        if dataset not in known:
            raise Problem(f'tier.{name}.data: there is no data set "{dataset}"{nearest(dataset, known)}')
        _check_options(f"tier.{name}.data.{dataset}", _options_of(name, dataset), options)


def _check_datasets(name: str, stage: str, tier: Tier) -> None:
    run = getattr(tier, stage)
    own = [getattr(run, key) for key in ("dataset", "saliency_dataset") if hasattr(run, key)] or run.datasets
    _check_in_tier(f"tier.{name}.{stage}", [*own, *(getattr(run, "others", None) or ())], tier)


def _check_in_tier(where: str, datasets: list[str], tier: Tier) -> None:
    for dataset in datasets:
        if dataset not in tier.data:
            known = nearest(dataset, tier.data)
            raise Problem(f'{where}: there is no data set "{dataset}" in this tier{known}')


def _check_networks(where: str, run: Any) -> None:
    from lib.nets import NETWORKS

    networks = run.networks if hasattr(run, "networks") else [run.network]
    if not networks:
        raise Problem(f"{where}.networks: must name at least one network (known: {', '.join(NETWORKS)}).")
    _check_known(where, "network", networks, NETWORKS)


def _check_known(where: str, what: str, names: Any, known: Any) -> None:
    for name in names:
        if name not in known:
            raise Problem(f'{where}: there is no {what} "{name}"{nearest(name, known)}')


def _options_of(tier: str, dataset: str) -> dict[str, type]:
    """The options that a data set has in a tier; those that are converted from the mirror have none."""
    from lib.data.official import options_of

    if dataset in COMPOSED:
        return COMPOSED_OPTIONS
    return {} if tier == "mirror" else options_of(dataset)


def _check_options(where: str, rules: dict[str, type], options: dict[str, Any]) -> None:
    for key, value in options.items():
        if key not in rules:
            raise Problem(f"{where}.{key}: there is no such option{nearest(key, rules)}")
        build(rules[key], value, f"{where}.{key}")
        if rules[key] is int and not 1 <= value <= MOST_IMAGES:
            raise Problem(f"{where}.{key}: {value} is out of range, it must be between 1 and {MOST_IMAGES}.")
    missing = [key for key in rules if key not in options]
    if rules is COMPOSED_OPTIONS and missing:
        raise Problem(f"{where}.{missing[0]}: the parameter is missing; "
                      "every split needs its number of images.")
