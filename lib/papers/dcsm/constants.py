"""What DCSM leaves open, tried on validation images."""
from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from lib.papers.dcsm.settings import DcsmConstants, DcsmSettings
from lib.papers.dcsm.tables import Row, simonyan


def readings(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """Normaliser and alpha of the paper's reading, and the authors' code, which has neither."""
    rows = {f"{how} {alpha:g}": Row(replace(settings, reading="paper", normaliser=how, alpha=alpha), crf=False)
            for how in grid.normalisers for alpha in grid.alphas}
    return (rows if "paper" in grid.readings else {}) | ({"demo": Row(replace(settings, reading="demo"), crf=False)} if "demo" in grid.readings else {})


def fields(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """None, and every combination of kernel widths and weights."""
    found = {"none": Row(settings, crf=False)}
    for (alpha, beta), (bilateral, spatial) in product(grid.kernels, grid.weights):
        crf = replace(settings.crf, theta_alpha=alpha, theta_beta=beta, bilateral=bilateral, spatial=spatial)
        found[f"kernel {alpha:g} and {beta:g}, weights {bilateral:g} and {spatial:g}"] = Row(replace(settings, crf=crf))
    return found


def baselines(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """Simonyan's maps with the CRF."""
    return {f"simonyan_{alpha:g}": simonyan(settings, alpha) for alpha in grid.alphas_simonyan}


def thresholds(settings: DcsmSettings, grid: DcsmConstants) -> dict[str, Row]:
    """The score above which a class is in the image, among those with raw maps."""
    return {f"{threshold:g}": Row(settings, targets=threshold) for threshold in grid.thresholds}


def best(networks: Mapping[str, Mapping[str, dict]]) -> str:
    """The row with the highest mIoU, averaged over networks."""
    rows = next(iter(networks.values()))
    return max(rows, key=lambda row: float(np.mean([found[row]["miou"]["mean"] for found in networks.values()])))


def series(networks: Mapping[str, Mapping[str, dict]], grid: DcsmConstants) -> dict[str, dict[float, dict]]:
    """The paper's reading as curves over alpha."""
    return {f"{how}, {network}": {alpha: rows[f"{how} {alpha:g}"]["miou"] for alpha in grid.alphas}
            for network, rows in networks.items() for how in grid.normalisers}
