"""The poster's tables: each row is the method of its name, beside DCSM's on the same images."""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dcsm_toys import CLASSES, CRF, MAPS, OURS, SIDE, toy_dataset, toy_fcn

from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.metrics.miou import confusion
from lib.papers.dcsm.maps import load_raw, load_scores
from lib.papers.dcsm.method import enlarged, saliency
from lib.papers.dcsm.rows import Row
from lib.papers.dcsm.tables import Split, write_split
from lib.papers.fcn_gbp.method import Detected, Superpixels, fcn_gbp, fcn_mcg, zof_gbp
from lib.papers.fcn_gbp.mi_svm import MiSvm
from lib.papers.fcn_gbp.settings import FcnGbpGrid, FcnGbpSettings, ZofSettings
from lib.papers.fcn_gbp.tables import (
    METHODS,
    Choice,
    Poster,
    best,
    choices,
    covering,
    proposal_table,
    score_poster,
    train_zof,
    zoom_out,
)
from lib.proposals.segments import objectness, proposals, quality

SCALES = replace(MAPS, scales=(250, 500, 750), other_scales=(1000,))
ZOOM = ZofSettings(superpixels=12, rounds=2, negatives=500, c=0.1, balanced=True)
GRID = FcnGbpGrid(
    least_probability=0.5,
    least_map=0.1,
    enhance=["product", "geometric"],
    maximum=["image", "class"],
    alpha=[1.0, 2.0, 4.0],
    zof=ZOOM,
)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    samples = toy_dataset(tmp_path_factory.mktemp("data") / "scenes", val=2, test=3).split("test")
    return write_split(toy_fcn(7), samples, SCALES, SIDE, tmp_path_factory.mktemp("maps"))


@pytest.fixture(scope="module")
def poster(split: Split) -> Poster:
    """A network with an mi-SVM that knows nothing: every class is as likely as not."""
    fcn = toy_fcn(7)
    sample, _ = split.items[0]
    depth = zoom_out(fcn, sample, ZOOM, SIDE).features.shape[1]
    zeros = np.zeros(len(CLASSES), np.float32)
    ones = np.ones(len(CLASSES), np.float32)
    return Poster(fcn, MiSvm(np.zeros((len(CLASSES), depth), np.float32), zeros, ones, ones), ZOOM, SIDE)


def chosen_rows() -> dict[str, Choice]:
    options = choices(GRID, CRF)
    return {method: options[f"{method} geometric class 2"] for method in METHODS}


def test_choices_are_every_combination() -> None:
    options = choices(GRID, CRF)
    assert len(options) == 36 == len(set(options.values()))
    expected = FcnGbpSettings(0.5, "product", "image", 0.1, 4.0, CRF)
    assert options["fcn_mcg product image 4"] == Choice("fcn_mcg", expected)


def test_every_superpixel_has_its_features(split: Split, poster: Poster) -> None:
    sample, _ = split.items[0]
    zoomed = zoom_out(poster.fcn, sample, ZOOM, SIDE)
    assert len(zoomed.features) == zoomed.regions.max() + 1
    assert zoomed.regions.shape == sample.mask("class_masks").shape
    assert len(zoomed.scores) == len(CLASSES)


def test_each_row_is_the_method_of_its_name(split: Split, poster: Poster) -> None:
    rows = chosen_rows()
    confusions, _ = score_poster(poster, split.items[:2], rows, {"dcsm": Row(OURS)}, split)
    assert list(confusions) == ["fcn_gbp", "zof_gbp", "fcn_mcg", "dcsm"]
    assert all(len(found.counts) == 2 for found in confusions.values())

    sample, path = split.items[1]
    photo, raw = sample.photo(), load_raw(path)
    maps = saliency(enlarged(raw, OURS.map_stride), replace(OURS, candidates=0), split.blocks)
    probability = torch.from_numpy(load_scores(path).max(0))
    detected = Detected(probability, raw.candidates.order[:raw.candidates.kept], maps)
    zoomed = zoom_out(poster.fcn, sample, ZOOM, SIDE)
    superpixels = Superpixels(zoomed.regions, poster.zof.probability(zoomed.features))
    objects = objectness(photo, proposals(photo))
    settings = rows["fcn_gbp"].settings
    expected = {
        "fcn_gbp": fcn_gbp(photo, zoomed.scores, detected, settings),
        "zof_gbp": zof_gbp(photo, superpixels, detected, settings),
        "fcn_mcg": fcn_mcg(photo, zoomed.scores, probability, objects, settings),
    }
    truth = sample.mask("class_masks")
    for row, labels in expected.items():
        assert np.array_equal(confusions[row].counts[1], confusion(truth, labels, 5)), row


