"""DCSM's tables: which rows they have, and that each row is the method it names, scored on the images it names."""
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dcsm_toys import BLOCKS, CLASSES, MAPS, RUN, SETTINGS, is_one_sentence, toy_dataset, toy_fcn, toy_trunk

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.metrics.miou import Confusions
from lib.nets import fcn as fcn_file
from lib.nets.fcn import save_fcn
from lib.papers.dcsm.maps import compute, load_raw
from lib.papers.dcsm.method import Candidates, RawMaps, Segmentation, segment
from lib.papers.dcsm.settings import DcsmSettings
from lib.papers.dcsm.tables import (
    Row,
    Split,
    alpha_rows,
    backprop_rows,
    label_maps,
    layer_rows,
    main_rows,
    on_common_images,
    open_split,
    retargeted,
    scale_rows,
    score_rows,
    simonyan,
    table,
    top_n_rows,
)

ALL = {**BLOCKS, "image": ("image",)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("data") / "scenes")


@pytest.fixture(scope="module")
def folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw maps of three test images, two of them with ablations, and of one for validation; two or three targets each, three candidates."""
    place = tmp_path_factory.mktemp("maps")
    save_fcn(toy_fcn(7), place / "weights" / "toy" / "weights.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcn_file, "load_network", toy_trunk)
        compute(dataset, RUN, replace(MAPS, candidates=3), place / "weights", place / "maps", {})
    return place / "maps" / "toy"


@pytest.fixture(scope="module")
def split(dataset: Dataset, folder: Path) -> Split:
    return open_split(dataset, folder)


def counted(sample: Sample, labels: np.ndarray) -> np.ndarray:
    """Pixels by true and predicted class, one at a time."""
    pairs = Counter((t, p) for t, p in zip(sample.mask("class_masks").ravel().tolist(), labels.ravel().tolist()) if t != 255)
    return np.array([[pairs[t, p] for p in range(5)] for t in range(5)])


def by_hand(sample: Sample, raw: RawMaps, settings: DcsmSettings) -> Segmentation:
    return segment(sample.photo(), raw, settings, ALL)


# rows

def test_main_rows_are_tables_1_and_6() -> None:
    rows = main_rows(SETTINGS)
    assert rows == {"dcsm_no_crf": Row(SETTINGS, "guided", False), "dcsm_crf": Row(SETTINGS, "guided", True),
                    "dcsm_paper_crf": Row(replace(SETTINGS, crf=SETTINGS.crf_paper), "guided", True),
                    "simonyan_crf": Row(replace(SETTINGS, scales=(500,), blocks=("image",), candidates=0, alpha=8.0), "simonyan", True)}


def test_simonyan_is_never_subtracted_and_takes_the_middle_scale() -> None:
    settings = replace(SETTINGS, scales=(600, 400, 500), reading="demo", normaliser="joint")
    expected = replace(settings, scales=(500,), blocks=("image",), candidates=0, alpha=2.0, reading="paper", normaliser="own")
    assert simonyan(settings, 2.0) == Row(expected, "simonyan", True)


def test_alpha_rows_are_table_1() -> None:
    settings = replace(SETTINGS, reading="demo")   # which has no alpha
    rows = alpha_rows(settings, [1.0, 2.5, 10])
    assert list(rows) == ["dcsm_1", "dcsm_2.5", "dcsm_10", "simonyan_1", "simonyan_2.5", "simonyan_10"]
    for alpha in (1.0, 2.5, 10):
        assert rows[f"dcsm_{alpha:g}"] == Row(replace(settings, reading="paper", alpha=alpha))
        assert rows[f"simonyan_{alpha:g}"] == simonyan(settings, alpha) and rows[f"simonyan_{alpha:g}"].settings.alpha == alpha


def test_layer_rows_are_table_2() -> None:
    assert layer_rows(SETTINGS, ["block1", "block345"]) == {"block1": Row(replace(SETTINGS, blocks=("block1",))),
                                                            "block345": Row(replace(SETTINGS, blocks=("block3", "block4", "block5")))}


def test_scale_rows_are_table_3() -> None:
    assert scale_rows(SETTINGS, [[300], (400, 500)]) == {"s300": Row(replace(SETTINGS, scales=(300,))),
                                                         "s400_500": Row(replace(SETTINGS, scales=(400, 500)))}


def test_top_n_rows_are_table_4_up_to_the_number_of_classes() -> None:
    rows = top_n_rows(SETTINGS, [0, 1, 4, 5, 15], classes=4)
    assert rows == {str(n): Row(replace(SETTINGS, candidates=n), "wide") for n in (0, 1, 4)}
    assert list(top_n_rows(SETTINGS, [0, 15], classes=15)) == ["0", "15"]


def test_backprop_rows_are_table_5() -> None:
    assert backprop_rows(SETTINGS) == {"bp": Row(SETTINGS, "plain"), "guided_bp": Row(SETTINGS, "guided")}


# what was computed

def test_a_split_is_what_was_computed(split: Split, folder: Path) -> None:
    assert [(s.id, path) for s, path in split.items] == [(f"p{i}", folder / "test" / f"p{i}.npz") for i in (2, 3, 4)]
    assert [(s.id, path) for s, path in split.ablations] == [(f"p{i}", folder / "test_ablations" / f"p{i}.npz") for i in (2, 3)]
    assert [(s.id, path) for s, path in split.val] == [("p0", folder / "val" / "p0.npz")]
    assert {name: tuple(layers) for name, layers in split.blocks.items()} == ALL and tuple(split.classes) == CLASSES
    assert {load_raw(path).candidates.kept for _, path in split.items} == {2, 3}


def test_nothing_computed_is_a_problem(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="there are no raw maps; run the stage dcsm_maps") as problem:
        open_split(dataset, tmp_path)
    assert is_one_sentence(problem.value)


# rows are the method

def test_rows_are_the_method_on_each_image(split: Split) -> None:
    """All in one call, so that what they share (maps, the CRF's lattice) cannot leak from one row into another."""
    other = replace(SETTINGS, crf=replace(SETTINGS.crf, theta_beta=60, iterations=6), map_stride=1, alpha=1.0)
    demo = replace(SETTINGS, reading="demo", blocks=("block3",))
    rows = {"crf": Row(SETTINGS), "without": Row(SETTINGS, crf=False), "other": Row(other), "demo": Row(demo),
            "demo_without": Row(demo, crf=False), "again": Row(SETTINGS), "stride": Row(replace(SETTINGS, map_stride=4)),
            "one": Row(replace(SETTINGS, candidates=0, scales=(250,)))}
    found = score_rows(split.items, rows, split, "test")
    assert list(found) == list(rows) and all(confusions.counts.shape == (3, 5, 5) for confusions in found.values())
    for i, (sample, path) in enumerate(split.items):
        for name, row in rows.items():
            whole = by_hand(sample, load_raw(path), row.settings)
            labels = whole.labels if row.crf else whole.labels_no_crf
            assert np.array_equal(found[name].counts[i], counted(sample, labels)), (name, sample.id)
    assert np.array_equal(found["crf"].counts, found["again"].counts)
    assert len({confusions.counts.tobytes() for confusions in found.values()}) == len(rows) - 1   # every other row is one of its own


def test_simonyan_rows_use_simonyans_maps(split: Split) -> None:
    rows = {f"{alpha:g}": simonyan(SETTINGS, alpha) for alpha in (1.0, 8.0)} | {"ours": Row(SETTINGS)}
    for items, place in ((split.items, 0), (split.ablations, -1)):   # an ablation's image has its own beside the main maps
        found = score_rows(items, rows, split, "test")
        sample, path = items[place]
        raw = load_raw(path.parent.with_name("test") / path.name, "simonyan")
        assert list(raw.maps) == [(500, "image")]
        for alpha in (1.0, 8.0):
            whole = by_hand(sample, raw, replace(SETTINGS, scales=(500,), blocks=("image",), candidates=0, alpha=alpha))
            assert np.array_equal(found[f"{alpha:g}"].counts[place], counted(sample, whole.labels))
        assert not np.array_equal(found["1"].counts, found["8"].counts) and not np.array_equal(found["ours"].counts, found["8"].counts)


def test_ablations_find_their_guided_maps_in_two_places(split: Split) -> None:
    """Blocks 2 and 3 at 250 and 500 lie with the main tables, block 1 and scale 750 with the ablations."""
    rows = layer_rows(SETTINGS, ["block1", "block23", "block123"]) | scale_rows(SETTINGS, [(750,), (250, 500, 750)])
    found = score_rows(split.ablations, rows, split, "test")
    for i, (sample, path) in enumerate(split.ablations):
        main = load_raw(path.parent.with_name("test") / path.name)
        raw = replace(main, maps={**main.maps, **load_raw(path).maps})
        assert len(raw.maps) == len(main.maps) + len(load_raw(path).maps) == 6 + 5
        for name, row in rows.items():
            assert np.array_equal(found[name].counts[i], counted(sample, by_hand(sample, raw, row.settings).labels)), name
    assert len({confusions.counts.tobytes() for confusions in found.values()}) == len(rows)


def test_top_n_and_plain_rows_use_their_own_maps(split: Split) -> None:
    settings = replace(SETTINGS, candidates=2)
    rows = top_n_rows(settings, [0, 3, 4, 15], len(CLASSES)) | backprop_rows(settings)
    found = score_rows(split.ablations, rows, split, "test")
    sample, path = split.ablations[1]
    wide, plain, guided = load_raw(path, "wide"), load_raw(path, "plain"), load_raw(path.parent.with_name("test") / path.name)
    assert "15" not in found and len(wide.candidates.order) == 4
    for name, raw, number in (("0", wide, 0), ("3", wide, 3), ("4", wide, 4), ("bp", plain, 2), ("guided_bp", guided, 2)):
        whole = by_hand(sample, raw, replace(settings, candidates=number))
        assert np.array_equal(found[name].counts[1], counted(sample, whole.labels)), name
    assert len({confusions.counts.tobytes() for confusions in found.values()}) == len(rows)


def test_layers_without_raw_maps_are_a_problem(split: Split) -> None:
    for rows, text in ((layer_rows(SETTINGS, ["block12"]), 'no raw map of layer "image" at scale 250'),
                       (scale_rows(SETTINGS, [(750,)]), "at scale 750")):
        with pytest.raises(Problem, match=text) as problem:
            score_rows(split.items, rows, split, "test")
        assert is_one_sentence(problem.value)


def test_more_candidates_than_raw_maps_are_a_problem(split: Split) -> None:
    """Else N = 4 silently gives the numbers of N = 3."""
    with pytest.raises(Problem, match="candidates"):
        score_rows(split.items, {"four": Row(replace(SETTINGS, candidates=4))}, split, "test")


def test_other_scales_of_the_method_leave_simonyans_map_alone(split: Split) -> None:
    found = score_rows(split.items, main_rows(replace(SETTINGS, scales=(250,))), split, "test")
    assert np.array_equal(found["simonyan_crf"].counts, score_rows(split.items, main_rows(SETTINGS), split, "test")["simonyan_crf"].counts)


# scores

def test_table_by_hand() -> None:
    """Two images, three classes: of "a" class 0 has 3 of 5 pixels in common, class 1 has 4 of 7, class 2 has 2 of 3."""
    a = Confusions.of([np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), np.array([[0, 0, 0], [1, 2, 1], [0, 0, 2]])])
    b = Confusions.of([np.array([[4, 0, 0], [0, 2, 0], [0, 0, 0]]), np.array([[0, 0, 0], [0, 2, 2], [0, 2, 0]])])   # 4/4, 4/8, 0/4
    items = [(Sample("1", Path("."), "1.png", "test", ("ant",)), Path("1.npz")), (Sample("2", Path("."), "2.png", "test", ("bee",)), Path("2.npz"))]
    rows, pairs = table({"a": a, "b": b}, items, ("ant", "bee"), [("a", "b"), ("a", "absent"), ("absent", "also"), ("b", "a")], 200, 0.95, 0)
    miou = 100 * (3 / 5 + 4 / 7 + 2 / 3) / 3
    assert rows["a"]["miou"]["mean"] == pytest.approx(miou, abs=1e-5) and rows["b"]["miou"]["mean"] == pytest.approx(50)
    assert list(rows) == ["a", "b"] and all(set(entry) == {"mean", "low", "high"} for row in rows.values() for entry in row.values())
    assert list(pairs) == ["a - b", "a / b", "b - a", "b / a"]
    assert pairs["a - b"]["miou"]["mean"] == pytest.approx(miou - 50, abs=1e-5)
    assert pairs["b / a"]["miou"]["mean"] == pytest.approx(50 / miou, abs=1e-5)
    # draws hold the first image alone, both, or the second alone: classes 0 and 1, all three, or 0, 1 and 2 of the second
    first, second = 100 * (3 / 4 + 2 / 3) / 2, 100 * (0 / 1 + 2 / 4 + 2 / 3) / 3
    assert rows["a"]["miou"]["high"] == pytest.approx(first, abs=1e-5) and rows["a"]["miou"]["low"] == pytest.approx(second, abs=1e-5)


