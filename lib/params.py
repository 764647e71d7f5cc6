"""`params.yaml` as typed dataclasses, checked completely before anything starts."""
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from lib.papers.csoa_settings import CsoaRuns, CsoaSettings, CsoaThresholds, constants_of
from lib.papers.dcsm_maps_settings import MapsRun, MapsSettings
from lib.papers.dcsm_settings import DcsmSettings
from lib.papers.fcn_gbp_settings import FcnGbpGrid
from lib.papers.rcam_settings import RcamSettings
from lib.paths import ROOT
from lib.problem import Problem, nearest
from lib.strict import bounded, build
from lib.training.multilabel_settings import TrainingSettings

TIERS = ("smoke", "collage", "mirror", "paper")
COMPOSED = ("collage", "collage_single")   # data sets that are made, not converted
TIER_DATA = {"smoke": COMPOSED, "collage": COMPOSED,
             "mirror": ("voc", "pascal_s", "pets", "tiny_imagenet", "imagenet_sample")}   # paper: any official data set


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
class Tier:
    data: dict[str, dict[str, int | str]]
    dcsm_train: Training
    dcsm_maps: MapsRun
    csoa_train: CsoaRuns
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
    tier: dict[str, Tier] = bounded()


STAGES = ("data", "dcsm_train", "dcsm_maps", "csoa_train")   # blocks of a tier that are no notebook's
NOTEBOOKS = tuple(name for name in Tier.__dataclass_fields__ if name not in STAGES)
FROM_ABLATIONS = ("dcsm_alpha", "dcsm_layers", "dcsm_scales", "dcsm_top_n", "dcsm_backprop")   # need more maps of fewer images
FROM_CSOA = ("csoa", "csoa_positions", "csoa_thresholds")   # notebooks that start from trained networks of CSoA
FROM_MAPS = ("dcsm", "dcsm_constants", *FROM_ABLATIONS, "fcn_gbp")   # notebooks that start from raw maps


