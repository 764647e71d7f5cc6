"""DCSM's smaller parts: the search on validation images, the foreground map for rCAM's table 2, figures."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from dcsm_toys import CLASSES, CRF, MAPS, SETTINGS, SIDE, toy_dataset, toy_fcn, toy_photo

from lib.data.dataset import Dataset
from lib.metrics.bootstrap import draws
from lib.papers.dcsm import constants as dcsm_constants, figures as dcsm_figures
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.method import dcsm, raw_maps, segment
from lib.papers.dcsm.saliency import foreground, rcam_table2
from lib.papers.dcsm.settings import DcsmConstants
from lib.papers.dcsm.tables import Row, Split, class_table, classifier_table, score_rows, table, write_split

SCALES = replace(MAPS, scales=(250, 500, 750), other_scales=(1000,))
OURS = replace(SETTINGS, scales=(250, 500, 750), candidates=2)
GRID = DcsmConstants(alphas=[1.0, 4.0], readings=["paper", "demo"], normalisers=["own", "after"], alphas_simonyan=[2.0], kernels=[(30.0, 10.0), (60.0, 5.0)],
                     weights=[(1.0, 1.0)], thresholds=[0.3, 0.5])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("data") / "scenes", val=2, test=3)


@pytest.fixture(scope="module")
def split(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Split:
    found = write_split(toy_fcn(7), dataset.split("test"), SCALES, SIDE, tmp_path_factory.mktemp("maps"))
    return replace(found, val=found.items)


def test_images_of_ones_own_give_what_dcsm_gives(split: Split, dataset: Dataset) -> None:
    sample, _ = split.items[0]
    own = dcsm(toy_fcn(7), sample.photo(), OURS, SIDE)
    rows = {"with": dcsm_constants.Row(OURS), "without": dcsm_constants.Row(OURS, crf=False)}
    stored = dcsm_figures.label_maps(*split.items[0], rows, split)
    assert (stored["with"] != own.labels).mean() < 0.01 and (stored["without"] != own.labels_no_crf).mean() < 0.01   # float16


def test_the_search_has_every_setting_once(split: Split) -> None:
    rows = dcsm_constants.readings(OURS, GRID)
    assert list(rows) == ["own 1", "own 4", "after 1", "after 4", "demo"]
    assert rows["after 4"].settings == replace(OURS, normaliser="after", alpha=4.0) and not rows["after 4"].crf
    fields = dcsm_constants.fields(OURS, GRID)
    assert list(fields) == ["none", "kernel 30 and 10, weights 1 and 1", "kernel 60 and 5, weights 1 and 1"]
    assert fields["kernel 60 and 5, weights 1 and 1"].settings.crf == replace(CRF, theta_alpha=60, theta_beta=5)
    assert dcsm_constants.thresholds(OURS, GRID) == {"0.3": Row(OURS, targets=0.3), "0.5": Row(OURS, targets=0.5)}


def test_the_search_scores_only_classes_that_its_images_show(split: Split) -> None:
    found = score_rows(split.val, {"a": dcsm_constants.Row(OURS, crf=False)}, split, "x")
    value = table(found, split.val, CLASSES, [], 100, 0.95, 0)[0]["a"]["miou"]["mean"]
    iou = found["a"].iou(np.full((1, 3), 1 / 3))[0]
    assert value == pytest.approx((iou[0] + iou[1]) / 2, abs=1e-5)   # every image is labelled "ant", nothing else
    assert dcsm_constants.best({"n": {"a": {"miou": {"mean": 1.0}}, "b": {"miou": {"mean": 3.0}}}, "m": {"a": {"miou": {"mean": 9.0}}, "b": {"miou": {"mean": 4.0}}}}) == "a"


def test_foreground_is_what_the_background_leaves(dataset: Dataset) -> None:
    from torch.nn.functional import interpolate

    from lib.papers.dcsm.method import enlarge, enlarged, saliency, with_background
    from lib.refine.crf import dense_crf

    fcn, photo = toy_fcn(7), toy_photo(3)
    maps = enlarge(saliency(enlarged(raw_maps(fcn, photo, OURS, SIDE), OURS.map_stride), OURS, blocks(fcn.trunk)), photo.size)
    marginals = torch.from_numpy(dense_crf(np.asarray(photo), with_background(maps), OURS.crf))
    expected = interpolate(marginals[1:].sum(0)[None, None], (224, 224), mode="bilinear", align_corners=False)
    assert torch.allclose(foreground(fcn, photo, OURS, SIDE), expected, atol=1e-4)
    found = segment(photo, raw_maps(fcn, photo, OURS, SIDE), OURS, blocks(fcn.trunk))
    assert set(np.unique(found.labels)) <= {0, *(t + 1 for t in found.targets)}
    assert len(rcam_table2(fcn, dataset.split("test"), OURS, SIDE).ids) == 3


def test_class_rows_leave_out_draws_without_the_class(split: Split) -> None:
    found = score_rows(split.items, {"a": dcsm_constants.Row(OURS, crf=False)}, split, "x")
    by_class = class_table(found, {"a": "iou"}, CLASSES, 200, 0.95, 0)
    whole = found["a"].iou(draws(3, 1, 0)[:1])[0]
    for number, name in enumerate(("background", *CLASSES)):
        if np.isnan(whole[number]):
            assert name not in by_class
        else:
            assert by_class[name]["iou"]["mean"] == pytest.approx(whole[number], abs=1e-5) and np.isfinite(by_class[name]["iou"]["low"])


def test_the_classifier_is_judged_by_its_strongest_score(split: Split) -> None:
    scores = np.stack([np.load(path)["scores"].max(0) for _, path in split.items])
    top = np.mean([CLASSES[row.argmax()] == "ant" for row in scores])
    assert classifier_table(split.items, CLASSES, 100, 0.95, 0)["classifier"]["top_class"]["mean"] == pytest.approx(100 * top, abs=1e-4)


def test_figures_have_a_row_for_every_image(split: Split) -> None:
    for figure, columns in ((dcsm_figures.method_grid(split.items, split, OURS), 7), (dcsm_figures.layer_grid(split.items, split, OURS), 4)):
        assert len(figure.axes) == 3 * columns
    two = dcsm_figures.several(split.items, 2)
    assert all(np.load(path)["kept"] >= 2 for _, path in two) and len(two) == sum(int(np.load(path)["kept"]) >= 2 for _, path in split.items)


def test_voc_colours() -> None:
    assert dcsm_figures.palette()[[0, 1, 2, 15, 20]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128]]
