"""DCSM's tables: which images they are about, and their scores by hand."""
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from dcsm_toys import BLOCKS, CLASSES, OURS, SETTINGS
from sentences import is_one_sentence

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.metrics.bootstrap import Chance
from lib.metrics.miou import Confusions
from lib.papers.dcsm.maps import load_raw
from lib.papers.dcsm.rows import Row, main_rows
from lib.papers.dcsm.tables import (
    Items,
    Scoring,
    Split,
    class_table,
    classifier_table,
    iou_by_frequency,
    on_common_images,
    open_split,
    open_splits,
    score_rows,
    table,
    table1,
    table6,
    trained_weights,
)
from lib.report.record import Record

CHANCE = Chance(50, 0.95, 3)


# images with raw maps

def test_a_split_is_what_was_computed(split: Split, maps_folder: Path) -> None:
    def expected(part: str, ids: list[str]) -> list[tuple[str, Path]]:
        return [(id, maps_folder / "toy" / part / f"{id}.npz") for id in ids]

    def given(items: Items) -> list[tuple[str, Path]]:
        return [(sample.id, path) for sample, path in items]

    assert given(split.items) == expected("test", ["p2", "p3", "p4"])
    assert given(split.ablations) == expected("test_ablations", ["p2", "p3"])
    assert given(split.val) == expected("val", ["p0"])
    assert {name: tuple(layers) for name, layers in split.blocks.items()} == {**BLOCKS, "image": ("image",)}
    assert tuple(split.classes) == CLASSES
    assert {load_raw(path).candidates.kept for _, path in split.items} == {2, 3}


def test_splits_and_weights_of_several_networks(split: Split, dataset: Dataset, maps_folder: Path) -> None:
    assert open_splits(dataset, maps_folder, ["toy"]) == {"toy": split}
    weights = maps_folder.parent / "weights"
    assert trained_weights(weights, ["toy"]) == {"toy": sha256(weights / "toy" / "weights.safetensors")}


def test_nothing_computed_is_a_problem(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="there are no raw maps; run the stage dcsm_maps") as problem:
        open_split(dataset, tmp_path)
    assert is_one_sentence(problem.value)


# scores

