"""Boxes of masks and their overlap with the truth: by hand, pixel by pixel, against torchvision."""
import numpy as np
import pytest
from boxes_by_pixel import RULES, around, box, drawn, flooded, pixels, random_boxes

from lib.base.problem import Problem
from lib.data.dataset import Box
from lib.metrics.localisation import (
    Rule,
    best_overlap,
    boxes_of,
    centred,
    overlaps,
    truth_boxes,
    whole_image,
)

# ---- boxes of a mask


def test_boxes_by_hand() -> None:
    mask = drawn("..##...",
                 "..#....",
                 ".......",
                 "#....##",
                 "....###")
    assert boxes_of(mask, "largest").tolist() == [[4, 3, 7, 5]]
    assert boxes_of(mask, "all").tolist() == [[2, 0, 4, 2], [0, 3, 1, 4], [4, 3, 7, 5]]


def test_the_largest_has_most_pixels_not_the_largest_box() -> None:
    mask = drawn("#...##",
                 ".#..##",
                 "..#.##")
    assert boxes_of(mask, "largest").tolist() == [[4, 0, 6, 3]]


@pytest.mark.parametrize("rows, first", [
    (("#.##", "#...", "..##"), [0, 0, 1, 2]),
    (("..##", "#...", "#.##"), [2, 0, 4, 1]),
    (("....#", "###.#", "....#"), [4, 0, 5, 3]),
])
def test_of_equal_components_the_first_in_scan_order(rows: tuple[str, ...], first: list[int]) -> None:
    """In the last, the column starts on an earlier line than the row that begins further to the left."""
    assert boxes_of(drawn(*rows), "largest").tolist() == [first]


def test_corners_connect() -> None:
    assert boxes_of(drawn("#..", ".#.", "#.."), "all").tolist() == [[0, 0, 2, 3]]
    assert boxes_of(drawn("#..", "...", "#.."), "all").tolist() == [[0, 0, 1, 1], [0, 2, 1, 3]]


@pytest.mark.parametrize("rule", RULES)
def test_empty_full_and_one_pixel(rule: Rule) -> None:
    empty = boxes_of(np.zeros((3, 5), dtype=bool), rule)
    assert empty.shape == (0, 4) and np.issubdtype(empty.dtype, np.integer)
    full = boxes_of(np.ones((3, 5), dtype=bool), rule)
    assert full.tolist() == [[0, 0, 5, 3]] and np.issubdtype(full.dtype, np.integer)
    assert boxes_of(drawn("...", "..#"), rule).tolist() == [[2, 1, 3, 2]]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_boxes_as_flooded(share: float, order: str) -> None:
    """Sparse masks hold many components of one size, dense ones winding components.

    The order in memory does not matter.
    """
    for seed in range(8):
        mask = np.array(np.random.default_rng(seed).random((14, 17)) < share, order=order)
        components = flooded(mask)
        assert len(components) > 1
        assert boxes_of(mask, "all").tolist() == [around(c) for c in components]
        assert boxes_of(mask, "largest").tolist() == [around(max(components, key=len))]


# ---- overlap


@pytest.mark.parametrize("a, b, expected", [
    ((0, 0, 4, 4), (0, 0, 4, 4), 1),
    ((2, 3, 9, 5), (2, 3, 9, 5), 1),
    ((0, 0, 4, 4), (4, 0, 8, 4), 0),   # they touch
    ((0, 0, 4, 4), (0, 4, 4, 8), 0),
    ((0, 0, 4, 4), (4, 4, 8, 8), 0),
    ((0, 0, 2, 2), (5, 5, 7, 7), 0),
    ((0, 0, 2, 2), (0, 5, 2, 7), 0),
    ((0, 0, 4, 4), (2, 2, 6, 6), 4 / 28),
    ((0, 0, 4, 2), (1, 1, 3, 2), 2 / 8),
    ((0, 0, 2, 4), (0, 0, 2, 2), 0.5),
    ((3, 3, 3, 3), (3, 3, 3, 3), 0),
    ((3, 3, 3, 3), (0, 0, 6, 6), 0),
])
def test_overlap_by_hand(a: tuple[int, ...], b: tuple[int, ...], expected: float) -> None:
    assert overlaps(box(*a), box(*b)).tolist() == overlaps(box(*b), box(*a)).tolist() == [[expected]]


def test_overlap_as_counted_pixel_by_pixel() -> None:
    boxes, truth = random_boxes(1, 30), random_boxes(2, 20)
    found = overlaps(boxes, truth)
    expected = np.zeros((30, 20))
    for i, j in np.ndindex(30, 20):
        ours, theirs = pixels(boxes[i]), pixels(truth[j])
        expected[i, j] = len(ours & theirs) / len(ours | theirs)
    assert found.shape == (30, 20) and found.dtype == np.float64
    assert np.array_equal(found, expected) and 0 < np.count_nonzero(expected) < found.size


