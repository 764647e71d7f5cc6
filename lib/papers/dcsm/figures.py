"""Figures 3 to 7 of the DCSM paper, and its tables as bars and curves."""
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lib.maps.cam import each_maximum_is_one
from lib.papers.dcsm.labels import at_its_scale, label_maps
from lib.papers.dcsm.maps import SIMONYAN, load_raw
from lib.papers.dcsm.method import enlarged, middle, saliency
from lib.papers.dcsm.rows import alpha_row, main_rows, simonyan
from lib.papers.dcsm.settings import DcsmSettings
from lib.papers.dcsm.tables import PAPER, Items, Split
from lib.report.curves import curve
from lib.report.figures import SIDE, Picture, bars, heat, palette, photograph, picture_grid

Results = Mapping[str, Mapping[str, dict]]   # of one table: network -> row -> {metric: interval}
PERCENT = {"miou": "mIoU (%)", "iou": "IoU (%)"}
PLACES = ["1st", "2nd", "3rd"]


# Maps

def layer_grid(items: Items, split: Split, settings: DcsmSettings) -> Figure:
    """Figure 3: raw maps of the best class at one layer of every block, and the mean over blocks."""
    scale = middle(settings.scales)
    names = {}
    for block in settings.blocks:
        of_block = split.blocks[block]
        names[block] = of_block[len(of_block) // 2]
    pictures = []
    for sample, path in items:
        raw = enlarged(load_raw(path), settings.map_stride)
        best = [each_maximum_is_one(raw.maps[scale, layer][0]) for layer in names.values()]
        maps = [(settings.alpha * each).tanh() for each in best]
        pictures.append([photograph(sample.photo()), *map(heat, maps), heat(sum(maps) / len(maps))])
    headings = [f"{block}: {layer}" for block, layer in names.items()]
    return picture_grid(pictures, ["image", *headings, "mean"], size=1.7)


def subtraction_grid(items: Items, split: Split, settings: DcsmSettings, classes: int = 2) -> Figure:
    """Figures 4 and 6: maps of an image's best classes, raw and with the other candidates subtracted."""
    pictures, names = [], []
    for sample, path in items:
        raw = enlarged(load_raw(path), settings.map_stride)
        before = saliency(raw, replace(settings, candidates=0), split.blocks)
        after = saliency(raw, settings, split.blocks)
        maps = []
        for target in range(classes):
            maps += [heat(before[target]), heat(after[target])]
        pictures.append([photograph(sample.photo()), *maps, _coloured(sample.mask("class_masks"))])
        names.append(" | ".join(split.classes[c] for c in raw.candidates.order[:classes]))
    headings = [f"{place}: {how}" for place in PLACES[:classes] for how in ("raw", "subtracted")]
    return picture_grid(pictures, ["image", *headings, "truth"], names, size=1.5)


def method_grid(items: Items, split: Split, settings: DcsmSettings) -> Figure:
    """Figures 5 and 7: Simonyan's map and DCSM's of the best class, the segmentations and the truth."""
    rows = main_rows(settings)
    shown = ["simonyan_crf", "dcsm_no_crf", "dcsm_crf"]
    theirs = simonyan(settings, settings.alpha_simonyan).settings
    pictures, names = [], []
    for sample, path in items:
        raw = load_raw(path)
        guided = saliency(enlarged(raw, settings.map_stride), settings, split.blocks)
        plain = enlarged(load_raw(path, SIMONYAN), settings.map_stride)
        simonyans = saliency(plain, at_its_scale(theirs, plain), split.blocks)
        labels = label_maps(sample, path, rows, split)
        segmented = [_coloured(labels[row]) for row in shown]
        pictures.append([photograph(sample.photo()), heat(simonyans[0]), heat(guided[0]), *segmented,
                         _coloured(sample.mask("class_masks"))])
        names.append(split.classes[raw.candidates.order[0]])
    headings = ["image", "Simonyan: map", "DCSM: map", "Simonyan + CRF", "DCSM", "DCSM + CRF", "truth"]
    return picture_grid(pictures, headings, names, size=1.45)


def several(items: Items, classes: int) -> Items:
    """The images on which at least so many classes were kept."""
    return [(sample, path) for sample, path in items if load_raw(path).candidates.kept >= classes]


def _coloured(labels: np.ndarray) -> Picture:
    small = Image.fromarray(labels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return palette()[np.asarray(small)]


# Tables

def bars_beside_paper(results: Results, table: str, dataset: str, metric: str = "miou") -> Figure:
    """A table as bars with intervals; diamonds are what the paper prints for the data set."""
    groups = {}
    for network, rows in results.items():
        groups[network] = {row: scores[metric] for row, scores in rows.items()}
    first = next(iter(groups.values()))
    theirs = {row: PAPER.value(table, dataset, row, metric) for row in first}
    return bars(groups, PERCENT[metric], theirs)


def alpha_curve(results: Results, alphas: Sequence[float]) -> Figure:
    """Table 1's sweep; diamonds are the paper's best, at alpha 3 for DCSM and 8 or 9 for Simonyan's maps."""
    series, theirs = {}, {}
    for network, rows in results.items():
        for method, key in (("DCSM", "dcsm"), ("Simonyan", "simonyan")):
            series[f"{method}, {network}"] = {alpha: rows[alpha_row(key, alpha)]["miou"] for alpha in alphas}
    for method, key, optima in (("DCSM", "dcsm", [3]), ("Simonyan", "simonyan", [8, 9])):
        theirs[method] = {alpha: _printed("table1_alpha", alpha_row(key, alpha)) for alpha in optima}
    return curve(series, "α", PERCENT["miou"], theirs)


def top_n_curve(results: Results, numbers: Sequence[int]) -> Figure:
    """Table 4: mIoU over the least number of candidates N; diamonds are the paper's."""
    series = {}
    for network, rows in results.items():
        series[network] = {int(n): scores["miou"] for n, scores in rows.items()}
    theirs = {"paper": {n: _printed("table4_top_n", str(n)) for n in numbers}}
    return curve(series, "N", PERCENT["miou"], theirs)


def _printed(table: str, row: str) -> float | None:
    return PAPER.value(table, "voc", row, "miou")
