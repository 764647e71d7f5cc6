"""Boxes of masks, their overlap with the truth, localisation errors and MaxBoxAccV2: by hand, pixel by pixel, against torchvision."""
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lib.data.dataset import Box
from lib.metrics.bootstrap import draws
from lib.metrics.localisation import (
    Localised, Rule, best_overlap, boxes_of, centred, errors, max_box_acc, max_box_acc_v2, overlaps, truth_boxes, whole_image)
from lib.problem import Problem

Pixels = set[tuple[int, int]]
RULES: tuple[Rule, ...] = ("largest", "all")
THRESHOLDS = np.arange(0.1, 1, 0.1)


def drawn(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def box(*corners: int) -> np.ndarray:
    return np.array([corners])


def random_boxes(seed: int, number: int, size: tuple[int, int] = (24, 18)) -> np.ndarray:
    """Of at least one pixel, inside an image of `size` (width, height)."""
    rng = np.random.default_rng(seed)
    corners = [sorted(rng.choice(side + 1, 2, replace=False)) for _ in range(number) for side in size]
    return np.array([(x[0], y[0], x[1], y[1]) for x, y in zip(corners[::2], corners[1::2])])


def pixels(corners: np.ndarray) -> Pixels:
    return {(x, y) for x in range(corners[0], corners[2]) for y in range(corners[1], corners[3])}


def flooded(mask: np.ndarray) -> list[Pixels]:
    """The 8-connected components, by filling from each pixel in scan order."""
    free = {(int(x), int(y)): None for y, x in np.argwhere(mask)}
    found = []
    while free:
        waiting, component = [next(iter(free))], set()
        while waiting:
            x, y = waiting.pop()
            if (x, y) in free:
                del free[x, y]
                component.add((x, y))
                waiting += [(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        found.append(component)
    return found


def around(component: Pixels) -> list[int]:
    xs, ys = zip(*component)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def localised(seed: int, images: int) -> Localised:
    rng = np.random.default_rng(seed)
    return Localised(rng.choice([0, 0, 1, 4, 5, 7], images), rng.random((images, 6)))


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


@pytest.mark.parametrize("rows, first", [(("#.##", "#...", "..##"), [0, 0, 1, 2]), (("..##", "#...", "#.##"), [2, 0, 4, 1]),
                                         (("....#", "###.#", "....#"), [4, 0, 5, 3])])
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
    """Sparse masks hold many components of one size, dense ones winding components; the order in memory does not matter."""
    for seed in range(8):
        mask = np.array(np.random.default_rng(seed).random((14, 17)) < share, order=order)
        components = flooded(mask)
        assert len(components) > 1
        assert boxes_of(mask, "all").tolist() == [around(c) for c in components]
        assert boxes_of(mask, "largest").tolist() == [around(max(components, key=len))]


# ---- overlap


@pytest.mark.parametrize("a, b, expected", [
    ((0, 0, 4, 4), (0, 0, 4, 4), 1), ((2, 3, 9, 5), (2, 3, 9, 5), 1),
    ((0, 0, 4, 4), (4, 0, 8, 4), 0), ((0, 0, 4, 4), (0, 4, 4, 8), 0), ((0, 0, 4, 4), (4, 4, 8, 8), 0),   # they touch
    ((0, 0, 2, 2), (5, 5, 7, 7), 0), ((0, 0, 2, 2), (0, 5, 2, 7), 0),
    ((0, 0, 4, 4), (2, 2, 6, 6), 4 / 28), ((0, 0, 4, 2), (1, 1, 3, 2), 2 / 8), ((0, 0, 2, 4), (0, 0, 2, 2), 0.5),
    ((3, 3, 3, 3), (3, 3, 3, 3), 0), ((3, 3, 3, 3), (0, 0, 6, 6), 0)])
def test_overlap_by_hand(a: tuple[int, ...], b: tuple[int, ...], expected: float) -> None:
    assert overlaps(box(*a), box(*b)).tolist() == overlaps(box(*b), box(*a)).tolist() == [[expected]]


def test_overlap_as_counted_pixel_by_pixel() -> None:
    boxes, truth = random_boxes(1, 30), random_boxes(2, 20)
    found = overlaps(boxes, truth)
    expected = [[len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for b in truth] for a in boxes]
    assert found.shape == (30, 20) and found.dtype == np.float64
    assert found.tolist() == expected and 0 < np.count_nonzero(expected) < found.size


def test_overlap_as_torchvision() -> None:
    torch = pytest.importorskip("torch")
    box_iou = pytest.importorskip("torchvision.ops", reason="torchvision is not installed").box_iou
    boxes, truth = random_boxes(3, 40), random_boxes(4, 25)
    np.testing.assert_allclose(overlaps(boxes, truth), box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(truth).double()).numpy())


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
    mask, far, near = drawn("##..", "##.."), (3, 0, 4, 2), (0, 0, 2, 1)
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
    ((3, 5, 4, 5), "without area; "), ((4, 1, 3, 5), "without area; "), ((3, 5, 4, 1), "without area; "), ((4, 5, 3, 1), "without area; "),
    ((0, 0, 31, 20), 'has a box of class "cat" (0, 0, 31, 20) that reaches outside its 30x20 pixels; '),
    ((0, 0, 20, 21), "reaches outside"), ((-1, 0, 5, 5), "reaches outside"), ((0, -1, 5, 5), "reaches outside"),
])
def test_a_wrong_truth_is_one_sentence(corners: tuple[int, int, int, int] | None, words: str) -> None:
    """A later box is looked at as well as the first."""
    boxes = [Box("dog", 0, 0, 5, 5)] + ([Box("cat", 0, 0, 5, 5), Box("cat", *corners)] if corners else [])
    with pytest.raises(Problem) as caught:
        truth_boxes(boxes, "cat", (30, 20), "photo_1")
    text = str(caught.value)
    assert text.startswith('The image "photo_1" has ') and words in text
    assert text.endswith(".") and text.count(".") == 1 and "\n" not in text


