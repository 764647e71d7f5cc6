"""Localisation errors and MaxBoxAcc over images and thresholds: by hand, and as published."""
import numpy as np
import pytest
from boxes_by_pixel import RULES, around, box, drawn, flooded, pixels, random_boxes
from scipy.ndimage import gaussian_filter

from lib.metrics.bootstrap import draws
from lib.metrics.localisation import (
    Localised,
    best_overlap,
    errors,
    max_box_acc,
    max_box_acc_v2,
    overlaps,
    whole_image,
)

THRESHOLDS = np.arange(0.1, 1, 0.1)


def localised(seed: int, images: int) -> Localised:
    rng = np.random.default_rng(seed)
    return Localised(rng.choice([0, 0, 1, 4, 5, 7], images), rng.random((images, 6)))


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
