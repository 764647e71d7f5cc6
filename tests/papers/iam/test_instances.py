"""Instance masks of one image, from hand-made peaks, maps and proposals."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from iam_toys import SETTINGS
from PIL import Image
from torch import Tensor

from lib.maps.peaks import Peaks
from lib.papers.iam.instances import (
    Found,
    box_instances,
    by_convcrf,
    by_dense_crf,
    cam_boxes,
    enlarged,
    iam_instances,
    prm_instances,
    truth_boxes,
    unrefined,
)
from lib.papers.iam.method import Seen

HALF = 0.5   # what sigmoid makes of a class score of 0


def seen_of(peaks: list[tuple[int, float]], prms: Tensor, maps: Tensor | None = None, scores: Tensor | None = None) -> Seen:
    """Peaks are (class, value); class maps are 2 everywhere, so that no pixel is background and a value of 2 is the highest there is."""
    label, value = torch.tensor([k for k, _ in peaks], dtype=torch.long), torch.tensor([v for _, v in peaks])
    nowhere = torch.zeros(len(peaks), dtype=torch.long)
    return Seen(torch.full((1, 3, 8, 8), 2.0) if maps is None else maps, torch.zeros(1, 3) if scores is None else scores,
                Peaks(nowhere, label, nowhere, nowhere, value), prms, [])


def dots(*places: tuple[int, int] | None) -> Tensor:
    """A response map `(8, 8)` of a padded square for each place, of 3 x 2 pixels from there on; None: an empty map."""
    maps = torch.zeros(len(places), 8, 8)
    for one, place in zip(maps, places):
        if place:
            one[place[0]:place[0] + 3, place[1]:place[1] + 2] = 1 / 6
    return maps


def halves() -> np.ndarray:
    """Proposals `(2, 12, 16)`: left, right."""
    left = np.zeros((12, 16), dtype=bool)
    left[:, :8] = True
    return np.stack([left, ~left])


LEFT = np.broadcast_to(np.arange(33) < 16, (25, 33))   # the nearest of 16 columns is one of the first eight
A, B, C = ((0, 2.0), (1, 1)), ((0, 1.0), (2, 1)), ((1, 1.5), (1, 5))   # two peaks of class 0 on the left, one of class 1 on the right


def prm_of(*peaks: tuple, proposals: np.ndarray | None = None) -> Found:
    seen = seen_of([peak for peak, _ in peaks], dots(*(place for _, place in peaks)))
    return prm_instances(seen, halves() if proposals is None else proposals, (25, 33), SETTINGS)


def test_prm_by_hand() -> None:
    """The weaker of two peaks on one object goes; what is left is by confidence, each with its own peak's value."""
    found = prm_of(B, C, A)
    assert found.classes.tolist() == [0, 1] and found.values.tolist() == [2.0, 1.5]
    assert found.scores.tolist() == pytest.approx([HALF, HALF * 1.5 / 2])
    assert found.masks.dtype == bool and np.array_equal(found.masks, [LEFT, ~LEFT])


def test_prm_with_one_proposal() -> None:
    found = prm_of(B, C, A, proposals=halves()[:1])
    assert found.classes.tolist() == [0, 1] and np.array_equal(found.masks, [LEFT, LEFT])   # of two classes both stay


def test_prm_with_nothing_to_find() -> None:
    for found in (prm_of(A, C, proposals=halves()[:0]), prm_of(), prm_of(((0, 2.0), None))):
        assert found.masks.shape == (0, 25, 33) and found.masks.dtype == bool
        assert len(found.classes) == len(found.scores) == len(found.values) == 0
    assert prm_of(((0, 2.0), None), C).values.tolist() == [1.5]


def test_what_prm_takes_for_background_is_told_by_the_peaks_own_class() -> None:
    """A map that lies half and half: the class map says which of the sides is background."""
    maps = torch.full((1, 3, 8, 8), 2.0)
    maps[0, 0, :, :4], maps[0, 1, :, 4:] = -3, -3
    middle = torch.zeros(1, 8, 8)
    middle[0, 1:4, 2:6] = 1 / 12
    for k, expected in ((0, ~LEFT), (1, LEFT)):
        assert np.array_equal(prm_instances(seen_of([(k, 2.0)], middle, maps), halves(), (25, 33), SETTINGS).masks, expected[None])


# activation maps

def iam_of(foreground: Tensor, peaks: list[tuple[int, float]], size: tuple[int, int], level: float = 0.5) -> Found:
    """`foreground` is what refinement makes of the maps."""
    maps = torch.zeros(len(peaks), 8, 8)
    return iam_instances(Image.new("RGB", size), seen_of(peaks, maps), maps, replace(SETTINGS, level=level), lambda photo, some: foreground)


