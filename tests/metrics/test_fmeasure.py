"""F-measures by hand, against scikit-learn at every threshold, and pooled over images."""
import warnings

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from lib.metrics.fmeasure import METRICS, THRESHOLDS, Curve, Curves, curve, f_measure


def at(value: float) -> int:
    """Index of the threshold value / 255."""
    return round(value) - 1


def means(curves: list[Curve]) -> dict[str, float]:
    scores = Curves.of(curves).scores(np.full((1, len(curves)), 1 / len(curves)))
    return {name: float(values[0]) for name, values in scores.items()}


def by_eq_6(precision: float, recall: float) -> float:
    return 1.3 * precision * recall / (0.3 * precision + recall)


def smooth_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((13, 17)) < 0.35
    return np.clip(0.4 * truth + 0.7 * rng.random((13, 17)), 0, 1).astype(np.float32), truth


def test_four_pixels_by_hand() -> None:
    heat = np.array([[51, 102], [153, 255]]) / 255
    found = curve(heat, np.array([[False, True], [False, True]]))
    assert found.precision.shape == found.recall.shape == (THRESHOLDS,)
    expected = {   # threshold -> precision, recall
        1: (2 / 4, 1),
        51: (2 / 4, 1),
        52: (2 / 3, 1),
        102: (2 / 3, 1),
        103: (1 / 2, 1 / 2),
        153: (1 / 2, 1 / 2),
        154: (1, 1 / 2),
        255: (1, 1 / 2),
    }
    for value, (precision, recall) in expected.items():
        assert found.precision[at(value)] == pytest.approx(precision), value
        assert found.recall[at(value)] == pytest.approx(recall), value
    assert found.mae == pytest.approx((0.2 + 0.6 + 0.6 + 0) / 4)


def test_f_by_hand() -> None:
    """Eq. 6: (1 + β²) P R / (β² P + R), β² = 0.3; precision weighs more."""
    precision = np.array([0.5, 1.0, 0.5, 0.0, 0.0, 1.0])
    recall = np.array([1.0, 0.5, 0.5, 0.0, 1.0, 0.0])
    found = f_measure(precision, recall)
    assert found.tolist() == pytest.approx([1.3 * 0.5 / 1.15, 1.3 * 0.5 / 0.8, 0.5, 0, 0, 0])


def test_f_at_every_threshold_as_scikit_learn() -> None:
    heat, truth = smooth_case(3)
    found = curve(heat, truth)
    f = f_measure(found.precision, found.recall)
    for k in range(1, 256):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = heat.astype(np.float64).ravel() >= k / 255
            *expected, _ = precision_recall_fscore_support(
                truth.ravel(), predicted, beta=0.3 ** 0.5, average="binary", zero_division=0)
        ours = [found.precision[k - 1], found.recall[k - 1], f[k - 1]]
        assert ours == pytest.approx(expected, abs=1e-12), k


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_value_of_k_255_reaches_its_threshold_exactly(kind: type) -> None:
    """And not the next one, however the division was rounded."""
    for k in range(256):
        for value in (kind(k / 255), kind(k) / kind(255), kind(k) * kind(1 / 255)):
            recall = curve(np.full((1, 1), value, dtype=kind), np.ones((1, 1), dtype=bool)).recall
            assert recall.sum() == k and (recall[:k] == 1).all(), (k, kind)


def test_zero_is_no_threshold() -> None:
    """A map of zeros predicts nothing, not everything."""
    found = curve(np.zeros((3, 3)), np.eye(3, dtype=bool))
    assert not found.precision.any() and not found.recall.any()
    assert found.mae == pytest.approx(3 / 9)
    assert means([found]) == {"ois": 0, "ods": 0, "ods_mean_f": 0, "mae": pytest.approx(1 / 3)}


def test_everything_predicted() -> None:
    found = curve(np.ones((4, 4)), np.arange(16).reshape(4, 4) < 4)
    assert (found.precision == 0.25).all() and (found.recall == 1).all()
    assert found.mae == 0.75


def test_everything_is_foreground() -> None:
    found = curve(np.full((2, 2), 0.5), np.ones((2, 2), dtype=bool))
    assert found.recall.tolist() == [1.0] * 127 + [0.0] * 128   # 0.5 = 127.5 / 255
    assert found.precision.tolist() == [1.0] * 127 + [0.0] * 128
    assert found.mae == 0.5 and means([found])["ois"] == 1


def test_no_foreground() -> None:
    found = curve(np.full((2, 2), 0.5), np.zeros((2, 2), dtype=bool))
    assert not found.recall.any() and not found.precision.any() and found.mae == 0.5
    assert means([found])["ois"] == 0


