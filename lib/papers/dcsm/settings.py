"""DCSM's constants; free of torch, so that params.yaml can be checked quickly."""
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lib.base.problem import Problem
from lib.base.runs import TableRun, follows, of_tier
from lib.base.strict import bounded
from lib.refine.settings import CrfSettings
from lib.training.settings import Training

# The paper's longest side; scales are named relative to it, a tier says how many pixels its base has.
BASE = 500
Block = Literal["block1", "block2", "block3", "block4", "block5"]


@dataclass(frozen=True)
class DcsmSettings:
    """One way of running the method; see params.yaml for what each constant means."""
    scales: tuple[int, ...] = bounded(64, 4096)
    blocks: tuple[Block, ...] = bounded()
    candidates: int = bounded(0, 1000)
    reading: Literal["paper", "demo"] = bounded()
    normaliser: Literal["own", "joint", "after"] = bounded()
    alpha: float = bounded(1e-6, 1000)
    alpha_simonyan: float = bounded(1e-6, 1000)
    map_stride: int = bounded(1, 8)
    crf: CrfSettings = bounded()
    crf_paper: CrfSettings = bounded()


@dataclass(frozen=True)
class MapsSettings:
    """Which raw maps are computed: the main maps for every image, the others for the ablations alone.

    Those are the other scales and blocks, plain backpropagation, and `wide` candidates.
    """
    scales: tuple[int, ...] = bounded(64, 4096)
    other_scales: tuple[int, ...] = bounded(64, 4096)
    blocks: tuple[Block, ...] = bounded()
    other_blocks: tuple[Block, ...] = bounded()
    candidates: int = bounded(1, 1000)
    wide: int = bounded(1, 1000)
    threshold: float = bounded(0, 1)


@dataclass(frozen=True)
class MapsImages:
    """Images of each split, spread evenly over it (null: all); ablations are a part of test, none where 0."""
    val: int | None = bounded(1, None)
    test: int | None = bounded(1, None)
    ablations: int | None = bounded(0, None)


@dataclass(frozen=True)
class MapsRun:
    """A tier's share: data set, the longest side in pixels that the paper's 500 stands for, networks."""
    side: int = bounded(64, 4096)
    networks: dict[str, MapsImages] = bounded()
    dataset: str = of_tier("dataset")


@dataclass(frozen=True)
class DcsmConstants:
    """Constants that are tried on validation images.

    kernels   pairs of theta_alpha and theta_beta
    weights   pairs of bilateral and spatial
    """
    alphas: list[float] = bounded(1e-6, 1000)
    readings: list[Literal["paper", "demo"]] = bounded()
    normalisers: list[Literal["own", "joint", "after"]] = bounded()
    alphas_simonyan: list[float] = bounded(1e-6, 1000)
    kernels: list[tuple[float, ...]] = bounded(0.1, 1000)
    weights: list[tuple[float, ...]] = bounded(0, 100)
    thresholds: list[float] = bounded(0, 1)


@dataclass(frozen=True)
class DcsmAlpha:
    """Table 1's sweep of alpha."""
    alphas: list[float] = bounded(1e-6, 1000)


@dataclass(frozen=True)
class DcsmLayers:
    """Table 2: combinations such as block345."""
    combinations: list[str]


@dataclass(frozen=True)
class DcsmScales:
    """Table 3: input sizes, by themselves and together."""
    combinations: list[tuple[int, ...]] = bounded(64, 4096)


@dataclass(frozen=True)
class DcsmTopN:
    """Table 4: least numbers of candidates."""
    numbers: list[int] = bounded(0, 1000)


@dataclass(frozen=True)
class DcsmRun(TableRun):
    """Data sets and networks of notebook dcsm.

    saliency_dataset   of DCSM's row in rCAM's table 2, on the images on which notebook rcam runs its boxes
    """
    saliency_dataset: str = of_tier("dataset")


@dataclass(frozen=True)
class Params:
    """DCSM's constants in params.yaml."""
    dcsm_maps: MapsSettings
    dcsm: DcsmSettings
    dcsm_constants: DcsmConstants
    dcsm_alpha: DcsmAlpha
    dcsm_layers: DcsmLayers
    dcsm_scales: DcsmScales
    dcsm_top_n: DcsmTopN