def test_masks_are_cut_at_the_photographs_own_size() -> None:
    """Columns 1 and 0 become 1, 0.75, 0.25, 0 (bilinear)."""
    step = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    for level, columns in ((0.5, 2), (0.75, 2), (0.76, 1), (0.25, 3)):
        found = iam_of(step, [(2, 1.0)], (4, 6), level)
        assert np.array_equal(found.masks, [np.broadcast_to(np.arange(4) < columns, (6, 4))]), level
    assert found.classes.tolist() == [2] and found.values.tolist() == [1.0] and found.scores.tolist() == pytest.approx([HALF / 2])


def test_suppression_within_a_class_alone() -> None:
    """The second and third cover the same pixels; a map that never reaches the level has no mask."""
    maps = torch.zeros(4, 6, 6)
    maps[0, :3], maps[1, 3:], maps[2, 3:], maps[3] = 1, 1, 1, 0.49
    peaks = [(0, 1.2), (0, 1.0), (0, 1.4), (0, 2.0)]
    found = iam_of(maps, peaks, (6, 6))
    assert np.allclose(found.values, [1.4, 1.2]) and found.masks[:, 0, 0].tolist() == [False, True] and found.masks[:, 5, 0].tolist() == [True, False]
    peaks[1] = (1, 1.0)
    found = iam_of(maps, peaks, (6, 6))
    assert found.classes.tolist() == [0, 0, 1] and np.allclose(found.values, [1.4, 1.2, 1.0]) and np.allclose(found.scores, HALF * found.values / 2)


def test_no_activation_map_is_no_mask() -> None:
    for foreground, peaks in ((torch.zeros(0, 5, 9), []), (torch.zeros(2, 5, 9), [(0, 1.0), (1, 1.0)])):
        found = iam_of(foreground, peaks, (11, 7))
        assert found.masks.shape == (0, 7, 11) and found.masks.dtype == bool and len(found.classes) == len(found.scores) == len(found.values) == 0


