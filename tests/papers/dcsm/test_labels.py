"""Rows are the method on each image, whichever of them are computed together."""
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dcsm_toys import BLOCKS, CLASSES, MAPS, OURS, SETTINGS, SIDE, toy_fcn
from sentences import is_one_sentence

from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.metrics.miou import Confusions
from lib.papers.dcsm.labels import label_maps, retargeted
from lib.papers.dcsm.maps import load_raw
from lib.papers.dcsm.method import Candidates, RawMaps, Segmentation, dcsm, segment
from lib.papers.dcsm.rows import (
    Row,
    backprop_rows,
    layer_rows,
    main_rows,
    scale_rows,
    simonyan,
    top_n_rows,
)
from lib.papers.dcsm.settings import DcsmSettings
from lib.papers.dcsm.tables import Split, score_rows

ALL = {**BLOCKS, "image": ("image",)}


def counted(sample: Sample, labels: np.ndarray) -> np.ndarray:
    """Pixels by true and predicted class, one at a time."""
    true, predicted = sample.mask("class_masks").ravel().tolist(), labels.ravel().tolist()
    pairs = Counter((t, p) for t, p in zip(true, predicted, strict=True) if t != 255)
    counts = np.zeros((5, 5), dtype=int)
    for pair, number in pairs.items():
        counts[pair] = number
    return counts


def by_hand(sample: Sample, raw: RawMaps, settings: DcsmSettings) -> Segmentation:
    return segment(sample.photo(), raw, settings, ALL)


def main_file(path: Path) -> Path:
    """Where the main maps of an ablation's image lie."""
    return path.parent.with_name("test") / path.name


def different(scored: dict[str, Confusions]) -> int:
    """How many rows differ from one another."""
    return len({confusions.counts.tobytes() for confusions in scored.values()})


def test_rows_are_the_method_on_each_image(split: Split) -> None:
    """All in one call, so that what they share (maps, the CRF's lattice) cannot leak between them."""
    other_crf = replace(SETTINGS.crf, theta_beta=60, iterations=6)
    other = replace(SETTINGS, crf=other_crf, map_stride=1, alpha=1.0)
    demo = replace(SETTINGS, reading="demo", blocks=("block3",))
    rows = {"crf": Row(SETTINGS), "without": Row(SETTINGS, crf=False), "other": Row(other), "demo": Row(demo),
            "demo_without": Row(demo, crf=False), "again": Row(SETTINGS),
            "stride": Row(replace(SETTINGS, map_stride=4)),
            "one": Row(replace(SETTINGS, candidates=0, scales=(250,)))}
    scored = score_rows(split.items, rows, split, "test")
    assert list(scored) == list(rows)
    assert all(confusions.counts.shape == (3, 5, 5) for confusions in scored.values())
    for place, (sample, path) in enumerate(split.items):
        for name, row in rows.items():
            whole = by_hand(sample, load_raw(path), row.settings)
            labels = whole.labels if row.crf else whole.labels_no_crf
            assert np.array_equal(scored[name].counts[place], counted(sample, labels)), (name, sample.id)
    assert np.array_equal(scored["crf"].counts, scored["again"].counts)
    assert different(scored) == len(rows) - 1   # every other row is one of its own


def test_simonyan_rows_use_simonyans_maps(split: Split) -> None:
    rows = {f"{alpha:g}": simonyan(SETTINGS, alpha) for alpha in (1.0, 8.0)} | {"ours": Row(SETTINGS)}
    for items, place in ((split.items, 0), (split.ablations, -1)):   # an ablation's lie beside the main maps
        scored = score_rows(items, rows, split, "test")
        sample, path = items[place]
        raw = load_raw(main_file(path), "simonyan")
        assert list(raw.maps) == [(500, "image")]
        for alpha in (1.0, 8.0):
            settings = replace(SETTINGS, scales=(500,), blocks=("image",), candidates=0, alpha=alpha)
            labels = by_hand(sample, raw, settings).labels
            assert np.array_equal(scored[f"{alpha:g}"].counts[place], counted(sample, labels))
        assert different(scored) == 3


def test_ablations_find_their_guided_maps_in_two_places(split: Split) -> None:
    """Blocks 2 and 3 at 250 and 500 lie with the main tables, block 1 and scale 750 with the ablations."""
    rows = layer_rows(SETTINGS, ["block1", "block23", "block123"])
    rows |= scale_rows(SETTINGS, [(750,), (250, 500, 750)])
    scored = score_rows(split.ablations, rows, split, "test")
    for place, (sample, path) in enumerate(split.ablations):
        main, further = load_raw(main_file(path)), load_raw(path)
        raw = replace(main, maps={**main.maps, **further.maps})
        assert len(raw.maps) == len(main.maps) + len(further.maps) == 6 + 5
        for name, row in rows.items():
            labels = by_hand(sample, raw, row.settings).labels
            assert np.array_equal(scored[name].counts[place], counted(sample, labels)), name
    assert different(scored) == len(rows)