def load_params(path: Path = ROOT / "params.yaml") -> Params:
    """Read and check everything; the first fault is a `Problem` that names the key and the nearest valid spelling."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Problem(f"{path.name}: cannot be read as YAML ({' '.join(str(error).split())}).") from None
    params = build(Params, raw, "")
    for tier in (*params.tiers, *params.tier):
        if tier not in TIERS:
            raise Problem(f'tiers: there is no tier "{tier}"{nearest(tier, TIERS)}')
    for tier in params.tiers:
        if tier not in params.tier:
            raise Problem(f'tiers: "{tier}" has no block under "tier"{nearest(tier, params.tier)}')
    for name, block in params.tier.items():
        _check_tier(name, block)
        _check_trainings(name, block.dcsm_train)
        _check_raw_maps(name, block)
        _check_csoa_runs(name, block, params.csoa_trials)
    constants_of(params.csoa, params.csoa_trials)   # a misspelt constant is named
    for key, pairs, names in (("rcam_constants.weights", params.rcam_constants.weights, "bilateral and spatial"),
                              ("dcsm_constants.weights", params.dcsm_constants.weights, "bilateral and spatial"),
                              ("dcsm_constants.kernels", params.dcsm_constants.kernels, "theta_alpha and theta_beta")):
        if bad := [pair for pair in pairs if len(pair) != 2]:
            raise Problem(f"{key}: {list(bad[0])} must be a pair, {names}.")
    _check_dcsm(params)
    return params


def _check_dcsm(params: Params) -> None:
    """What the method and its tables start from must be among the raw maps."""
    maps, method = params.dcsm_maps, params.dcsm
    _within("dcsm.scales", method.scales, "dcsm_maps.scales", maps.scales)
    _within("dcsm.blocks", method.blocks, "dcsm_maps.blocks", maps.blocks)
    _within("dcsm_scales.combinations", [scale for combination in params.dcsm_scales.combinations for scale in combination],
            "dcsm_maps.scales and other_scales", (*maps.scales, *maps.other_scales))
    for combination in params.dcsm_layers.combinations:
        if not re.fullmatch("block[1-5]+", combination):
            raise Problem(f'dcsm_layers.combinations: "{combination}" must be block and digits from 1 to 5, as in block345.')
        _within(f"dcsm_layers.combinations, {combination}", [f"block{digit}" for digit in combination.removeprefix("block")],
                "dcsm_maps.blocks and other_blocks", (*maps.blocks, *maps.other_blocks))
    for key, number, limit in (("dcsm.candidates", method.candidates, "candidates"), ("dcsm_maps.candidates", maps.candidates, "wide"),
                               ("dcsm_top_n.numbers", max(params.dcsm_top_n.numbers), "wide")):
        if number > getattr(maps, limit):
            raise Problem(f"{key}: {number} is more than dcsm_maps.{limit}, {getattr(maps, limit)}; lower it or raise that.")


def _within(key: str, values: Iterable[int | str], where: str, known: Iterable[int | str]) -> None:
    if missing := [value for value in values if value not in known]:
        raise Problem(f"{key}: {missing[0]} is not in {where} ({', '.join(map(str, known))}), so it has no raw maps; choose one or add it there.")


def _check_tier(name: str, block: Tier) -> None:
    from lib.data.official import OFFICIAL
    from lib.nets import NETWORKS

    known = TIER_DATA.get(name, tuple(OFFICIAL))
    for dataset, options in block.data.items():
        if dataset not in known:
            raise Problem(f'tier.{name}.data: there is no data set "{dataset}"{nearest(dataset, known)}')
        _check_options(f"tier.{name}.data.{dataset}", dataset, options)
    for notebook in (stage for stage in Tier.__dataclass_fields__ if stage != "data"):
        run = getattr(block, notebook)
        own = [getattr(run, key) for key in ("dataset", "saliency_dataset") if hasattr(run, key)] or run.datasets
        for dataset in (*own, *(getattr(run, "others", None) or ())):
            if dataset not in block.data:
                raise Problem(f'tier.{name}.{notebook}: there is no data set "{dataset}" in this tier{nearest(dataset, block.data)}')
        if not (networks := run.networks if hasattr(run, "networks") else [run.network]):
            raise Problem(f"tier.{name}.{notebook}.networks: must name at least one network (known: {', '.join(NETWORKS)}).")
        for network in networks:
            if network not in NETWORKS:
                raise Problem(f'tier.{name}.{notebook}: there is no network "{network}"{nearest(network, NETWORKS)}')


def _check_trainings(name: str, block: Training) -> None:
    for network, settings in block.networks.items():
        where = f"tier.{name}.dcsm_train.networks.{network}"
        if len(settings.ratios) != 2 or settings.ratios[0] > settings.ratios[1]:
            raise Problem(f"{where}.ratios: {list(settings.ratios)} must be a pair, the lowest and the highest ratio.")
        if settings.views and settings.frozen is None:
            raise Problem(f'{where}.views: only what a frozen part has seen can be cached; name its last module as "frozen", or set views to 0.')


def _check_raw_maps(name: str, block: Tier) -> None:
    """Raw maps come from trained networks, notebooks start from raw maps: of the same data set, for networks that have them."""
    for stage, source, what in (("dcsm_maps", "dcsm_train", "trained"), *((notebook, "dcsm_maps", "given raw maps") for notebook in FROM_MAPS)):
        run, before = getattr(block, stage), getattr(block, source)
        if run.dataset != before.dataset:
            raise Problem(f'tier.{name}.{stage}.dataset: must be "{before.dataset}", the data set of tier.{name}.{source}, not "{run.dataset}".')
        for network in run.networks:
            if network not in before.networks:
                raise Problem(f'tier.{name}.{stage}: "{network}" is not {what} in this tier; add it to tier.{name}.{source}.networks.')
            if stage in FROM_ABLATIONS and before.networks[network].ablations == 0:
                raise Problem(f"tier.{name}.{stage}: {network} has no images for it; raise tier.{name}.dcsm_maps.networks.{network}.ablations.")


def _check_csoa_runs(name: str, block: Tier, trials: Mapping[str, Any]) -> None:
    """Notebooks of CSoA start from what csoa_train trains; its trials have constants."""
    runs = block.csoa_train.runs
    for dataset, networks in runs.items():
        for network, run in networks.items():
            where = f"tier.{name}.csoa_train.runs.{dataset}.{network}"
            if not run.seeds:
                raise Problem(f"{where}.seeds: must name at least one seed.")
            if missing := [trial for trial in run.trials or () if trial not in trials]:
                raise Problem(f'{where}.trials: there is no "{missing[0]}" under csoa_trials{nearest(missing[0], trials)}')
    for notebook in FROM_CSOA:
        tables = getattr(block, notebook)
        for dataset in (tables.dataset, *(getattr(tables, "others", None) or ())):
            for network in tables.networks if dataset == tables.dataset else ():
                if network not in runs.get(dataset, {}):
                    raise Problem(f'tier.{name}.{notebook}: "{network}" is not trained on {dataset} in this tier; add it to tier.{name}.csoa_train.runs.')
            if dataset not in runs:
                raise Problem(f'tier.{name}.{notebook}: nothing is trained on {dataset} in this tier; add it to tier.{name}.csoa_train.runs.')


def _check_options(where: str, dataset: str, options: dict[str, Any]) -> None:
    rules = {"train": int, "val": int, "test": int} if dataset in COMPOSED else {"source": str, "sbd": str}
    for key, value in options.items():
        if key not in rules:
            raise Problem(f"{where}.{key}: there is no such option{nearest(key, rules)}")
        build(rules[key], value, f"{where}.{key}")
        if rules[key] is int and not 1 <= value <= 100_000:
            raise Problem(f"{where}.{key}: {value} is out of range, it must be between 1 and 100000.")
    if dataset in COMPOSED and (missing := [k for k in rules if k not in options]):
        raise Problem(f"{where}.{missing[0]}: the parameter is missing; every split needs its number of images.")
