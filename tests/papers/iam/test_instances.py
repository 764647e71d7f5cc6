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
    ClassBoxes,
    InstanceMasks,
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
from lib.papers.iam.method import ClassifierOutput

HALF = 0.5   # what sigmoid makes of a class score of 0


def output_of(peaks: list[tuple[int, float]], prms: Tensor, maps: Tensor | None = None,
              scores: Tensor | None = None) -> ClassifierOutput:
    """Peaks are (class, value).

    Class maps are 2 everywhere, so that no pixel is background and a value of 2 is the highest there is.
    """
    label = torch.tensor([k for k, _ in peaks], dtype=torch.long)
    value = torch.tensor([v for _, v in peaks])
    nowhere = torch.zeros(len(peaks), dtype=torch.long)
    return ClassifierOutput(torch.full((1, 3, 8, 8), 2.0) if maps is None else maps,
                            torch.zeros(1, 3) if scores is None else scores,
                            Peaks(nowhere, label, nowhere, nowhere, value), prms, [])


def dots(*places: tuple[int, int] | None) -> Tensor:
    """A response map `(8, 8)` of a padded square for each place: 3 x 2 pixels from there on, or none."""
    maps = torch.zeros(len(places), 8, 8)
    for one, place in zip(maps, places, strict=True):
        if place:
            one[place[0]:place[0] + 3, place[1]:place[1] + 2] = 1 / 6
    return maps


def halves() -> np.ndarray:
    """Proposals `(2, 12, 16)`: left, right."""
    left = np.zeros((12, 16), dtype=bool)
    left[:, :8] = True
    return np.stack([left, ~left])


LEFT = np.broadcast_to(np.arange(33) < 16, (25, 33))   # the nearest of 16 columns is one of the first eight
A = (0, 2.0), (1, 1)   # two peaks of class 0 on the left,
B = (0, 1.0), (2, 1)
C = (1, 1.5), (1, 5)   # one of class 1 on the right


def prm_of(*peaks: tuple, proposals: np.ndarray | None = None) -> InstanceMasks:
    output = output_of([peak for peak, _ in peaks], dots(*(place for _, place in peaks)))
    return prm_instances(output, halves() if proposals is None else proposals, (25, 33), SETTINGS)


def nothing_in(found: InstanceMasks) -> bool:
    return len(found.classes) == len(found.scores) == len(found.values) == 0


def test_prm_by_hand() -> None:
    """The weaker of two peaks on one object goes; the rest by confidence, each with its own peak's value."""
    found = prm_of(B, C, A)
    assert found.classes.tolist() == [0, 1] and found.values.tolist() == [2.0, 1.5]
    assert found.scores.tolist() == pytest.approx([HALF, HALF * 1.5 / 2])
    assert found.masks.dtype == bool and np.array_equal(found.masks, [LEFT, ~LEFT])


def test_prm_with_one_proposal() -> None:
    found = prm_of(B, C, A, proposals=halves()[:1])
    assert found.classes.tolist() == [0, 1]
    assert np.array_equal(found.masks, [LEFT, LEFT])   # of two classes both stay


def test_prm_with_nothing_to_find() -> None:
    for found in (prm_of(A, C, proposals=halves()[:0]), prm_of(), prm_of(((0, 2.0), None))):
        assert found.masks.shape == (0, 25, 33) and found.masks.dtype == bool
        assert nothing_in(found)
    assert prm_of(((0, 2.0), None), C).values.tolist() == [1.5]


def test_what_prm_takes_for_background_is_told_by_the_peaks_own_class() -> None:
    """A map that lies half and half: the class map says which of the sides is background."""
    maps = torch.full((1, 3, 8, 8), 2.0)
    maps[0, 0, :, :4] = -3
    maps[0, 1, :, 4:] = -3
    middle = torch.zeros(1, 8, 8)
    middle[0, 1:4, 2:6] = 1 / 12
    for k, expected in ((0, ~LEFT), (1, LEFT)):
        found = prm_instances(output_of([(k, 2.0)], middle, maps), halves(), (25, 33), SETTINGS)
        assert np.array_equal(found.masks, expected[None])


# activation maps

def iam_of(foreground: Tensor, peaks: list[tuple[int, float]], size: tuple[int, int],
           level: float = 0.5) -> InstanceMasks:
    """`foreground` is what refinement makes of the maps."""
    maps = torch.zeros(len(peaks), 8, 8)
    return iam_instances(Image.new("RGB", size), output_of(peaks, maps), maps, replace(SETTINGS, level=level),
                         lambda photo, some: foreground)


