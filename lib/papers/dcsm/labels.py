"""Every row's segmentation of one image."""
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.papers.dcsm.maps import ABLATIONS, GUIDED, SIMONYAN, load_raw, load_scores
from lib.papers.dcsm.method import (
    Candidates,
    RawMaps,
    enlarge,
    enlarged,
    label_map,
    saliency,
    with_background,
)
from lib.papers.dcsm.rows import Row, Rows
from lib.papers.dcsm.settings import DcsmSettings
from lib.refine.crf import crf_of
from lib.refine.settings import CrfSettings

if TYPE_CHECKING:
    from lib.papers.dcsm.tables import Split


@torch.no_grad()
def label_maps(sample: Sample, path: Path, rows: Rows, split: "Split") -> dict[str, np.ndarray]:
    """Every row's segmentation of one image `(H, W)`."""
    image = _Image(sample, path, split)
    return {name: image.segmented(row) for name, row in rows.items()}


class _Image:
    """One image for all rows: raw maps of a kind are enlarged once, and the CRF's lattice is made once."""

    def __init__(self, sample: Sample, path: Path, split: "Split") -> None:
        self.sample = sample
        self.path = path
        self.split = split
        self.photo = np.asarray(sample.photo())
        self.enlarged: dict[tuple[str, int], RawMaps] = {}
        self.solvers: dict[tuple[CrfSettings, int], Callable[[np.ndarray], np.ndarray]] = {}

    def segmented(self, row: Row) -> np.ndarray:
        """A row's label map `(H, W)`."""
        raw = self._raw(row)
        _check_candidates(raw, row, self.split)
        settings = at_its_scale(row.settings, raw) if row.kind == SIMONYAN else row.settings
        if row.targets is not None:
            raw = retargeted(raw, self._wanted(row.targets))
        height, width = self.photo.shape[:2]
        maps = enlarge(saliency(raw, settings, self.split.blocks), (width, height))
        probability = with_background(maps)
        if row.crf:
            probability = self._refined(probability, row.settings)
        return label_map(probability, raw.candidates.targets)

    def _raw(self, row: Row) -> RawMaps:
        key = (row.kind, row.settings.map_stride)
        if key not in self.enlarged:
            self.enlarged[key] = enlarged(_load(self.path, row.kind), row.settings.map_stride)
        return self.enlarged[key]

    def _wanted(self, targets: float | Literal["truth"]) -> list[int]:
        if targets == "truth":
            return [self.split.classes.index(name) for name in self.sample.labels]
        return np.flatnonzero(load_scores(self.path).max(0) > targets).tolist()

    def _refined(self, probability: np.ndarray, settings: DcsmSettings) -> np.ndarray:
        field = (settings.crf, len(probability))
        if field not in self.solvers:
            self.solvers[field] = crf_of(self.photo, len(probability), settings.crf)
        return self.solvers[field](probability)


def at_its_scale(settings: DcsmSettings, raw: RawMaps) -> DcsmSettings:
    """Settings for Simonyan's raw maps, which have one scale, whatever those of the method are."""
    scale, _ = next(iter(raw.maps))
    return replace(settings, scales=(scale,))


def retargeted(raw: RawMaps, wanted: Collection[int]) -> RawMaps:
    """Raw maps with other targets: the candidates among `wanted` in their order, else the best one."""
    order = raw.candidates.order
    targets = [c for c in order if c in wanted] or order[:1]
    new_order = targets + [c for c in order if c not in targets]
    places = [order.index(c) for c in new_order]
    maps = {key: each[places] for key, each in raw.maps.items()}
    return replace(raw, maps=maps, candidates=Candidates(new_order, len(targets)))


def _check_candidates(raw: RawMaps, row: Row, split: "Split") -> None:
    """Else a large N would silently give the numbers of a smaller one."""
    there = len(raw.candidates.order)
    if row.kind != SIMONYAN and there < min(row.settings.candidates, len(split.classes)):
        raise Problem(f"candidates: N = {row.settings.candidates} is more than the {there} that raw maps "
                      "were computed for; raise dcsm_maps.candidates (or wide) in params.yaml.")


def _load(path: Path, kind: str) -> RawMaps:
    """Maps of a kind; the guided ones of an ablation's image lie partly with those of the main tables."""
    main = path.parent.with_name(path.parent.name.removesuffix(ABLATIONS)) / path.name
    if kind == SIMONYAN:
        return load_raw(main, kind)
    if kind != GUIDED or main == path:
        return load_raw(path, kind)
    first = load_raw(main, kind)
    return replace(first, maps={**first.maps, **load_raw(path, kind).maps})
