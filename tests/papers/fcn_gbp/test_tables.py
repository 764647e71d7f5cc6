"""The poster's rows beside DCSM's: each is the method of its name, and takes its own best constants."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dcsm_toys import CLASSES, CRF, MAPS, OURS, SIDE, toy_dataset, toy_fcn

from lib.data.dataset import Sample
from lib.metrics.miou import confusion
from lib.papers.dcsm.maps import load_raw, load_scores
from lib.papers.dcsm.method import enlarged, saliency
from lib.papers.dcsm.rows import Row
from lib.papers.dcsm.tables import Split, write_split
from lib.papers.fcn_gbp import tables
from lib.papers.fcn_gbp.method import fcn_gbp, zof_gbp
from lib.papers.fcn_gbp.settings import FcnGbpGrid, FcnGbpSettings, ZofSettings

ZOOM = ZofSettings(12, 2, 500, 0.1, True)
GRID = FcnGbpGrid(0.5, 0.1, ["product", "geometric"], ["image", "class"], [1.0, 2.0, 4.0], ZOOM)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Guided maps of three images."""
    dataset = toy_dataset(tmp_path_factory.mktemp("data") / "scenes", val=2, test=3)
    maps = replace(MAPS, scales=(250, 500, 750), other_scales=(1000,))
    return write_split(toy_fcn(7), dataset.split("test"), maps, SIDE, tmp_path_factory.mktemp("maps"))


def test_poster_rows_and_choices(split: Split) -> None:
    options = tables.choices(GRID, CRF)
    assert len(options) == 36
    assert options["fcn_mcg product image 4"] == (
        "fcn_mcg", FcnGbpSettings(0.5, "product", "image", 0.1, 4.0, CRF))
    rows = {name: options[f"{name} geometric class 2"] for name in tables.METHODS}
    fcn = toy_fcn(7)
    sample, path = split.items[0]
    regions, features, scores = tables.zoom_out(fcn, sample, ZOOM, SIDE)
    assert features.shape[0] == regions.max() + 1 and scores.shape[0] == len(CLASSES)
    depth = features.shape[1]
    ones = np.ones(4, np.float32)
    zof = tables.MiSvm(np.zeros((4, depth), np.float32), np.zeros(4, np.float32), ones, np.ones(4))
    items = split.items[:2]
    scored, counts = tables.score_poster(fcn, items, zof, ZOOM, rows, {"dcsm": Row(OURS)}, split, SIDE)
    assert list(scored) == ["fcn_gbp", "zof_gbp", "fcn_mcg", "dcsm"]
    assert all(len(confusions.counts) == 2 for confusions in scored.values())
    assert counts.shape == (2, 3)
    assert (counts[:, 2] <= counts[:, 0]).all() and (counts[:, 1] <= counts[:, 0]).all()

    # Each row is the method of its name.
    sample, path = split.items[1]
    raw = load_raw(path)
    maps = saliency(enlarged(raw, OURS.map_stride), replace(OURS, candidates=0), split.blocks)
    probability = torch.from_numpy(load_scores(path).max(0))
    regions, features, scores = tables.zoom_out(fcn, sample, ZOOM, SIDE)
    photo, targets = sample.photo(), raw.candidates.targets
    by_name = {
        "fcn_gbp": fcn_gbp(photo, scores, probability, maps, targets, rows["fcn_gbp"][1]),
        "zof_gbp": zof_gbp(photo, regions, zof.probability(features), probability, maps, targets,
                           rows["zof_gbp"][1]),
    }
    for name, labels in by_name.items():
        assert np.array_equal(scored[name].counts[1], confusion(sample.mask("class_masks"), labels, 5)), name


def test_each_method_takes_its_own_best() -> None:
    names = ("fcn_gbp a", "fcn_gbp b", "zof_gbp a", "zof_gbp b", "fcn_mcg a", "fcn_mcg b")
    options = {row: (row.split()[0], None) for row in names}
    scores = {row: {"miou": {"mean": value}} for row, value in zip(names, (1, 2, 4, 3, 5, 6), strict=True)}
    best = {"fcn_gbp": "fcn_gbp b", "zof_gbp": "zof_gbp a", "fcn_mcg": "fcn_mcg b"}
    assert tables.best(options, scores) == best


def test_proposals_are_pooled_over_objects() -> None:
    counts = np.array([[1, 0.8, 1], [3, 0.9, 1]])
    quality = tables.proposal_table(counts, 100, 0.95, 0)["proposals"]
    assert quality["recall"]["mean"] == pytest.approx(50)
    assert quality["abo"]["mean"] == pytest.approx(42.5)


def test_training_images_cover_every_class() -> None:
    labels = [("ant",)] * 5 + [("bee", "ant"), ("cow",), ("dog",), ("dog",)]
    samples = [Sample(str(number), Path("."), "x.jpg", "train", names) for number, names in enumerate(labels)]
    chosen = tables.covering(samples, CLASSES, 4)
    assert len(chosen) == 4
    assert {name for sample in chosen for name in sample.labels} == set(CLASSES)
    assert len(tables.covering(samples, CLASSES, 100)) == 9