@dataclass(frozen=True)
class Tier:
    """DCSM's share of a tier. The notebooks that are no field run on what has raw maps."""
    dcsm_train: Training
    dcsm_maps: MapsRun
    dcsm: DcsmRun

    @property
    def dcsm_constants(self) -> TableRun:
        return TableRun(self.dcsm_maps.dataset, list(self.dcsm_maps.networks))

    @property
    def _ablations(self) -> TableRun:
        """The run of every ablation's notebook: the networks whose raw maps have images for it."""
        with_maps = [name for name, images in self.dcsm_maps.networks.items() if images.ablations != 0]
        return TableRun(self.dcsm_maps.dataset, with_maps)

    dcsm_alpha = dcsm_layers = dcsm_scales = dcsm_top_n = dcsm_backprop = _ablations


STAGES = ("dcsm_train", "dcsm_maps")
NOTEBOOKS: tuple[str, ...] = (
    "dcsm", "dcsm_constants",
    "dcsm_alpha", "dcsm_layers", "dcsm_scales", "dcsm_top_n", "dcsm_backprop",   # ablations
)
# What both DCSM's networks and IAM's classifiers take where a tier says nothing else.
USUAL = {"training": ("dcsm_train.networks.*", "iam_train.networks.*.classifier")}


def check(params: Params) -> None:
    """Refuse tables that start from raw maps which are not computed, and pairs that are none."""
    constants = params.dcsm_constants
    _check_pairs("dcsm_constants.weights", constants.weights, "bilateral and spatial")
    _check_pairs("dcsm_constants.kernels", constants.kernels, "theta_alpha and theta_beta")
    _check_scales(params)
    _check_blocks(params)
    _check_candidates(params)


def check_tier(name: str, tier: Tier, params: Params) -> None:
    """Raw maps come from trained networks, notebooks start from raw maps of the same data set."""
    tier.dcsm_train.check(f"tier.{name}.dcsm_train")
    follows(name, "dcsm_maps", tier.dcsm_maps, "dcsm_train", tier.dcsm_train, "trained")
    follows(name, "dcsm", tier.dcsm, "dcsm_maps", tier.dcsm_maps, "given raw maps")
    if not tier.dcsm_alpha.networks:
        raise Problem(f"tier.{name}.dcsm_maps.networks: no network has images for the ablations; "
                      "raise ablations of one.")


def _check_pairs(key: str, pairs: Iterable[tuple[float, ...]], names: str) -> None:
    for pair in pairs:
        if len(pair) != 2:
            raise Problem(f"{key}: {list(pair)} must be a pair, {names}.")


def _check_scales(params: Params) -> None:
    maps = params.dcsm_maps
    _within("dcsm.scales", params.dcsm.scales, "dcsm_maps.scales", maps.scales)
    known = (*maps.scales, *maps.other_scales)
    for combination in params.dcsm_scales.combinations:
        _within("dcsm_scales.combinations", combination, "dcsm_maps.scales and other_scales", known)


def _check_blocks(params: Params) -> None:
    maps = params.dcsm_maps
    _within("dcsm.blocks", params.dcsm.blocks, "dcsm_maps.blocks", maps.blocks)
    known = (*maps.blocks, *maps.other_blocks)
    for combination in params.dcsm_layers.combinations:
        if not re.fullmatch("block[1-5]+", combination):
            raise Problem(f'dcsm_layers.combinations: "{combination}" must be block and digits from 1 to 5, '
                          "as in block345.")
        blocks = [f"block{digit}" for digit in combination.removeprefix("block")]
        key = f"dcsm_layers.combinations, {combination}"
        _within(key, blocks, "dcsm_maps.blocks and other_blocks", known)


def _check_candidates(params: Params) -> None:
    maps = params.dcsm_maps
    _at_most("dcsm.candidates", params.dcsm.candidates, "candidates", maps.candidates)
    _at_most("dcsm_maps.candidates", maps.candidates, "wide", maps.wide)
    _at_most("dcsm_top_n.numbers", max(params.dcsm_top_n.numbers), "wide", maps.wide)


def _at_most(key: str, number: int, limit: str, most: int) -> None:
    if number > most:
        raise Problem(f"{key}: {number} is more than dcsm_maps.{limit}, {most}; lower it or raise that.")


def _within(key: str, values: Iterable[int | str], where: str, known: Iterable[int | str]) -> None:
    for value in values:
        if value not in known:
            raise Problem(f"{key}: {value} is not in {where} ({', '.join(map(str, known))}), "
                          "so it has no raw maps; choose one or add it there.")
