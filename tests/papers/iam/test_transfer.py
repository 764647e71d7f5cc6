"""IAM on what its filling module never learnt: maps, boxes and restrictions by hand."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from iam_toys import NETWORK, SETTINGS, TRAINING, toy_dataset, toy_fcn, toy_filling
from PIL import Image
from torch.nn.functional import interpolate

from lib.base.problem import Problem
from lib.data.dataset import Box
from lib.maps.peaks import Peaks
from lib.metrics.bootstrap import Chance
from lib.metrics.instances import Compared
from lib.papers.csoa.runs import POSITION, Job, Located, save_located
from lib.papers.iam import transfer
from lib.papers.iam.method import ClassifierOutput
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.tables import ChosenRows
from lib.papers.iam.trained import Trained
from lib.papers.iam.transfer import (
    base_ranks,
    box_errors,
    fillings,
    located,
    maps_of,
    on_classes,
    ranks_of,
    restricted,
    saliency,
    salient,
    with_classes,
)

IOU = np.arange(12).reshape(4, 3) / 12
IMAGE = Compared(np.array([2, 0, 1, 2]), np.array([0.1, 0.2, 0.3, 0.4]), IOU, np.array([1, 2, 0]),
                 np.array([0.5, 0.6, 0.7]))


def test_restricted_by_hand() -> None:
    found, = restricted([IMAGE], [2, 0])
    assert found.classes.tolist() == [2, 0, 2] and found.scores.tolist() == [0.1, 0.2, 0.4]
    assert found.truth_classes.tolist() == [2, 0] and found.truth_shares.tolist() == [0.6, 0.7]
    assert np.array_equal(found.iou, IOU[[0, 1, 3]][:, [1, 2]])
    nothing, = restricted([IMAGE], [7])
    assert nothing.iou.shape == (0, 0) and IMAGE.iou.shape == (4, 3)


def test_rows_on_some_classes() -> None:
    """Every seed of every row; constants are not shown."""
    chosen = ChosenRows({"prm": [[IMAGE], [IMAGE]], "iam": [[IMAGE]]}, {"prm": {"least": 1}})
    found = on_classes(chosen, [2, 0])
    assert found.constants == {} and list(found.rows) == ["prm", "iam"]
    assert [len(seeds) for seeds in found.rows.values()] == [2, 1]
    assert found.rows["prm"][1][0].classes.tolist() == [2, 0, 2]


NAMED = Located(["a", "b", "c"], np.array([4, 0, 2]), np.array([-1] * 3), {}, np.zeros((3, 1)))


def test_ranks_are_by_image() -> None:
    assert ranks_of(NAMED, ["c", "a"]).tolist() == [2, 4]
    with pytest.raises(Problem, match=r'"d".*csoa_train') as caught:
        ranks_of(NAMED, ["c", "d", "e"])
    assert "\n" not in str(caught.value)
    both = with_classes(np.array([0.6, 0.1]), np.array([2, 4]))
    assert both.rank.tolist() == [2, 4] and both.overlap.tolist() == [[0.6], [0.1]]


def test_ranks_are_those_of_the_base_network(tmp_path: Path) -> None:
    save_located(tmp_path / Job("base", POSITION, 3).name / "test.npz", NAMED, "f")
    assert base_ranks(tmp_path, 3, ["b", "a"]).tolist() == [0, 4]
    with pytest.raises(Problem, match="run the stage csoa_train again"):
        base_ranks(tmp_path, 4, ["b", "a"])


def test_errors_of_boxes_by_hand() -> None:
    """Boxes are right on two images of three, classes on two, both on one."""
    chance = Chance(10, 0.95, 0)
    overlap = {"iam": np.array([0.7, 0.5, 0.1])}
    found = box_errors(overlap, np.array([0, 1, 0]), chance)["iam"]
    assert list(found) == ["loc1", "gt_known", "cls1"]
    assert [values[0] for values in found.values()] == pytest.approx([200 / 3, 100 / 3, 100 / 3])
    assert found["gt_known"].shape == (11,)
    alone = box_errors(overlap, None, chance)["iam"]
    assert list(alone) == ["gt_known"] and np.array_equal(alone["gt_known"], found["gt_known"])


def test_saliency_is_what_relu_leaves_of_the_logit() -> None:
    maps = torch.tensor([[[0.5, 0.8, 0.2, 0.6]]])
    expected = [0, 1, 0, np.log(1.5) / np.log(4)]
    for row in ("iam", "iam_unseen"):
        assert saliency(row, maps)[0, 0].tolist() == pytest.approx(expected, abs=1e-6)
        assert saliency(row, maps * 0.5).tolist() == [[[0] * 4]]   # nothing is above one half
        endless = torch.tensor([[[0.0, 1.0]]])   # on either side
        assert saliency(row, endless).tolist() == [[[0, 1]]]
    for row in ("cam", "prm"):
        assert saliency(row, maps)[0, 0].tolist() == pytest.approx([0.625, 1, 0.25, 0.75])
        assert saliency(row, torch.zeros(1, 1, 2)).tolist() == [[[0, 0]]]


def test_one_map_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best class's own map; over the peaks of an image the maximum."""
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    prms = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    zero = torch.zeros(3, dtype=torch.long)
    peaks = Peaks(torch.tensor([0, 1, 0]), zero, zero, zero, torch.ones(3))
    output = ClassifierOutput(maps, torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.1, 0.2]]), peaks, prms, [])
    monkeypatch.setattr(transfer, "activate", lambda filling, some: filling * some.prms)
    modules = {FillingJob(5, 0): 0.5, FillingJob(5, 0, True): 0.25, FillingJob(1, 0): 9.0,
               FillingJob(5, 1, True): 7.0}
    found = maps_of(Trained(None, None, modules, NETWORK, SETTINGS, None), output)
    best_classes = torch.stack([maps[0, 1], maps[1, 0]])[:, None]
    own = interpolate(best_classes, (32, 32), mode="bilinear", align_corners=False)[:, 0]
    assert list(found) == ["cam", "prm", "iam", "iam_unseen"]
    assert torch.allclose(found["cam"], own.clamp(min=0)) and found["cam"].min() == 0
    expected = torch.stack([prms[0].maximum(prms[2]), prms[1]])
    for row, factor in (("prm", 1), ("iam", 0.5), ("iam_unseen", 0.25)):
        assert torch.equal(found[row], factor * expected), row
    alone = Trained(None, None, {FillingJob(5, 0): 0.5}, NETWORK, SETTINGS, None)
    assert list(fillings(alone)) == ["iam"]


