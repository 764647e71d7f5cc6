"""Localisation errors and MaxBoxAcc over images and thresholds: by hand, and as published."""
from itertools import product

import numpy as np
import pytest
from boxes_by_pixel import RULES, around, box, drawn, flooded, pixels, random_boxes
from scipy.ndimage import gaussian_filter

from lib.metrics.bootstrap import Chance
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
    """Right class first with a right box and with a wrong one, fifth and sixth with a right one."""
    found = Localised(np.array([0, 0, 4, 5]), np.array([[0.1, 0.9], [0.9, 0.4], [0.1, 0.5], [0.1, 0.6]]))
    at_first = {"loc1": 75, "loc5": 75, "gt_known": 75, "cls1": 50, "cls5": 25}
    at_second = {"loc1": 75, "loc5": 50, "gt_known": 25, "cls1": 50, "cls5": 25}
    for threshold, expected in enumerate([at_first, at_second]):
        scores = errors(found, np.full((1, 4), 0.25), threshold)
        assert {metric: values.tolist() for metric, values in scores.items()} == {
            metric: [percent] for metric, percent in expected.items()}


@pytest.mark.parametrize("rank, wrong", [
    (0, [0, 0]),
    (1, [100, 0]),
    (4, [100, 0]),
    (5, [100, 100]),
    (6, [100, 100]),
])
def test_the_borders_of_top_1_and_top_5(rank: int, wrong: list[int]) -> None:
    found = errors(Localised(np.array([rank]), np.ones((1, 1))), np.ones((1, 1)), 0)
    assert [found["cls1"][0], found["cls5"][0]] == [found["loc1"][0], found["loc5"][0]] == wrong
    assert found["gt_known"][0] == 0


def test_an_overlap_of_exactly_the_least_is_a_hit() -> None:
    """Overlaps are ratios of pixel counts, so this happens: 2 of 4, 3 of 10, 7 of 10."""
    half = best_overlap(drawn("##.."), whole_image((4, 1)), "largest")
    found = Localised(np.array([0, 0]), np.array([[half], [np.nextafter(half, 0)]]))
    one_each = np.array([[1, 0], [0, 1]])
    assert errors(found, one_each, 0)["gt_known"].tolist() == [0, 100]
    assert max_box_acc(found.overlap, one_each).tolist() == [100, 0]
    for number, least in ((3, 0.3), (7, 0.7)):
        overlap = overlaps(box(0, 0, number, 1), box(0, 0, 10, 1))
        assert max_box_acc(overlap, np.ones((1, 1)), least).tolist() == [100]


def test_the_least_overlap_of_max_box_acc() -> None:
    overlap = np.array([[0.6], [0.4]])
    alike = np.full((1, 2), 0.5)
    assert [max_box_acc(overlap, alike, least)[0] for least in (0.3, 0.5, 0.7)] == [100, 50, 0]
    assert max_box_acc(overlap, alike)[0] == 50


# ---- MaxBoxAcc


def test_each_weighting_takes_its_own_best_threshold() -> None:
    overlap = np.array([[0.6, 0.4], [0.4, 0.6], [0.4, 0.6]])
    weights = np.array([[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0.5, 0.5, 0]])
    assert max_box_acc(overlap, weights).tolist() == pytest.approx([200 / 3, 100, 50])


def test_v2_takes_each_levels_best_threshold_before_the_mean() -> None:
    """0.3: all at the first threshold; 0.5 and 0.7: half at the second.

    No single threshold reaches their mean.
    """
    overlap = np.array([[0.35, 0.8], [0.35, 0.1]])
    weights = np.array([[0.5, 0.5], [0, 1]])
    assert max_box_acc_v2(overlap, weights).tolist() == pytest.approx([200 / 3, 100 / 3])


def scene(seed: int, size: tuple[int, int] = (24, 18)) -> tuple[np.ndarray, np.ndarray]:
    """A rough score map `(H, W)` that is brighter in its one to three truth boxes."""
    rng = np.random.default_rng(seed)
    truth = random_boxes(seed, int(rng.integers(1, 4)), size)
    heat = 2 * rng.random(size[::-1])
    for xmin, ymin, xmax, ymax in truth:
        heat[ymin:ymax, xmin:xmax] += rng.random()
    return gaussian_filter(heat, 0.5), truth


def published_v2(scenes: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Count, at each threshold and level, the images where any box of any component matches any truth box.

    Then max, then mean.
    """
    correct = {level: [0] * len(THRESHOLDS) for level in (30, 50, 70)}
    for heat, truth in scenes:
        theirs = [pixels(corners) for corners in truth]
        for t, threshold in enumerate(THRESHOLDS):
            ours = [pixels(around(component)) for component in flooded(heat >= threshold * heat.max())]
            pairs = list(product(ours, theirs))
            for level in correct:
                correct[level][t] += any(100 * len(a & b) >= level * len(a | b) for a, b in pairs)
    return float(np.mean([100 * max(counts) / len(scenes) for counts in correct.values()]))


def test_v2_as_published() -> None:
    scenes = [scene(seed) for seed in range(16)]
    alike = np.full((1, 16), 1 / 16)
    found = {rule: np.zeros((16, len(THRESHOLDS))) for rule in RULES}
    for n, (heat, truth) in enumerate(scenes):
        for t, threshold in enumerate(THRESHOLDS):
            for rule in RULES:
                found[rule][n, t] = best_overlap(heat >= threshold * heat.max(), truth, rule)
    expected = published_v2(scenes)
    assert max_box_acc_v2(found["all"], alike).tolist() == pytest.approx([expected])
    assert 0 < max_box_acc_v2(found["largest"], alike)[0] < expected < 100
    assert len({max_box_acc(found["all"], alike, least)[0] for least in (0.3, 0.5, 0.7)}) == 3


def test_a_draw_is_the_images_it_repeats() -> None:
    found = localised(3, 12)
    weights = Chance(25, 0.95, seed=7).draws(12)
    scores = everything(found, weights)
    alike = np.full((1, 12), 1 / 12)
    for s, row in enumerate(weights):
        images = np.repeat(np.arange(12), (row * 12).round().astype(int))
        again = everything(Localised(found.rank[images], found.overlap[images]), alike)
        expected = {metric: values[0] for metric, values in again.items()}
        assert {metric: values[s] for metric, values in scores.items()} == pytest.approx(expected)
    assert all(values.shape == (26,) and len(set(values.round(6))) > 2 for values in scores.values())


def everything(found: Localised, weights: np.ndarray) -> dict[str, np.ndarray]:
    return errors(found, weights, 2) | {
        "max": max_box_acc(found.overlap, weights),
        "v2": max_box_acc_v2(found.overlap, weights),
    }
