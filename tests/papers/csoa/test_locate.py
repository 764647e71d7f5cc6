"""Where networks of CSoA find objects, against pixels and boxes written out one by one."""
from pathlib import Path

import numpy as np
import pytest
import torch
from csoa_toys import CLASSES, toy_data, toy_trunk
from torch import nn
from torch.nn.functional import interpolate

from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.papers.csoa.batches import Squares, enlarged
from lib.papers.csoa.locate import at_thresholds, locate, segment, square_truth, ten_crop
from lib.papers.csoa.method import network_of, union
from lib.papers.csoa.runs import load_located, save_located
from lib.papers.csoa.two_classifiers import TwoClassifiers

TRIED = [0.2, 0.5, 0.8]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_data(tmp_path_factory.mktemp("data") / "shapes")


def net(variant: str = "csoa") -> TwoClassifiers:
    torch.manual_seed(5)
    made = network_of(variant, "4-5", toy_trunk(1), CLASSES[:2], 6)
    nn.init.normal_(made.w_l[-1].weight)   # maps that differ from place to place
    return made.requires_grad_(False)


def literal_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Of the largest component of a mask, found by flooding it."""
    left, best = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask))}, []
    while left:
        part, edge = [], [left.pop()]
        while edge:
            y, x = edge.pop()
            part.append((y, x))
            near = {(y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)} & left
            left -= near
            edge += near
        best = max(best, part, key=len)
    ys, xs = [y for y, _ in best], [x for _, x in best]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def literal_overlap(a: tuple, b: tuple) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_ranks_and_overlaps(data: Dataset) -> None:
    two, test = net(), [s for s in data.split("train") if s.labels[0] in CLASSES[:2]][:5]
    found = locate(two, test, data.boxes, Squares(32), TRIED, 2, "")
    assert found.ids == [s.id for s in test] and found.rank_ten.tolist() == [-1] * 5 and found.every.shape == (5, 3)
    for n, sample in enumerate(test):
        photo = sample.photo()
        small = torch.from_numpy(np.array(photo.resize((32, 32), 2))).permute(2, 0, 1)[None].float() / 255
        s_l, s_f = two(small)
        own = CLASSES.index(sample.labels[0])
        p = (s_l.mean((2, 3)).softmax(1) + s_f.mean((2, 3)).softmax(1))[0]
        assert found.rank[n] == int((p > p[own]).sum())
        box = data.boxes[sample.id][0]
        truth = (box.xmin * 32 / photo.width, box.ymin * 32 / photo.height, box.xmax * 32 / photo.width, box.ymax * 32 / photo.height)
        large = [interpolate(m[:, own:own + 1], (32, 32), mode="bilinear", align_corners=False)[0, 0] for m in (s_l, s_f)]
        for t, theta in enumerate(TRIED):
            masks = [(m > theta * m.max()).numpy() for m in large]
            for name, mask in (("s_l", masks[0]), ("s_f", masks[1]), ("union", masks[0] | masks[1])):
                expected = literal_overlap(literal_box(mask), truth) if mask.any() else 0
                assert found.largest[name][n, t] == pytest.approx(expected, abs=1e-6), (name, theta)
            assert found.every[n, t] >= found.largest["union"][n, t] - 1e-9


def test_one_classifier_has_one_map(data: Dataset) -> None:
    found = locate(net("base"), data.split("val"), data.boxes, Squares(32), TRIED, 8, "")
    assert set(found.largest) == {"union", "s_l"} and np.array_equal(found.largest["union"], found.largest["s_l"])


def test_a_map_of_zeros_finds_nothing(data: Dataset) -> None:
    empty = net()
    for head in (empty.w_l, empty.w_f):
        nn.init.zeros_(head[-1].weight)
    found = locate(empty, data.split("val"), data.boxes, Squares(32), TRIED, 8, "")
    assert all((overlap == 0).all() for overlap in found.largest.values()) and (found.every == 0).all()
    assert [one.box for one in segment(empty, [s.photo() for s in data.split("val")], 32, 0.2)] == [None] * 4


def test_ten_crops(data: Dataset) -> None:
    """The corners and the middle of the larger square, and each mirrored."""
    two, images = net(), torch.rand(2, 3, 37, 37)
    views = [images[..., y:y + 32, x:x + 32] for y, x in ((0, 0), (0, 5), (5, 0), (5, 5), (2, 2))]
    views += [v.flip(3) for v in views]
    maps = [two(v.contiguous()) for v in views]
    expected = sum(a.mean((2, 3)).softmax(1) + b.mean((2, 3)).softmax(1) for a, b in maps) / 20
    assert torch.allclose(ten_crop(two, images, 32), expected, atol=1e-6)
    found = locate(two, data.split("val"), data.boxes, Squares(32), TRIED, 8, "", Squares(enlarged(32)))
    assert set(found.rank_ten.tolist()) <= {0, 1}


def test_truth_of_another_shape_is_scaled(data: Dataset) -> None:
    sample = data.split("val")[0]   # 48 x 40
    box = data.boxes[sample.id][0]
    assert square_truth(sample, data.boxes, Squares(96)).tolist() == [pytest.approx([2 * box.xmin, 2.4 * box.ymin, 2 * box.xmax, 2.4 * box.ymax])]


def test_what_was_found_is_kept(data: Dataset, tmp_path: Path) -> None:
    found = locate(net("base"), data.split("val"), data.boxes, Squares(32), TRIED, 8, "")
    save_located(tmp_path / "val.npz", found, "print")
    back = load_located(tmp_path / "val.npz", "print")
    assert back.ids == found.ids and np.array_equal(back.rank, found.rank) and all(np.array_equal(back.largest[k], v) for k, v in found.largest.items())
    assert load_located(tmp_path / "val.npz", "another") is None and load_located(tmp_path / "no.npz", "print") is None
    (tmp_path / "val.npz").write_bytes((tmp_path / "val.npz").read_bytes()[:200])
    assert load_located(tmp_path / "val.npz", "print") is None   # is looked at again
    with pytest.raises(Problem, match="val.npz: missing or damaged; run the stage csoa_train again"):
        load_located(tmp_path / "val.npz")


def test_segmentation_is_the_union(data: Dataset) -> None:
    """Heat above theta is what either map has above its share of its own maximum."""
    two, photos = net(), [s.photo() for s in data.split("val")]
    for one, photo in zip(segment(two, photos, 32, 0.4), photos):
        small = torch.from_numpy(np.array(photo.resize((32, 32), 2))).permute(2, 0, 1)[None].float() / 255
        own = CLASSES.index(one.name)
        large = [interpolate(m[:, own:own + 1], (32, 32), mode="bilinear", align_corners=False)[0, 0] for m in two(small)]
        if all(m.max() > 0 for m in large):
            expected = union(*large, 0.4)
            assert ((one.heat[0] > 0.4) == expected).float().mean() > 0.999   # a pixel may lie on the threshold
            x, y, right, bottom = literal_box(expected.numpy())
            assert one.box == (round(x * 48 / 32), round(y * 40 / 32), round(right * 48 / 32), round(bottom * 40 / 32))


def test_masks_at_thresholds_shrink() -> None:
    maps = {"s_l": torch.rand(4, 4), "s_f": torch.rand(4, 4)}
    masks = at_thresholds(maps, 16, TRIED)
    areas = [int(mask.sum()) for mask in masks["union"]]
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[-1] > 0
    assert all(np.array_equal(masks["union"][t], masks["s_l"][t] | masks["s_f"][t]) for t in range(3))