def test_table_by_hand() -> None:
    """Two images, three classes.

    Of "a" class 0 has 3 of 5 pixels in common, class 1 has 4 of 7, class 2 has 2 of 3; of "b" 4 of 4, 4 of 8
    and none of 4.
    """
    a = Confusions(np.array([[[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[0, 0, 0], [1, 2, 1], [0, 0, 2]]]))
    b = Confusions(np.array([[[4, 0, 0], [0, 2, 0], [0, 0, 0]], [[0, 0, 0], [0, 2, 2], [0, 2, 0]]]))
    items = [(Sample("1", Path("."), "1.png", "test", ("ant",)), Path("1.npz")),
             (Sample("2", Path("."), "2.png", "test", ("bee",)), Path("2.npz"))]
    asked = [("a", "b"), ("a", "absent"), ("absent", "also"), ("b", "a")]
    rows, pairs = table({"a": a, "b": b}, items, ("ant", "bee"), asked, Chance(200, 0.95, 0))
    miou = 100 * (3 / 5 + 4 / 7 + 2 / 3) / 3
    assert rows["a"]["miou"]["mean"] == pytest.approx(miou, abs=1e-5)
    assert rows["b"]["miou"]["mean"] == pytest.approx(50)
    assert list(rows) == ["a", "b"]
    assert all(set(row["miou"]) == {"mean", "low", "high"} for row in rows.values())
    assert list(pairs) == ["a - b", "a / b", "b - a", "b / a"]
    assert pairs["a - b"]["miou"]["mean"] == pytest.approx(miou - 50, abs=1e-5)
    assert pairs["b / a"]["miou"]["mean"] == pytest.approx(50 / miou, abs=1e-5)
    # Draws hold the first image alone, both, or the second alone: classes 0 and 1, all three, or 0, 1 and 2
    # of the second.
    first, second = 100 * (3 / 4 + 2 / 3) / 2, 100 * (0 / 1 + 2 / 4 + 2 / 3) / 3
    assert rows["a"]["miou"]["high"] == pytest.approx(first, abs=1e-5)
    assert rows["a"]["miou"]["low"] == pytest.approx(second, abs=1e-5)


def test_table_of_a_split_repeats_with_its_seed(split: Split) -> None:
    scored = score_rows(split.items, main_rows(SETTINGS), split, "test")
    pairs = [("dcsm_crf", "dcsm_no_crf"), ("dcsm_crf", "simonyan_crf")]
    once = table(scored, split.items, CLASSES, pairs, CHANCE)
    assert once == table(scored, split.items, CLASSES, pairs, CHANCE)
    total = scored["dcsm_crf"].counts.sum(0)
    union = total.sum(0) + total.sum(1) - np.diag(total)
    # All images are labelled with the first class alone.
    expected = np.mean(100 * np.diag(total)[:2] / union[:2])
    assert once[0]["dcsm_crf"]["miou"]["mean"] == pytest.approx(expected, abs=1e-5)


def test_tables_1_and_6_are_parts_of_the_main_rows(split: Split) -> None:
    scored = score_rows(split.items, main_rows(SETTINGS), split, "test")
    every, _ = table(scored, split.items, CLASSES, [], CHANCE)
    rows, pairs = table1(scored, split, CHANCE)
    assert rows == {row: every[row] for row in ("dcsm_crf", "simonyan_crf")}
    assert list(pairs) == ["dcsm_crf - simonyan_crf", "dcsm_crf / simonyan_crf"]
    rows, pairs = table6(scored, split, CHANCE)
    assert rows == {row: every[row] for row in ("dcsm_no_crf", "dcsm_crf", "dcsm_paper_crf")}
    assert [pair for pair in pairs if " - " in pair] == [
        "dcsm_crf - dcsm_no_crf", "dcsm_paper_crf - dcsm_no_crf", "dcsm_crf - dcsm_paper_crf"]


def test_a_scored_table_is_recorded_with_its_images(split: Split) -> None:
    rows = {"a": Row(SETTINGS, crf=False), "b": Row(replace(SETTINGS, alpha=1.0), crf=False)}
    record = Record.open("any", "smoke", SimpleNamespace(seed=0))
    scoring = Scoring(record, "scenes", {"toy": split, "other": split}, "ablations", CHANCE)
    scoring.add("one", rows, [("a", "b")])
    scoring.add("two", rows)
    confusions = score_rows(split.ablations, rows, split, "test")
    expected, pairs = table(confusions, split.ablations, CLASSES, [("a", "b")], CHANCE)
    networks = {"toy": expected, "other": expected}
    assert record.results == {"one": {"scenes": networks}, "two": {"scenes": networks}}
    assert record.comparisons == {"one": {"scenes": {"toy": pairs, "other": pairs}}}
    assert record.counts == {"scenes": {"images_toy": 2, "images_other": 2}}


def test_rows_without_images_are_a_problem(split: Split) -> None:
    with pytest.raises(Problem, match="test: no raw maps were computed for it; raise the number") as problem:
        score_rows([], main_rows(SETTINGS), split, "test")
    assert is_one_sentence(problem.value)


def test_class_rows_leave_out_draws_without_the_class(own_split: Split) -> None:
    scored = score_rows(own_split.items, {"a": Row(OURS, crf=False)}, own_split, "test")
    by_class = class_table(scored, {"a": "iou"}, CLASSES, Chance(200, 0.95, 0))
    whole = scored["a"].iou(np.full((1, 3), 1 / 3))[0]
    for number, name in enumerate(("background", *CLASSES)):
        if np.isnan(whole[number]):
            assert name not in by_class
        else:
            assert by_class[name]["iou"]["mean"] == pytest.approx(whole[number], abs=1e-5)
            assert np.isfinite(by_class[name]["iou"]["low"])


def test_the_classifier_is_judged_by_its_strongest_score(own_split: Split) -> None:
    scores = np.stack([np.load(path)["scores"].max(0) for _, path in own_split.items])
    top = np.mean([CLASSES[row.argmax()] == "ant" for row in scores])
    quality = classifier_table(own_split.items, CLASSES, Chance(100, 0.95, 0))["classifier"]
    assert quality["top_class"]["mean"] == pytest.approx(100 * top, abs=1e-4)


def test_networks_are_compared_on_the_images_of_both(split: Split) -> None:
    """The other network was run on the images in another order, and not on the second one."""
    counts = np.arange(3 * 4).reshape(3, 2, 2)
    other = replace(split, items=[split.items[2], split.items[0]])
    confusions = {"a": {"row": Confusions(counts)}, "b": {"row": Confusions(10 * counts[[2, 0]])}}
    common, shared = on_common_images(confusions, {"a": split, "b": other})
    assert shared == [split.items[0], split.items[2]]
    assert np.array_equal(common["a"]["row"].counts, counts[[0, 2]])
    assert np.array_equal(common["b"]["row"].counts, 10 * counts[[0, 2]])


def test_classes_by_the_number_of_their_training_images() -> None:
    samples = [Sample(str(number), Path("."), "1.png", "train", ("ant",) if number else ("ant", "bee"))
               for number in range(40)]
    rows = {name: {"iou": {"mean": mean}} for name, mean in (("background", 9.0), ("ant", 5.0), ("bee", 3.0),
                                                             ("cow", 1.0))}
    assert iou_by_frequency(rows, samples) == {"fewer than 40": [3.0, 1.0], "40 or more": [5.0]}
    assert iou_by_frequency(rows, samples[1:]) == {"fewer than 40": [5.0, 3.0, 1.0], "40 or more": []}
