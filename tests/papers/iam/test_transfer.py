"""IAM on what its filling module never learnt: maps, boxes and restrictions by hand."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from iam_toys import NETWORK, SETTINGS, TRAINING, toy_dataset, toy_fcn, toy_filling
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Box
from lib.maps.peaks import Peaks
from lib.metrics.instances import Compared
from lib.papers.csoa.runs import Located
from lib.papers.iam import transfer as iam_transfer
from lib.papers.iam.method import Seen
from lib.papers.iam.rows import Trained
from lib.papers.iam.settings import FillingJob
from lib.papers.iam.transfer import (
    fillings,
    located,
    maps_of,
    ranks_of,
    restricted,
    saliency,
    salient,
    with_classes,
)


def test_restricted_by_hand() -> None:
    iou = np.arange(12).reshape(4, 3) / 12
    image = Compared(np.array([2, 0, 1, 2]), np.array([0.1, 0.2, 0.3, 0.4]), iou, np.array([1, 2, 0]), np.array([0.5, 0.6, 0.7]))
    found, = restricted([image], [2, 0])
    assert found.classes.tolist() == [2, 0, 2] and found.scores.tolist() == [0.1, 0.2, 0.4]
    assert found.truth_classes.tolist() == [2, 0] and found.truth_shares.tolist() == [0.6, 0.7]
    assert np.array_equal(found.iou, iou[[0, 1, 3]][:, [1, 2]])
    nothing, = restricted([image], [7])
    assert nothing.iou.shape == (0, 0) and image.iou.shape == (4, 3)


def test_ranks_are_by_image() -> None:
    named = Located(["a", "b", "c"], np.array([4, 0, 2]), np.array([-1] * 3), {}, np.zeros((3, 1)))
    assert ranks_of(named, ["c", "a"]).tolist() == [2, 4]
    with pytest.raises(Problem, match='"d".*csoa_train') as caught:
        ranks_of(named, ["c", "d", "e"])
    assert "\n" not in str(caught.value)
    both = with_classes(np.array([0.6, 0.1]), np.array([2, 4]))
    assert both.rank.tolist() == [2, 4] and both.overlap.tolist() == [[0.6], [0.1]]


def test_saliency_is_what_relu_leaves_of_the_logit() -> None:
    maps = torch.tensor([[[0.5, 0.8, 0.2, 0.6]]])
    expected = [0, 1, 0, np.log(1.5) / np.log(4)]
    for row in ("iam", "iam_unseen"):
        assert saliency(row, maps)[0, 0].tolist() == pytest.approx(expected, abs=1e-6)
        assert saliency(row, maps * 0.5).tolist() == [[[0] * 4]]   # nothing is above one half
        assert saliency(row, torch.tensor([[[0.0, 1.0]]])).tolist() == [[[0, 1]]]   # without end on either side
    for row in ("cam", "prm"):
        assert saliency(row, maps)[0, 0].tolist() == pytest.approx([0.625, 1, 0.25, 0.75])
        assert saliency(row, torch.zeros(1, 1, 2)).tolist() == [[[0, 0]]]


def test_one_map_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best class's own map; over the peaks of an image the maximum."""
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    prms = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    zero = torch.zeros(3, dtype=torch.long)
    seen = Seen(maps, torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.1, 0.2]]), Peaks(torch.tensor([0, 1, 0]), zero, zero, zero, torch.ones(3)), prms, [])
    monkeypatch.setattr(iam_transfer, "activate", lambda filling, some: filling * some.prms)
    of = Trained(None, None, {FillingJob(5, 0): 0.5, FillingJob(5, 0, True): 0.25, FillingJob(1, 0): 9.0, FillingJob(5, 1, True): 7.0}, NETWORK, SETTINGS, None)
    found = maps_of(of, seen, 2)
    own = torch.nn.functional.interpolate(torch.stack([maps[0, 1], maps[1, 0]])[:, None], (32, 32), mode="bilinear", align_corners=False)[:, 0]
    assert list(found) == ["cam", "prm", "iam", "iam_unseen"] and torch.allclose(found["cam"], own.clamp(min=0)) and found["cam"].min() == 0
    expected = torch.stack([prms[0].maximum(prms[2]), prms[1]])
    for row, factor in (("prm", 1), ("iam", 0.5), ("iam_unseen", 0.25)):
        assert torch.equal(found[row], factor * expected), row
    assert list(fillings(Trained(None, None, {FillingJob(5, 0): 0.5}, NETWORK, SETTINGS, None))) == ["iam"]