def test_table_of_a_split_repeats_with_its_seed(split: Split) -> None:
    found = score_rows(split.items, main_rows(SETTINGS), split, "test")
    pairs = [("dcsm_crf", "dcsm_no_crf"), ("dcsm_crf", "simonyan_crf")]
    assert table(found, split.items, CLASSES, pairs, 50, 0.95, 3) == table(found, split.items, CLASSES, pairs, 50, 0.95, 3)
    total = found["dcsm_crf"].counts.sum(0)
    union = total.sum(0) + total.sum(1) - np.diag(total)
    expected = np.mean(100 * np.diag(total)[:2] / union[:2])   # all images are labelled with the first class alone
    assert table(found, split.items, CLASSES, [], 50, 0.95, 3)[0]["dcsm_crf"]["miou"]["mean"] == pytest.approx(expected, abs=1e-5)


def test_other_targets_come_first_and_the_maps_with_them() -> None:
    raw = RawMaps({(500, "a"): torch.arange(4.0)[:, None, None].expand(4, 2, 3)}, Candidates([7, 2, 5, 0], 1), (3, 2))
    found = retargeted(raw, [0, 2, 9])
    assert found.candidates == ([2, 0, 7, 5], 2) and found.maps[500, "a"][:, 0, 0].tolist() == [1, 3, 0, 2]
    assert retargeted(raw, [9]).candidates == ([7, 2, 5, 0], 1)   # none of them: the best one
    assert raw.candidates == ([7, 2, 5, 0], 1)