def test_whole_image() -> None:
    assert whole_image((7, 4)).tolist() == [[0, 0, 7, 4]]


@pytest.mark.parametrize("size, share, expected", [
    ((100, 50), 0.25, [25, 12, 75, 37]), ((100, 40), 0.25, [25, 10, 75, 30]), ((100, 50), 1.0, [0, 0, 100, 50]),
    ((100, 50), 0.5, [14, 7, 85, 42]), ((1, 1), 0.5, [0, 0, 1, 1]), ((40, 1), 0.04, [16, 0, 24, 1])])
def test_centred_by_hand(size: tuple[int, int], share: float, expected: list[int]) -> None:
    assert centred(size, share).tolist() == [expected]


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (1001, 77)])
def test_centred_has_its_share_and_the_aspect_of_the_image(size: tuple[int, int]) -> None:
    """Up to half a pixel a side; by default half of the area."""
    found = centred(size)
    assert found.tolist() == centred(size, 0.5).tolist() and np.issubdtype(found.dtype, np.integer)
    sides, margins = found[0, 2:] - found[0, :2], np.array(size) - found[0, 2:] - found[0, :2]
    assert (np.abs(sides - np.sqrt(0.5) * np.array(size)) <= 0.5).all()
    assert ((margins == 0) | (margins == 1)).all()


# ---- errors


def test_errors_by_hand() -> None:
    """Right class first with a right box, first with a wrong one, fifth with a right one, sixth with a right one."""
    found = Localised(np.array([0, 0, 4, 5]), np.array([[0.1, 0.9], [0.9, 0.4], [0.1, 0.5], [0.1, 0.6]]))
    alike = np.full((1, 4), 0.25)
    assert {k: v.tolist() for k, v in errors(found, alike, 1).items()} == {"loc1": [75], "loc5": [50], "gt_known": [25], "cls1": [50], "cls5": [25]}
    assert {k: v.tolist() for k, v in errors(found, alike, 0).items()} == {"loc1": [75], "loc5": [75], "gt_known": [75], "cls1": [50], "cls5": [25]}


@pytest.mark.parametrize("rank, wrong", [(0, [0, 0]), (1, [100, 0]), (4, [100, 0]), (5, [100, 100]), (6, [100, 100])])
def test_the_borders_of_top_1_and_top_5(rank: int, wrong: list[int]) -> None:
    found = errors(Localised(np.array([rank]), np.ones((1, 1))), np.ones((1, 1)), 0)
    assert [found["cls1"][0], found["cls5"][0]] == [found["loc1"][0], found["loc5"][0]] == wrong
    assert found["gt_known"][0] == 0