def test_boxes_from_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images, so that there are two batches; the larger of two pieces above a map's mean counts, cut at the image's border."""
    maps = torch.zeros(32, 32)
    maps[4:12, 8:24], maps[20:24, 4:8] = 1, 5
    sizes = [(32, 16), (16, 32), (64, 64)] + [(32, 32)] * 7
    samples = [SimpleNamespace(id=f"i{n}", labels=("dog", "cat"), photo=lambda size=size: Image.new("RGB", size)) for n, size in enumerate(sizes)]
    boxes = {sample.id: [Box("cat", 0, 0, 1, 1), Box("dog", 8, 4, 24, 12)] for sample in samples}
    boxes["i1"] = [Box("dog", 8, 4, 16, 20)]
    boxes["i2"] = [Box("dog", 0, 0, 32, 32), Box("dog", 16, 8, 48, 24)]
    batches = []

    def look(fcn, photos, side, map_side, choose):
        batches.append((len(photos), side, map_side))
        return "seen"

    monkeypatch.setattr(iam_transfer, "look", look)
    monkeypatch.setattr(iam_transfer, "maps_of", lambda of, seen, images: {"cam": maps.expand(images, -1, -1), "prm": torch.zeros(images, 32, 32)})
    found = located(SimpleNamespace(fcn=None, network=SimpleNamespace(filling=TRAINING), settings=SETTINGS), samples, boxes)
    assert batches == [(8, 64, 32), (2, 64, 32)] and set(found) == {"cam", "prm", "whole_image", "centred_box"}
    # in i1 the wide piece is cut to 8 x 8 and the truth is twice as high; in i2 all is enlarged and smooth at its edges
    assert found["cam"][:2].tolist() == pytest.approx([1, 0.5]) and found["cam"][2] > 0.8 and found["cam"][3:].tolist() == [1] * 7
    assert found["prm"].tolist() == [0] * 10   # nothing is above the mean of a flat map
    assert found["whole_image"][[0, 1, 3]].tolist() == pytest.approx([128 / 512, 128 / 512, 128 / 1024])
    assert found["whole_image"][2] == pytest.approx(0.25)   # the best of two truths
    width, height, truth = 23, 11, 16 * 8   # centred in i0: 32 x 16 times the root of one half, from (4, 2) to (27, 13)
    assert found["centred_box"][0] == pytest.approx(16 * 8 / (width * height + truth - 16 * 8))


def test_saliency_of_a_data_set(tmp_path) -> None:
    """Peaks are another network's, with classes of its own; both filling modules only say how far they reach."""
    dataset = toy_dataset(tmp_path / "colours", 1, 1, 3)
    of = Trained(dataset, toy_fcn(), {FillingJob(5, 0): toy_filling(0), FillingJob(5, 0, True): toy_filling(1)}, NETWORK, SETTINGS, tmp_path)
    scored = salient(of, toy_fcn(("one", "two", "three")), dataset.split("test"))
    assert scored.ids == ["test0", "test1", "test2"] and set(scored.curves) == {"cam", "prm", "iam", "iam_unseen"}
    assert all(len(curves) == 3 for curves in scored.curves.values())
    assert np.mean([one.mae for one in scored.curves["cam"]]) < 0.3   # the toy's class maps are high on its objects