def test_ties_are_taken_together() -> None:
    """Three equal pixels enter at once: no threshold separates them."""
    found = curve(np.full((1, 3), 0.2), np.array([[True, False, False]]))
    assert set(found.precision[:51]) == {1 / 3} and not found.precision[51:].any()


def test_values_outside_the_range_are_cut() -> None:
    truth = np.array([[True, False]])
    found = curve(np.array([[1.7, -0.3]]), truth)
    assert (found.precision == 1).all() and (found.recall == 1).all()


def test_void_pixels_do_not_count() -> None:
    heat, truth = smooth_case(9)
    valid = np.random.default_rng(1).random(truth.shape) < 0.6
    found = curve(heat, truth, valid)
    without = curve(heat[valid][None], truth[valid][None])
    changed = curve(np.where(valid, heat, 1 - heat), np.where(valid, truth, ~truth), valid)
    for other in (without, changed):
        assert np.array_equal(found.precision, other.precision)
        assert np.array_equal(found.recall, other.recall)
        assert found.mae == other.mae
    assert found.mae != curve(heat, truth).mae
    nothing = curve(heat, truth, np.zeros_like(valid))
    assert nothing.mae == 0 and not nothing.recall.any()


def test_mae_is_of_the_graded_map() -> None:
    heat, truth = smooth_case(5)
    assert curve(heat, truth).mae == pytest.approx(np.abs(heat.astype(float) - truth).mean(), abs=1e-6)


def test_the_two_ways_to_pool_by_hand() -> None:
    """Image 1 is right up to 100/255, image 2 up to 200/255 where it starts to be right.

    No common threshold suits both.
    """
    truth = np.array([[True, True, False, False]])
    first = np.array([[255, 100, 50, 50]]) / 255     # best at 51..100: P = R = 1
    second = np.array([[255, 210, 200, 200]]) / 255  # best at 201..210
    curves = [curve(first, truth), curve(second, truth)]
    found = means(curves)
    assert found["ois"] == pytest.approx(1)
    # 51..100: P, R = (1, 1), (1/2, 1); 201..210: (1, 1/2), (1, 1); above 210: (1, 1/2) twice
    half_precision, half_recall = by_eq_6(0.5, 1), by_eq_6(1, 0.5)
    assert found["ods_mean_f"] == pytest.approx(max((1 + half_precision) / 2, (1 + half_recall) / 2))
    assert found["ods"] == pytest.approx(max(by_eq_6(0.75, 1), by_eq_6(1, 0.75)))
    assert found["mae"] == pytest.approx((155 + 50 + 50 + 45 + 200 + 200) / 255 / 8)
    assert tuple(found) == METRICS


def test_ods_is_the_best_of_all_common_thresholds() -> None:
    curves = [curve(*smooth_case(seed)) for seed in range(5)]
    pooled = []
    for k in range(THRESHOLDS):
        precision = np.mean([image.precision[k] for image in curves])
        recall = np.mean([image.recall[k] for image in curves])
        pooled.append(by_eq_6(precision, recall) if recall > 0 else 0.0)
    assert means(curves)["ods"] == pytest.approx(max(pooled)) and max(pooled) > pooled[0] + 0.01


def test_binary_maps_have_one_scale() -> None:
    """Every threshold sees the same mask, so the best of each image is the best of all.

    OIS equals the ODS that averages F.
    """
    rng = np.random.default_rng(2)
    curves = []
    for _ in range(6):
        mask = (rng.random((9, 9)) < 0.4).astype(np.float32)
        curves.append(curve(mask, rng.random((9, 9)) < 0.5))
    found = means(curves)
    assert found["ois"] == pytest.approx(found["ods_mean_f"], abs=1e-12)
    precision = np.mean([image.precision[0] for image in curves])
    recall = np.mean([image.recall[0] for image in curves])
    assert found["ods"] == pytest.approx(by_eq_6(precision, recall), abs=1e-12)
    graded = means([curve(*smooth_case(seed)) for seed in range(6)])
    assert graded["ois"] > graded["ods_mean_f"] + 1e-3


def test_weights_by_hand() -> None:
    """A row of weights is a data set of its own.

    Doubling an image counts it twice, leaving it out removes it.
    """
    curves = [curve(*smooth_case(seed)) for seed in range(3)]
    found = Curves.of(curves).scores(np.array([[1 / 3] * 3, [2 / 3, 0, 1 / 3], [0, 1, 0]]))
    for row, chosen in enumerate(([0, 1, 2], [0, 0, 2], [1])):
        expected = means([curves[i] for i in chosen])
        assert {name: float(values[row]) for name, values in found.items()} == pytest.approx(expected)
    # one image: every pooling is the same
    assert float(found["ods"][2]) == pytest.approx(float(found["ois"][2]))