def test_an_overlap_of_exactly_the_least_is_a_hit() -> None:
    """Overlaps are ratios of pixel counts, so this happens: 2 of 4, 3 of 10, 7 of 10."""
    half = best_overlap(drawn("##.."), whole_image((4, 1)), "largest")
    found = Localised(np.array([0, 0]), np.array([[half], [np.nextafter(half, 0)]]))
    assert errors(found, np.array([[1, 0], [0, 1]]), 0)["gt_known"].tolist() == [0, 100]
    assert max_box_acc(found.overlap, np.array([[1, 0], [0, 1]])).tolist() == [100, 0]
    for number, least in ((3, 0.3), (7, 0.7)):
        overlap = overlaps(box(0, 0, number, 1), box(0, 0, 10, 1))
        assert max_box_acc(overlap, np.ones((1, 1)), least).tolist() == [100]
        assert errors(Localised(np.array([0]), overlap), np.ones((1, 1)), 0, least)["loc1"].tolist() == [0]


def test_the_least_overlap_can_be_changed() -> None:
    found, alike = Localised(np.array([0, 0]), np.array([[0.6], [0.4]])), np.full((1, 2), 0.5)
    assert [errors(found, alike, 0, least)["loc1"][0] for least in (0.3, 0.5, 0.7)] == [0, 50, 100]
    assert [max_box_acc(found.overlap, alike, least)[0] for least in (0.3, 0.5, 0.7)] == [100, 50, 0]


# ---- MaxBoxAcc


def test_each_weighting_takes_its_own_best_threshold() -> None:
    overlap = np.array([[0.6, 0.4], [0.4, 0.6], [0.4, 0.6]])
    weights = np.array([[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0.5, 0.5, 0]])
    assert max_box_acc(overlap, weights).tolist() == pytest.approx([200 / 3, 100, 50])


def test_v2_takes_each_levels_best_threshold_before_the_mean() -> None:
    """0.3: all at the first threshold; 0.5 and 0.7: half at the second. No single threshold reaches their mean."""
    overlap = np.array([[0.35, 0.8], [0.35, 0.1]])
    assert max_box_acc_v2(overlap, np.array([[0.5, 0.5], [0, 1]])).tolist() == pytest.approx([200 / 3, 100 / 3])


def scene(seed: int, size: tuple[int, int] = (24, 18)) -> tuple[np.ndarray, np.ndarray]:
    """A rough score map `(H, W)` that is brighter in its one to three truth boxes."""
    rng = np.random.default_rng(seed)
    truth = random_boxes(seed, int(rng.integers(1, 4)), size)
    heat = 2 * rng.random(size[::-1])
    for xmin, ymin, xmax, ymax in truth:
        heat[ymin:ymax, xmin:xmax] += rng.random()
    return gaussian_filter(heat, 0.5), truth


def published_v2(scenes: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Count, at each threshold and level, the images where any box of any component matches any truth box; then max, then mean."""
    correct = {level: [0] * len(THRESHOLDS) for level in (30, 50, 70)}
    for heat, truth in scenes:
        for t, threshold in enumerate(THRESHOLDS):
            pairs = [(pixels(around(c)), pixels(b)) for c in flooded(heat >= threshold * heat.max()) for b in truth]
            for level in correct:
                correct[level][t] += any(100 * len(a & b) >= level * len(a | b) for a, b in pairs)
    return float(np.mean([100 * max(counts) / len(scenes) for counts in correct.values()]))


def test_v2_as_published() -> None:
    scenes = [scene(seed) for seed in range(16)]
    alike = np.full((1, 16), 1 / 16)
    found = {rule: np.array([[best_overlap(h >= t * h.max(), b, rule) for t in THRESHOLDS] for h, b in scenes]) for rule in RULES}
    expected = published_v2(scenes)
    assert max_box_acc_v2(found["all"], alike).tolist() == pytest.approx([expected])
    assert 0 < max_box_acc_v2(found["largest"], alike)[0] < expected < 100
    assert len({max_box_acc(found["all"], alike, least)[0] for least in (0.3, 0.5, 0.7)}) == 3


def test_a_draw_is_the_images_it_repeats() -> None:
    found, weights = localised(3, 12), draws(12, 25, seed=7)
    scores = {**errors(found, weights, 2), "max": max_box_acc(found.overlap, weights), "v2": max_box_acc_v2(found.overlap, weights)}
    alike = np.full((1, 12), 1 / 12)
    for s, row in enumerate(weights):
        images = np.repeat(np.arange(12), (row * 12).round().astype(int))
        again = Localised(found.rank[images], found.overlap[images])
        expected = {**errors(again, alike, 2), "max": max_box_acc(again.overlap, alike), "v2": max_box_acc_v2(again.overlap, alike)}
        assert {k: v[s] for k, v in scores.items()} == pytest.approx({k: v[0] for k, v in expected.items()})
    assert all(v.shape == (26,) and len(set(v.round(6))) > 2 for v in scores.values())
