"""Figures 3 to 7 of the DCSM paper, from raw maps that were computed before."""
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lib.papers.dcsm.maps import SIMONYAN, load_raw
from lib.papers.dcsm.method import enlarged, peaks, saliency
from lib.papers.dcsm.settings import DcsmSettings
from lib.papers.dcsm.tables import Items, Split, at_its_scale, label_maps, main_rows, simonyan
from lib.report.figures import SIDE, Picture, heat, palette, photograph, picture_grid


def layer_grid(items: Items, split: Split, settings: DcsmSettings) -> Figure:
    """Figure 3: raw maps of the best class at one layer of every block, and the mean over blocks."""
    middle = sorted(settings.scales)[len(settings.scales) // 2]
    names = {block: split.blocks[block][len(split.blocks[block]) // 2] for block in settings.blocks}
    rows = []
    for sample, path in items:
        raw = enlarged(load_raw(path), settings.map_stride)
        one = [(settings.alpha * peaks(raw.maps[middle, layer][0])).tanh() for layer in names.values()]
        rows.append([photograph(sample.photo()), *(heat(m) for m in one), heat(sum(one) / len(one))])
    return picture_grid(rows, ["image", *(f"{block}: {layer}" for block, layer in names.items()), "mean"], size=1.7)


def subtraction_grid(items: Items, split: Split, settings: DcsmSettings, classes: int = 2) -> Figure:
    """Figures 4 and 6: the maps of the best classes of an image, raw and after the subtraction of the others."""
    rows, labels = [], []
    for sample, path in items:
        raw = enlarged(load_raw(path), settings.map_stride)
        without = saliency(raw, replace(settings, candidates=0), split.blocks)
        with_ = saliency(raw, settings, split.blocks)
        pairs = [picture for t in range(classes) for picture in (heat(without[t]), heat(with_[t]))]
        rows.append([photograph(sample.photo()), *pairs, _colours(sample.mask("class_masks"))])
        labels.append(" | ".join(split.classes[c] for c in raw.candidates.order[:classes]))
    headings = [f"{place}: {how}" for place in ("1st", "2nd", "3rd")[:classes] for how in ("raw", "subtracted")]
    return picture_grid(rows, ["image", *headings, "truth"], labels, size=1.5)


def method_grid(items: Items, split: Split, settings: DcsmSettings) -> Figure:
    """Figures 5 and 7: Simonyan's map, DCSM's (of the best class), the segmentations and the truth."""
    rows, labels = [], []
    for sample, path in items:
        guided = saliency(enlarged(load_raw(path), settings.map_stride), settings, split.blocks)
        raw = enlarged(load_raw(path, SIMONYAN), settings.map_stride)
        theirs = saliency(raw, at_its_scale(simonyan(settings, settings.alpha_simonyan).settings, raw), split.blocks)
        found = label_maps(sample, path, main_rows(settings), split)
        rows.append([photograph(sample.photo()), heat(theirs[0]), heat(guided[0]),
                     *(_colours(found[row]) for row in ("simonyan_crf", "dcsm_no_crf", "dcsm_crf")), _colours(sample.mask("class_masks"))])
        labels.append(split.classes[load_raw(path).candidates.order[0]])
    return picture_grid(rows, ["image", "Simonyan: map", "DCSM: map", "Simonyan + CRF", "DCSM", "DCSM + CRF", "truth"], labels, size=1.45)


def several(items: Items, classes: int) -> Items:
    """The images on which at least so many classes were kept."""
    return [(sample, path) for sample, path in items if load_raw(path).candidates.kept >= classes]


def _colours(labels: np.ndarray) -> Picture:
    return palette()[np.asarray(Image.fromarray(labels).resize((SIDE, SIDE), Image.Resampling.NEAREST))]