def test_overlap_as_torchvision() -> None:
    torch = pytest.importorskip("torch")
    box_iou = pytest.importorskip("torchvision.ops", reason="torchvision is not installed").box_iou
    boxes, truth = random_boxes(3, 40), random_boxes(4, 25)
    expected = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(truth).double())
    np.testing.assert_allclose(overlaps(boxes, truth), expected.numpy())


def test_overlap_of_no_boxes() -> None:
    none, some = np.zeros((0, 4), dtype=int), random_boxes(5, 3)
    assert overlaps(none, some).shape == (0, 3) and overlaps(some, none).shape == (3, 0)


def test_best_overlap_by_hand() -> None:
    """The largest component has 4 of 8 pixels with its truth; the small one is right to the pixel."""
    mask = drawn("##...",
                 "##..#")
    near, exact = (0, 0, 4, 2), (4, 1, 5, 2)
    assert best_overlap(mask, box(*near), "largest") == best_overlap(mask, box(*near), "all") == 0.5
    assert best_overlap(mask, box(*exact), "largest") == 0 and best_overlap(mask, box(*exact), "all") == 1


def test_any_truth_box_counts() -> None:
    mask = drawn("##..", "##..")
    far, near = (3, 0, 4, 2), (0, 0, 2, 1)
    assert best_overlap(mask, box(*far), "largest") == 0
    for truth in ([far, near], [near, far]):
        assert best_overlap(mask, np.array(truth), "largest") == 0.5


@pytest.mark.parametrize("rule", RULES)
def test_best_overlap_of_an_empty_and_of_a_full_mask(rule: Rule) -> None:
    empty = best_overlap(np.zeros((4, 6), dtype=bool), whole_image((6, 4)), rule)
    assert isinstance(empty, float) and empty == 0
    assert best_overlap(np.ones((4, 6), dtype=bool), box(1, 1, 4, 3), rule) == 6 / 24
    assert best_overlap(np.ones((4, 6), dtype=bool), whole_image((6, 4)), rule) == 1


# ---- truth and baselines


def test_truth_boxes_of_one_class() -> None:
    """Width before height; a box may end at the border."""
    boxes = [Box("cat", 1, 2, 30, 20), Box("dog", 0, 0, 5, 5), Box("cat", 0, 0, 2, 3)]
    found = truth_boxes(boxes, "cat", (30, 20), "photo_1")
    assert found.tolist() == [[1, 2, 30, 20], [0, 0, 2, 3]] and np.issubdtype(found.dtype, np.integer)
    assert truth_boxes(boxes, "dog", (30, 20), "photo_1").tolist() == [[0, 0, 5, 5]]


@pytest.mark.parametrize("corners, words", [
    (None, 'has no box of class "cat"; '),
    ((3, 1, 3, 5), 'has a box of class "cat" (3, 1, 3, 5) without area; '),
    ((3, 5, 4, 5), "without area; "),
    ((4, 1, 3, 5), "without area; "),
    ((3, 5, 4, 1), "without area; "),
    ((4, 5, 3, 1), "without area; "),
    ((0, 0, 31, 20), 'has a box of class "cat" (0, 0, 31, 20) that reaches outside its 30x20 pixels; '),
    ((0, 0, 20, 21), "reaches outside"),
    ((-1, 0, 5, 5), "reaches outside"),
    ((0, -1, 5, 5), "reaches outside"),
])
def test_a_wrong_truth_is_one_sentence(corners: tuple[int, int, int, int] | None, words: str) -> None:
    """A later box is checked as well as the first."""
    boxes = [Box("dog", 0, 0, 5, 5)]
    if corners:
        boxes += [Box("cat", 0, 0, 5, 5), Box("cat", *corners)]
    with pytest.raises(Problem) as caught:
        truth_boxes(boxes, "cat", (30, 20), "photo_1")
    text = str(caught.value)
    assert text.startswith('The image "photo_1" has ') and words in text
    assert text.endswith(".") and text.count(".") == 1 and "\n" not in text


def test_whole_image() -> None:
    assert whole_image((7, 4)).tolist() == [[0, 0, 7, 4]]


@pytest.mark.parametrize("size, expected", [
    ((100, 50), [14, 7, 85, 42]),
    ((100, 40), [14, 6, 85, 34]),
    ((1, 1), [0, 0, 1, 1]),
    ((40, 1), [6, 0, 34, 1]),
])
def test_centred_by_hand(size: tuple[int, int], expected: list[int]) -> None:
    """71 of 100, 35 of 50, 28 of 40 pixels, and at least one."""
    assert centred(size).tolist() == [expected]


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (1001, 77)])
def test_centred_has_its_share_and_the_aspect_of_the_image(size: tuple[int, int]) -> None:
    """Up to half a pixel a side, half of the area."""
    found = centred(size)
    assert np.issubdtype(found.dtype, np.integer)
    sides = found[0, 2:] - found[0, :2]
    margins = np.array(size) - found[0, 2:] - found[0, :2]
    assert (np.abs(sides - np.sqrt(0.5) * np.array(size)) <= 0.5).all()
    assert ((margins == 0) | (margins == 1)).all()