def test_proposals_are_counted(split: Split, poster: Poster) -> None:
    _, counts = score_poster(poster, split.items[:2], chosen_rows(), {"dcsm": Row(OURS)}, split)
    for (sample, _), (objects, overlap, hits) in zip(split.items[:2], counts, strict=True):
        truth = sample.mask("class_masks")
        shown = [truth == number for number in np.unique(truth) if number not in (0, 255)]
        overlaps = quality(proposals(sample.photo()), shown, truth != 255)
        assert objects == len(shown) > 0
        assert overlap == pytest.approx(overlaps.sum())
        assert hits == (overlaps >= 0.5).sum()


def test_zof_learns_from_image_labels(split: Split) -> None:
    labelled = [("ant",), ("bee", "cow"), ("dog", "cow")]
    images = [sample for sample, _ in split.items]
    samples = [replace(sample, labels=names) for sample, names in zip(images, labelled, strict=True)]
    svm = train_zof(toy_fcn(7), samples, ZOOM, SIDE, seed=0)
    assert len(svm.weights) == len(CLASSES)
    for k, name in enumerate(CLASSES):
        highest = {}
        for sample in samples:
            features = zoom_out(toy_fcn(7), sample, ZOOM, SIDE).features
            highest[sample.id] = svm.decide(features)[:, k].max()
        shown = [highest[sample.id] for sample in samples if name in sample.labels]
        others = [highest[sample.id] for sample in samples if name not in sample.labels]
        assert max(shown) > max(others), name


def test_each_method_takes_its_own_best() -> None:
    values = {"fcn_gbp a": 1, "fcn_gbp b": 2, "zof_gbp a": 4, "zof_gbp b": 3, "fcn_mcg a": 5, "fcn_mcg b": 6}
    settings = FcnGbpSettings(0.5, "product", "image", 0.1, 4.0, CRF)
    options = {row: Choice(row.split()[0], settings) for row in values}
    scores = {row: {"miou": {"mean": value}} for row, value in values.items()}
    expected = {"fcn_gbp": "fcn_gbp b", "zof_gbp": "zof_gbp a", "fcn_mcg": "fcn_mcg b"}
    assert best(options, scores) == expected


def test_proposals_are_pooled_over_objects() -> None:
    counts = np.array([[1, 0.8, 1], [3, 0.9, 1]])
    row = proposal_table(counts, Chance(100, 0.95, 0))["proposals"]
    assert row["recall"]["mean"] == pytest.approx(50)
    assert row["abo"]["mean"] == pytest.approx(42.5)


def sample_of(number: int, labels: Sequence[str]) -> Sample:
    return Sample(str(number), Path(), "x.jpg", "train", tuple(labels))


def test_training_images_cover_every_class() -> None:
    labelled = [("ant",)] * 5 + [("bee", "ant"), ("cow",), ("dog",), ("dog",)]
    samples = [sample_of(number, labels) for number, labels in enumerate(labelled)]
    chosen = covering(samples, CLASSES, 4)
    assert [sample.id for sample in chosen] == ["0", "5", "6", "7"]
    assert {name for sample in chosen for name in sample.labels} == set(CLASSES)
    assert len(covering(samples, CLASSES, 100)) == 9
