"""`params.yaml` as typed dataclasses, checked completely before anything starts."""
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lib.base.paths import ROOT
from lib.base.problem import Problem, nearest
from lib.base.runs import ConstantsRun, SingleRun, TableRun
from lib.base.strict import bounded, build
from lib.papers.csoa.settings import CsoaRuns, CsoaSettings, CsoaTables, CsoaThresholds, constants_of
from lib.papers.dcsm.settings import (
    DcsmAlpha,
    DcsmConstants,
    DcsmLayers,
    DcsmRun,
    DcsmScales,
    DcsmSettings,
    DcsmTopN,
    MapsRun,
    MapsSettings,
)
from lib.papers.fcn_gbp.settings import FcnGbpGrid, PosterRun
from lib.papers.iam.settings import (
    TABLE_K,
    FillingSettings,
    IamConstants,
    IamMain,
    IamSpeed,
    IamTables,
    IamTrainRun,
    IamTransfer,
    MaskSettings,
    ProposalRun,
    crfs_of,
)
from lib.papers.rcam.settings import RcamConstants, RcamRun, RcamScales, RcamSettings
from lib.training.settings import Training


@dataclass(frozen=True)
class Bootstrap:
    samples: int = bounded(100, 100_000)
    level: float = bounded(0.5, 0.999)








































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


TIERS = ("smoke", "collage", "mirror", "paper")
COMPOSED = ("collage", "collage_single")   # data sets that are made, not converted
TIER_DATA = {"smoke": COMPOSED, "collage": COMPOSED,
             "mirror": ("voc", "pascal_s", "pets", "tiny_imagenet", "imagenet_sample")}   # paper: any official data set
STAGES = ("data", "dcsm_train", "dcsm_maps", "csoa_train", "proposals", "iam_train")   # blocks of a tier that are no notebook's
NOTEBOOKS = tuple(name for name in Tier.__dataclass_fields__ if name not in STAGES)
FROM_ABLATIONS = ("dcsm_alpha", "dcsm_layers", "dcsm_scales", "dcsm_top_n", "dcsm_backprop")   # need more maps of fewer images
FROM_CSOA = ("csoa", "csoa_positions", "csoa_thresholds")   # notebooks that start from trained networks of CSoA
FROM_IAM = ("iam", "iam_sampling", "iam_speed", "iam_transfer", "comparison")   # notebooks that start from IAM's classifier and filling modules
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
        _check_iam_runs(name, block, params.iam_filling)
    constants_of(params.csoa, params.csoa_trials)   # a misspelt constant is named
    crfs_of(params.iam, params.iam_constants)
    if 0.3 not in params.csoa_thresholds.tried:
        raise Problem("csoa_thresholds.tried: lacks 0.3, the paper's own threshold, which tables and claims compare with; add it.")
    for key, pairs, names in (("rcam_constants.weights", params.rcam_constants.weights, "bilateral and spatial"),
                              ("dcsm_constants.weights", params.dcsm_constants.weights, "bilateral and spatial"),
                              ("dcsm_constants.kernels", params.dcsm_constants.kernels, "theta_alpha and theta_beta")):
        if bad := [pair for pair in pairs if len(pair) != 2]:
            raise Problem(f"{key}: {list(bad[0])} must be a pair, {names}.")
    _check_dcsm(params)
    return params


def tier_of(params: Params, name: str) -> Tier:
    """The tier that `--tier` names."""
    if name not in params.tier:
        raise Problem(f'--tier: there is no tier "{name}"{nearest(name, params.tier)}')
    return params.tier[name]


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
        if notebook == "proposals":   # from pixels alone
            continue
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


def _check_iam_runs(name: str, block: Tier, settings: FillingSettings) -> None:
    """Filling modules learn from proposals; notebooks of IAM start from what iam_train trains, and from proposals."""
    run, found = block.iam_train, block.proposals.images
    if missing := [split for split in ("train", "val", "test") if split not in found.get(run.dataset, {})]:
        raise Problem(f"tier.{name}.proposals.images.{run.dataset}.{missing[0]}: IAM needs proposals of this split; give a number of images, or null for all.")
    for network, options in run.networks.items():
        where = f"tier.{name}.iam_train.networks.{network}"
        if absent := [k for k in TABLE_K if k not in options.k]:
            raise Problem(f"{where}.k: lacks {absent[0]}, which the paper's table 1 has; add it.")
        if max(options.k) > settings.most:
            raise Problem(f"{where}.k: {max(options.k)} is more than iam_filling.most, {settings.most}, proposals that are ranked; raise that.")
        if options.filling.map_side > options.filling.side:
            raise Problem(f"{where}.filling.map_side: {options.filling.map_side} is more than side, {options.filling.side}; maps are made smaller, not larger.")
    for notebook in FROM_IAM:
        tables = getattr(block, notebook)
        if tables.dataset != run.dataset:
            raise Problem(f'tier.{name}.{notebook}.dataset: must be "{run.dataset}", the data set of tier.{name}.iam_train, not "{tables.dataset}".')
        for network in tables.networks:
            if network not in run.networks:
                raise Problem(f'tier.{name}.{notebook}: "{network}" is not trained in this tier; add it to tier.{name}.iam_train.networks.')


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