@pytest.mark.parametrize("size", [(33, 25), (25, 33), (9, 3), (301, 203)])
@pytest.mark.parametrize("refine", [unrefined, by_convcrf(SETTINGS.crf), by_dense_crf(SETTINGS.dense_crf)], ids=["unrefined", "convcrf", "dense"])
def test_sizes_and_sides(refine, size: tuple[int, int]) -> None:
    """A photograph of two colours: whatever refines, what a map of the left half has stays left, at the photograph's size."""
    width, height = size
    photo = Image.new("RGB", size, (200, 40, 40))
    photo.paste((40, 40, 200), (width // 2, 0, width, height))
    m = 8   # of a padded square of the longest side
    maps = torch.zeros(2, m, m)
    maps[0, :, :round(m * width / max(size) / 2)] = 1
    found = iam_instances(photo, seen_of([(0, 2.0), (1, 2.0)], maps), maps, SETTINGS, refine)
    assert found.masks.shape == (1, height, width) and found.classes.tolist() == [0]
    assert found.masks[0, :, :width // 3].all() and not found.masks[0, :, -(width // 3):].any()


def test_what_refinement_gives_back() -> None:
    photo = Image.new("RGB", (300, 200), (90, 90, 90))
    for refine, shape in ((unrefined, (200, 300)), (by_convcrf(SETTINGS.crf), (167, 250)), (by_dense_crf(SETTINGS.dense_crf), (167, 250))):
        assert refine(photo, torch.zeros(0, 8, 8)).shape == (0, *shape)
        found = refine(photo, torch.stack([torch.full((8, 8), 0.9), torch.full((8, 8), 0.1)]))
        assert found.shape == (2, *shape) and found[0].min() > 0.5 > found[1].max() and found.min() >= 0 and found.max() <= 1


# boxes

def test_boxes_around_cams_by_hand() -> None:
    """Class 0 has pieces of 4 and 2, class 1 is not there, class 2 has nothing positive."""
    maps = torch.full((1, 3, 8, 8), -1.0)
    maps[0, :2, 1:3, 1:4], maps[0, :2, 5:7, 5:8] = 4, 2
    seen = seen_of([], torch.zeros(0, 8, 8), maps, torch.tensor([[1.0, -1.0, 1.0]]))
    sure = 1 / (1 + np.exp(-1))
    for share, boxes, scores in ((0.3, [[1, 1, 4, 3], [5, 5, 8, 7]], [sure, sure / 2]), (0.5, [[1, 1, 4, 3]], [sure])):
        found = cam_boxes(seen, (8, 8), share)
        assert found[0].tolist() == boxes and found[1].tolist() == [0] * len(boxes) and found[2].tolist() == pytest.approx(scores)
    assert cam_boxes(seen, (6, 8), 0.3)[0].tolist() == [[1, 1, 4, 3], [5, 5, 8, 6]]   # the rest of the square is padding
    for nothing in (cam_boxes(replace(seen, scores=torch.zeros(1, 3)), (8, 8), 0.3), cam_boxes(replace(seen, maps=-maps.abs()), (8, 8), 0.3)):
        assert nothing[0].shape == (0, 4) and len(nothing[1]) == len(nothing[2]) == 0


def test_a_cam_is_enlarged_before_it_is_cut() -> None:
    """Twice as large a map: of the step from 4 to 0 the pixels 3 and 1; above 0.5 of 4 only the former counts."""
    maps = torch.zeros(1, 3, 8, 8)
    maps[0, 2, 2:4, 2:4] = 4
    found = cam_boxes(seen_of([], torch.zeros(0, 8, 8), maps, torch.ones(1, 3)), (16, 12), 0.7)
    assert found[0].tolist() == [[4, 4, 8, 8]] and found[1].tolist() == [2]
    assert cam_boxes(seen_of([], torch.zeros(0, 8, 8), maps, torch.ones(1, 3)), (16, 12), 0.2)[0].tolist() == [[3, 3, 9, 9]]


def test_a_pieces_confidence_is_its_own() -> None:
    """The first piece runs along two sides of the image: the second lies inside its box, and is higher."""
    maps = torch.zeros(1, 3, 8, 8)
    maps[0, 0, :, 0], maps[0, 0, 7], maps[0, 0, 2, 5] = 2, 2, 4
    boxes, _, scores = cam_boxes(seen_of([], torch.zeros(0, 8, 8), maps, torch.tensor([[100.0, -1, -1]])), (8, 8), 0.3)
    assert boxes.tolist() == [[0, 0, 8, 8], [5, 2, 6, 3]] and scores.tolist() == pytest.approx([0.5, 1])


def test_truth_boxes_with_gaps_in_numbering() -> None:
    numbers = np.zeros((7, 9), dtype=np.uint8)
    numbers[4:], numbers[1:3, 2:8], numbers[6, 0] = 255, 9, 3
    boxes, classes, scores = truth_boxes(numbers, {3: 1, 9: 0})
    assert boxes.tolist() == [[0, 6, 1, 7], [2, 1, 8, 3]] and classes.tolist() == [1, 0] and scores.tolist() == [1, 1]
    assert [len(part) for part in truth_boxes(numbers, {})] == [0, 0, 0] and truth_boxes(numbers, {})[0].shape == (0, 4)


def test_three_ways_from_a_box_to_a_mask() -> None:
    shape, small = (20, 30), np.zeros((2, 10, 15), dtype=bool)
    small[0, :9, :9], small[1, 1:6, 2:7] = True, np.eye(5, dtype=bool)   # the second's own box is the one at half the size
    found = box_instances(np.array([[4, 2, 14, 12]]), np.array([2]), np.array([0.7]), small, shape)
    y, x = np.mgrid[:20, :30] + 0.5
    assert np.array_equal(found["rect"].masks, [(abs(x - 9) < 5) & (abs(y - 7) < 5)])
    assert np.array_equal(found["ellipse"].masks, [(x - 9) ** 2 + (y - 7) ** 2 <= 25])
    expected = np.zeros(shape, dtype=bool)
    expected[2:12, 4:14] = np.eye(5, dtype=bool).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(found["mcg"].masks, [expected])
    for one in found.values():
        assert one.classes.tolist() == [2] and one.scores.tolist() == [0.7] and one.values.tolist() == [np.inf] and one.masks.dtype == bool
    nothing = box_instances(np.zeros((0, 4), int), np.zeros(0, int), np.zeros(0), small, shape)
    assert list(nothing) == ["rect", "ellipse", "mcg"] and all(one.masks.shape == (0, *shape) and len(one.values) == 0 for one in nothing.values())
    assert not box_instances(np.array([[4, 2, 14, 12]]), np.array([2]), np.array([0.7]), small[:0], shape)["mcg"].masks.any()   # no proposal at all


def test_enlarged_by_hand() -> None:
    masks = torch.tensor([[[True, False, True], [False, True, False]], [[False] * 3, [True] * 3]])
    rows, columns = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1, 1, 2, 2])
    found = enlarged(masks, (4, 7))
    assert found.dtype == bool and np.array_equal(found, masks.numpy()[:, rows][:, :, columns])
    assert enlarged(masks[:0], (4, 7)).shape == (0, 4, 7) and enlarged(masks[:0], (4, 7)).dtype == bool