def test_top_n_and_plain_rows_use_their_own_maps(split: Split) -> None:
    settings = replace(SETTINGS, candidates=2)
    rows = top_n_rows(settings, [0, 3, 4, 15], len(CLASSES)) | backprop_rows(settings)
    scored = score_rows(split.ablations, rows, split, "test")
    sample, path = split.ablations[1]
    wide, plain = load_raw(path, "wide"), load_raw(path, "plain")
    guided = load_raw(main_file(path))
    assert "15" not in scored and len(wide.candidates.order) == 4
    for name, raw, number in (("0", wide, 0), ("3", wide, 3), ("4", wide, 4), ("bp", plain, 2),
                              ("guided_bp", guided, 2)):
        labels = by_hand(sample, raw, replace(settings, candidates=number)).labels
        assert np.array_equal(scored[name].counts[1], counted(sample, labels)), name
    assert different(scored) == len(rows)


@pytest.mark.parametrize("rows, text", [
    (layer_rows(SETTINGS, ["block12"]), 'no raw map of layer "image" at scale 250'),
    (scale_rows(SETTINGS, [(750,)]), "at scale 750")])
def test_layers_without_raw_maps_are_a_problem(rows: dict[str, Row], text: str, split: Split) -> None:
    with pytest.raises(Problem, match=text) as problem:
        score_rows(split.items, rows, split, "test")
    assert is_one_sentence(problem.value)


def test_more_candidates_than_raw_maps_are_a_problem(split: Split) -> None:
    """Else N = 4 silently gives the numbers of N = 3."""
    with pytest.raises(Problem, match="candidates"):
        score_rows(split.items, {"four": Row(replace(SETTINGS, candidates=4))}, split, "test")


def test_other_scales_of_the_method_leave_simonyans_map_alone(split: Split) -> None:
    small = score_rows(split.items, main_rows(replace(SETTINGS, scales=(250,))), split, "test")
    usual = score_rows(split.items, main_rows(SETTINGS), split, "test")
    assert np.array_equal(small["simonyan_crf"].counts, usual["simonyan_crf"].counts)


def test_other_targets_come_first_and_the_maps_with_them() -> None:
    maps = torch.arange(4.0)[:, None, None].expand(4, 2, 3)
    raw = RawMaps({(500, "a"): maps}, Candidates([7, 2, 5, 0], 1), (3, 2))
    other = retargeted(raw, [0, 2, 9])
    assert other.candidates == ([2, 0, 7, 5], 2)
    assert other.maps[500, "a"][:, 0, 0].tolist() == [1, 3, 0, 2]
    assert retargeted(raw, [9]).candidates == ([7, 2, 5, 0], 1)   # none of them: the best one
    assert raw.candidates == ([7, 2, 5, 0], 1)


def test_rows_with_other_targets(split: Split) -> None:
    """At the threshold that the raw maps were computed with, nothing changes.

    Above every score the best class is left alone; true labels are taken as they are.
    """
    plain = Row(SETTINGS, crf=False)
    rows = {"kept": plain, "same": replace(plain, targets=MAPS.threshold),
            "best": replace(plain, targets=1.0), "all": replace(plain, targets=0.0),
            "truth": replace(plain, targets="truth")}
    for sample, path in split.items:
        order = load_raw(path).candidates.order
        labels = label_maps(sample, path, rows, split)
        assert np.array_equal(labels["kept"], labels["same"])
        assert set(np.unique(labels["best"])) <= {0, order[0] + 1}
        assert set(np.unique(labels["all"])) <= {0, *(c + 1 for c in order)}
        true = [c for c in order if split.classes[c] in sample.labels] or order[:1]
        raw = retargeted(load_raw(path), true)
        assert np.array_equal(labels["truth"], by_hand(sample, raw, SETTINGS).labels_no_crf)


def test_images_of_ones_own_give_what_dcsm_gives(own_split: Split) -> None:
    """But for raw maps that are stored as float16."""
    sample, path = own_split.items[0]
    whole = dcsm(toy_fcn(7), sample.photo(), OURS, SIDE)
    rows = {"with": Row(OURS), "without": Row(OURS, crf=False)}
    labels = label_maps(sample, path, rows, own_split)
    assert (labels["with"] != whole.labels).mean() < 0.01
    assert (labels["without"] != whole.labels_no_crf).mean() < 0.01