def test_masks_are_cut_at_the_photographs_own_size() -> None:
    """Columns 1 and 0 become 1, 0.75, 0.25, 0 (bilinear)."""
    step = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    for level, columns in ((0.5, 2), (0.75, 2), (0.76, 1), (0.25, 3)):
        found = iam_of(step, [(2, 1.0)], (4, 6), level)
        assert np.array_equal(found.masks, [np.broadcast_to(np.arange(4) < columns, (6, 4))]), level
    assert found.classes.tolist() == [2] and found.values.tolist() == [1.0]
    assert found.scores.tolist() == pytest.approx([HALF / 2])


def test_suppression_within_a_class_alone() -> None:
    """The second and third cover the same pixels; a map that never reaches the level has no mask."""
    maps = torch.zeros(4, 6, 6)
    maps[0, :3] = 1
    maps[1, 3:] = 1
    maps[2, 3:] = 1
    maps[3] = 0.49
    peaks = [(0, 1.2), (0, 1.0), (0, 1.4), (0, 2.0)]
    found = iam_of(maps, peaks, (6, 6))
    assert np.allclose(found.values, [1.4, 1.2])
    assert found.masks[:, 0, 0].tolist() == [False, True] and found.masks[:, 5, 0].tolist() == [True, False]
    peaks[1] = (1, 1.0)
    found = iam_of(maps, peaks, (6, 6))
    assert found.classes.tolist() == [0, 0, 1] and np.allclose(found.values, [1.4, 1.2, 1.0])
    assert np.allclose(found.scores, HALF * found.values / 2)


def test_no_activation_map_is_no_mask() -> None:
    for foreground, peaks in ((torch.zeros(0, 5, 9), []), (torch.zeros(2, 5, 9), [(0, 1.0), (1, 1.0)])):
        found = iam_of(foreground, peaks, (11, 7))
        assert found.masks.shape == (0, 7, 11) and found.masks.dtype == bool and nothing_in(found)


@pytest.mark.parametrize("size", [(33, 25), (25, 33), (9, 3), (301, 203)])
@pytest.mark.parametrize("refine", [unrefined, by_convcrf(SETTINGS.crf), by_dense_crf(SETTINGS.dense_crf)],
                         ids=["unrefined", "convcrf", "dense"])