def test_rows_with_other_targets(split: Split) -> None:
    """At the threshold that the raw maps were computed with, the same; above every score the best class alone; true labels as they are."""
    for sample, path in split.items:
        order = load_raw(path).candidates.order
        rows = {"kept": Row(SETTINGS, crf=False), "same": Row(SETTINGS, crf=False, targets=MAPS.threshold), "best": Row(SETTINGS, crf=False, targets=1.0),
                "all": Row(SETTINGS, crf=False, targets=0.0), "truth": Row(SETTINGS, crf=False, targets="truth")}
        found = label_maps(sample, path, rows, split)
        assert np.array_equal(found["kept"], found["same"])
        assert set(np.unique(found["best"])) <= {0, order[0] + 1}
        assert set(np.unique(found["all"])) <= {0, *(c + 1 for c in order)}
        true = [c for c in order if split.classes[c] in sample.labels] or order[:1]
        raw = retargeted(load_raw(path), true)
        assert np.array_equal(found["truth"], by_hand(sample, raw, SETTINGS).labels_no_crf)


def test_networks_are_compared_on_the_images_of_both(split: Split) -> None:
    """The other network saw the images in another order, and not the second one."""
    counts = np.arange(3 * 4).reshape(3, 2, 2)
    other = replace(split, items=[split.items[2], split.items[0]])
    found, shared = on_common_images({"a": {"row": Confusions(counts)}, "b": {"row": Confusions(10 * counts[[2, 0]])}}, {"a": split, "b": other})
    assert shared == [split.items[0], split.items[2]]
    assert np.array_equal(found["a"]["row"].counts, counts[[0, 2]]) and np.array_equal(found["b"]["row"].counts, 10 * counts[[0, 2]])
