"""The constants that DCSM leaves open, tried on validation images."""
from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from lib.papers.dcsm.rows import Row, simonyan
from lib.papers.dcsm.settings import DcsmConstants, DcsmSettings


def readings(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """Normaliser and alpha of the paper's reading, and the authors' code, which has neither."""
    rows: dict[str, Row] = {}
    if "paper" in grid.readings:
        for how, alpha in product(grid.normalisers, grid.alphas):
            changed = replace(settings, reading="paper", normaliser=how, alpha=alpha)
            rows[reading(how, alpha)] = Row(changed, crf=False)
    if "demo" in grid.readings:
        rows["demo"] = Row(replace(settings, reading="demo"), crf=False)
    return rows


def reading(normaliser: str, alpha: float) -> str:
    """The name of a row of the paper's reading."""
    return f"{normaliser} {alpha:g}"


def fields(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """The method without a CRF, and with every combination of the CRF's kernel widths and weights."""
    rows = {"none": Row(settings, crf=False)}
    for (alpha, beta), (bilateral, spatial) in product(grid.kernels, grid.weights):
        crf = replace(settings.crf, theta_alpha=alpha, theta_beta=beta, bilateral=bilateral, spatial=spatial)
        name = f"kernel {alpha:g} and {beta:g}, weights {bilateral:g} and {spatial:g}"
        rows[name] = Row(replace(settings, crf=crf))
    return rows


def baselines(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """Simonyan's maps with the CRF."""
    return {f"simonyan_{alpha:g}": simonyan(settings, alpha) for alpha in grid.alphas_simonyan}


def thresholds(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """The score above which a class is in the image, among those with raw maps."""
    return {f"{threshold:g}": Row(settings, targets=threshold) for threshold in grid.thresholds}


def best(networks: Mapping[str, Mapping[str, dict]]) -> str:
    """The row with the highest mIoU, averaged over networks."""
    def average(row: str) -> float:
        return float(np.mean([rows[row]["miou"]["mean"] for rows in networks.values()]))

    first = next(iter(networks.values()))
    return max(first, key=average)


def series(networks: Mapping[str, Mapping[str, dict]], grid: DcsmConstants) -> dict[str, dict[float, dict]]:
    """The paper's reading as curves over alpha, one for each normaliser and network."""
    curves = {}
    for network, rows in networks.items():
        for how in grid.normalisers:
            curves[f"{how}, {network}"] = {alpha: rows[reading(how, alpha)]["miou"] for alpha in grid.alphas}
    return curves