def photographs(sizes: list[tuple[int, int]]) -> list[SimpleNamespace]:
    found = []
    for number, size in enumerate(sizes):
        photo = Image.new("RGB", size)
        found.append(SimpleNamespace(id=f"i{number}", labels=("dog", "cat"), photo=lambda photo=photo: photo))
    return found


def test_boxes_from_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images, so that there are two batches.

    The larger of two pieces above a map's mean counts, cut at the image's border.
    """
    maps = torch.zeros(32, 32)
    maps[4:12, 8:24] = 1
    maps[20:24, 4:8] = 5
    samples = photographs([(32, 16), (16, 32), (64, 64)] + [(32, 32)] * 7)
    boxes = {sample.id: [Box("cat", 0, 0, 1, 1), Box("dog", 8, 4, 24, 12)] for sample in samples}
    boxes["i1"] = [Box("dog", 8, 4, 16, 20)]
    boxes["i2"] = [Box("dog", 0, 0, 32, 32), Box("dog", 16, 8, 48, 24)]
    batches = []

    def run_classifier(fcn, photos, side, map_side, choose):
        batches.append((len(photos), side, map_side))
        return len(photos)

    def known_maps(trained, images):
        return {"cam": maps.expand(images, -1, -1), "prm": torch.zeros(images, 32, 32)}

    monkeypatch.setattr(transfer, "run_classifier", run_classifier)
    monkeypatch.setattr(transfer, "maps_of", known_maps)
    trained = SimpleNamespace(fcn=None, network=SimpleNamespace(filling=TRAINING), settings=SETTINGS)
    found = located(trained, samples, boxes)
    assert batches == [(8, 64, 32), (2, 64, 32)]
    assert set(found) == {"cam", "prm", "whole_image", "centred_box"}
    # In i1 the wide piece is cut to 8 x 8 and the truth is twice as high; in i2 all is enlarged and smooth at
    # its edges.
    assert found["cam"][:2].tolist() == pytest.approx([1, 0.5])
    assert found["cam"][2] > 0.8 and found["cam"][3:].tolist() == [1] * 7
    assert found["prm"].tolist() == [0] * 10   # nothing is above the mean of a flat map
    whole = found["whole_image"]
    assert whole[[0, 1, 3]].tolist() == pytest.approx([128 / 512, 128 / 512, 128 / 1024])
    assert whole[2] == pytest.approx(0.25)   # the best of two truths
    # Centred in i0: 32 x 16 times the root of one half, 23 x 11 from (4, 2) to (27, 13).
    centred, truth = 23 * 11, 16 * 8
    assert found["centred_box"][0] == pytest.approx(16 * 8 / (centred + truth - 16 * 8))


def test_saliency_of_a_data_set(tmp_path: Path) -> None:
    """Peaks are another network's, with other classes; both filling modules only say how far they reach."""
    dataset = toy_dataset(tmp_path / "colours", 1, 1, 3)
    modules = {FillingJob(5, 0): toy_filling(0), FillingJob(5, 0, True): toy_filling(1)}
    trained = Trained(dataset, toy_fcn(), modules, NETWORK, SETTINGS, tmp_path)
    scored = salient(trained, toy_fcn(("one", "two", "three")), dataset.split("test"))
    assert scored.ids == ["test0", "test1", "test2"]
    assert set(scored.curves) == {"cam", "prm", "iam", "iam_unseen"}
    assert all(len(curves) == 3 for curves in scored.curves.values())
    # The toy's class maps are high on its objects.
    assert np.mean([one.mae for one in scored.curves["cam"]]) < 0.3