def test_sizes_and_sides(refine, size: tuple[int, int]) -> None:
    """Two colours: whatever refines, a map of the left half stays left, at the photograph's size."""
    width, height = size
    photo = Image.new("RGB", size, (200, 40, 40))
    photo.paste((40, 40, 200), (width // 2, 0, width, height))
    m = 8   # of a padded square of the longest side
    maps = torch.zeros(2, m, m)
    maps[0, :, :round(m * width / max(size) / 2)] = 1
    found = iam_instances(photo, output_of([(0, 2.0), (1, 2.0)], maps), maps, SETTINGS, refine)
    assert found.masks.shape == (1, height, width) and found.classes.tolist() == [0]
    assert found.masks[0, :, :width // 3].all() and not found.masks[0, :, -(width // 3):].any()


def test_what_refinement_gives_back() -> None:
    photo = Image.new("RGB", (300, 200), (90, 90, 90))
    for refine, shape in ((unrefined, (200, 300)), (by_convcrf(SETTINGS.crf), (167, 250)),
                          (by_dense_crf(SETTINGS.dense_crf), (167, 250))):
        assert refine(photo, torch.zeros(0, 8, 8)).shape == (0, *shape)
        found = refine(photo, torch.stack([torch.full((8, 8), 0.9), torch.full((8, 8), 0.1)]))
        assert found.shape == (2, *shape) and found[0].min() > 0.5 > found[1].max()
        assert found.min() >= 0 and found.max() <= 1


# boxes

def boxes_of_maps(maps: Tensor, scores: Tensor, shape: tuple[int, int], share: float) -> ClassBoxes:
    return cam_boxes(output_of([], torch.zeros(0, 8, 8), maps, scores), shape, share)


def test_boxes_around_cams_by_hand() -> None:
    """Class 0 has pieces of 4 and 2, class 1 is not there, class 2 has nothing positive."""
    maps = torch.full((1, 3, 8, 8), -1.0)
    maps[0, :2, 1:3, 1:4] = 4
    maps[0, :2, 5:7, 5:8] = 2
    scores = torch.tensor([[1.0, -1.0, 1.0]])
    sure = 1 / (1 + np.exp(-1))
    both = boxes_of_maps(maps, scores, (8, 8), 0.3)
    assert both.boxes.tolist() == [[1, 1, 4, 3], [5, 5, 8, 7]] and both.classes.tolist() == [0, 0]
    assert both.scores.tolist() == pytest.approx([sure, sure / 2])
    higher = boxes_of_maps(maps, scores, (8, 8), 0.5)
    assert higher.boxes.tolist() == [[1, 1, 4, 3]] and higher.classes.tolist() == [0]
    assert higher.scores.tolist() == pytest.approx([sure])
    cut = boxes_of_maps(maps, scores, (6, 8), 0.3)   # the rest of the square is padding
    assert cut.boxes.tolist() == [[1, 1, 4, 3], [5, 5, 8, 6]]
    for nothing in (boxes_of_maps(maps, torch.zeros(1, 3), (8, 8), 0.3),
                    boxes_of_maps(-maps.abs(), scores, (8, 8), 0.3)):
        assert nothing.boxes.shape == (0, 4) and len(nothing.classes) == len(nothing.scores) == 0


def test_a_cam_is_enlarged_before_it_is_cut() -> None:
    """Twice as large a map: of the step from 4 to 0 the pixels 3 and 1; above half of 4 the former counts."""
    maps = torch.zeros(1, 3, 8, 8)
    maps[0, 2, 2:4, 2:4] = 4
    found = boxes_of_maps(maps, torch.ones(1, 3), (16, 12), 0.7)
    assert found.boxes.tolist() == [[4, 4, 8, 8]] and found.classes.tolist() == [2]
    assert boxes_of_maps(maps, torch.ones(1, 3), (16, 12), 0.2).boxes.tolist() == [[3, 3, 9, 9]]


def test_a_pieces_confidence_is_its_own() -> None:
    """The first piece runs along two sides of the image: the second lies inside its box, and is higher."""
    maps = torch.zeros(1, 3, 8, 8)
    maps[0, 0, :, 0] = 2
    maps[0, 0, 7] = 2
    maps[0, 0, 2, 5] = 4
    found = boxes_of_maps(maps, torch.tensor([[100.0, -1, -1]]), (8, 8), 0.3)
    assert found.boxes.tolist() == [[0, 0, 8, 8], [5, 2, 6, 3]]
    assert found.scores.tolist() == pytest.approx([0.5, 1])


def test_truth_boxes_with_gaps_in_numbering() -> None:
    numbers = np.zeros((7, 9), dtype=np.uint8)
    numbers[4:] = 255
    numbers[1:3, 2:8] = 9
    numbers[6, 0] = 3
    found = truth_boxes(numbers, {3: 1, 9: 0})
    assert found.boxes.tolist() == [[0, 6, 1, 7], [2, 1, 8, 3]]
    assert found.classes.tolist() == [1, 0] and found.scores.tolist() == [1, 1]
    nothing = truth_boxes(numbers, {})
    assert nothing.boxes.shape == (0, 4) and len(nothing.classes) == len(nothing.scores) == 0


def test_three_ways_from_a_box_to_a_mask() -> None:
    shape = (20, 30)
    small = np.zeros((2, 10, 15), dtype=bool)
    small[0, :9, :9] = True
    small[1, 1:6, 2:7] = np.eye(5, dtype=bool)   # the second's own box is the one at half the size
    box = ClassBoxes(np.array([[4, 2, 14, 12]]), np.array([2]), np.array([0.7]))
    found = box_instances(box, small, shape)
    y, x = np.mgrid[:20, :30] + 0.5
    assert np.array_equal(found["rect"].masks, [(abs(x - 9) < 5) & (abs(y - 7) < 5)])
    assert np.array_equal(found["ellipse"].masks, [(x - 9) ** 2 + (y - 7) ** 2 <= 25])
    expected = np.zeros(shape, dtype=bool)
    expected[2:12, 4:14] = np.eye(5, dtype=bool).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(found["mcg"].masks, [expected])
    for one in found.values():
        assert one.classes.tolist() == [2] and one.scores.tolist() == [0.7]
        assert one.values.tolist() == [np.inf]
        assert one.masks.dtype == bool
    nothing = box_instances(ClassBoxes(np.zeros((0, 4), int), np.zeros(0, int), np.zeros(0)), small, shape)
    assert list(nothing) == ["rect", "ellipse", "mcg"]
    assert all(one.masks.shape == (0, *shape) and len(one.values) == 0 for one in nothing.values())
    assert not box_instances(box, small[:0], shape)["mcg"].masks.any()   # no proposal at all


def test_enlarged_by_hand() -> None:
    masks = torch.tensor([[[True, False, True], [False, True, False]], [[False] * 3, [True] * 3]])
    rows = np.array([0, 0, 1, 1])
    columns = np.array([0, 0, 1, 1, 1, 2, 2])
    found = enlarged(masks, (4, 7))
    assert found.dtype == bool and np.array_equal(found, masks.numpy()[:, rows][:, :, columns])
    nothing = enlarged(masks[:0], (4, 7))
    assert nothing.shape == (0, 4, 7) and nothing.dtype == bool
