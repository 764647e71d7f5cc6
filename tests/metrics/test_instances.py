"""mAP^r, average best overlap and best IoUs by class and size.

By hand, against a literal loop, over weighted images.
"""
import warnings
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from instance_scenes import CLASSES, scenes

from lib.base.problem import Problem
from lib.metrics.bootstrap import Chance
from lib.metrics.instances import Compared, abo, best, compared, map_r, per_class_iou

ONE = np.ones((1, 1))


def image(predictions: Sequence[tuple[int, float, list[float]]], truth: Sequence[int],
          shares: Sequence[float] | None = None) -> Compared:
    """An image of (class, score, IoU with each truth) and the truths' classes."""
    classes = np.array([prediction[0] for prediction in predictions], dtype=int)
    scores = np.array([prediction[1] for prediction in predictions], dtype=float)
    iou = np.array([prediction[2] for prediction in predictions], dtype=float)
    iou = iou.reshape(len(predictions), len(truth))
    shares = [0.1] * len(truth) if shares is None else shares
    return Compared(classes, scores, iou, np.array(truth, dtype=int), np.array(shares))


def alike(images: Sequence[Compared]) -> np.ndarray:
    return np.full((1, len(images)), 1 / len(images))


def score(images: Sequence[Compared], least: float = 0.5) -> float:
    return float(map_r(images, alike(images), least)[0])


# ---- mAP^r


def test_map_by_hand() -> None:
    """Right, wrong, right of three truths: recall 1/3 at precision 1, 2/3 at 2/3, no more."""
    first = image([(0, 0.9, [0.8, 0]), (0, 0.7, [0.1, 0.3])], [0, 0])
    second = image([(0, 0.5, [0.6])], [0])
    assert score([first, second]) == pytest.approx(100 * (1 / 3 + 2 / 3 / 3))
    assert score([first, second], 0.3) == pytest.approx(100)
    assert score([first, second], 0.75) == pytest.approx(100 / 3)


def test_precision_is_made_monotone() -> None:
    """Wrong, right, right: precision 0, 1/2, 2/3 becomes 2/3 everywhere."""
    predictions = [(0, 0.9, [0, 0]), (0, 0.8, [1, 0]), (0, 0.7, [0, 1])]
    assert score([image(predictions, [0, 0])]) == pytest.approx(200 / 3)


def test_a_truth_is_matched_once() -> None:
    """The second detection of a truth is wrong, wherever it lies in the list.

    The better scored one has the truth.
    """
    double = [(0, 0.9, [0.6, 0]), (0, 0.8, [0.9, 0]), (0, 0.7, [0, 0.9])]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        assert score([image([double[i] for i in order], [0, 0])]) == pytest.approx(100 * (1 / 2 + 2 / 3 / 2))
    # the first is wrong itself and takes nothing
    assert score([image(double, [0, 0])], 0.7) == pytest.approx(100 * 2 / 3)


def test_a_taken_truth_is_not_exchanged_for_the_next_best() -> None:
    """VOC's rule: the second prediction overlaps a free truth by 0.55, but the taken one more."""
    assert score([image([(0, 0.9, [0.9, 0]), (0, 0.8, [0.6, 0.55])], [0, 0])]) == pytest.approx(50)
    assert score([image([(0, 0.9, [0.9, 0]), (0, 0.8, [0.5, 0.55])], [0, 0])]) == pytest.approx(100)


def test_only_truths_of_the_class_are_matched() -> None:
    """It overlaps another class's truth more: its own is still its match, and the other stays without."""
    found = image([(1, 0.9, [0.9, 0.6])], [0, 1])
    assert score([found]) == pytest.approx((0 + 100) / 2)
    assert score([found], 0.75) == 0


def test_an_iou_of_exactly_the_least_is_right() -> None:
    half = np.array([[[True, True, False, False]]])
    found = compared(half, [0], [1.0], np.ones((1, 4), dtype=np.uint8), {1: 0}, 1)
    assert [score([found], least) for least in (0.25, 0.5, 0.75)] == [100, 100, 0]
    assert score([image([(0, 1, [np.nextafter(0.5, 0)])], [0])]) == 0


def test_equal_scores_share_a_rank() -> None:
    """One right of two: precision 1/2, in whatever order; a truth wanted twice at one score is right once."""
    pair = [(0, 0.5, [0.9, 0]), (0, 0.5, [0, 0.1])]
    for predictions in (pair, pair[::-1]):
        assert score([image(predictions, [0, 0])]) == pytest.approx(100 * 1 / 2 / 2)
    for ious in ([0.9, 0.6], [0.6, 0.9]):
        assert score([image([(0, 0.5, [i]) for i in ious], [0])]) == pytest.approx(50)


def test_wrong_predictions_in_images_without_truth_count() -> None:
    empty, right = image([(0, 0.9, [])], []), image([(0, 0.8, [1])], [0])
    assert score([empty, right]) == pytest.approx(50) and score([right, empty]) == pytest.approx(50)
    weights = np.array([[0.5, 0.5], [0, 1], [1, 0]])
    found = map_r([empty, right], weights, 0.5).tolist()
    assert found == pytest.approx([50, 100, np.nan], nan_ok=True)


def test_images_without_predictions_lower_recall() -> None:
    assert score([image([], [0]), image([(0, 0.3, [0.9])], [0])]) == pytest.approx(50)
    assert score([image([], [0]), image([], [1])]) == 0


def test_classes_without_truth_are_left_out() -> None:
    """Class 1 is only predicted; class 2 has its truth in the second image alone."""
    images = [image([(0, 0.9, [1]), (1, 0.9, [0])], [0]), image([(2, 0.4, [0.2])], [2])]
    weights = np.array([[0.5, 0.5], [1, 0], [0, 1]])
    assert map_r(images, weights, 0.5).tolist() == [50, 100, 0]
    assert abo(images, weights).tolist() == pytest.approx([60, 100, 20])


def test_no_truth_anywhere_has_no_score() -> None:
    images = [image([(0, 0.9, [])], []), image([], [])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for some in (images, []):
            weights = np.ones((1, len(some)))
            for values in (map_r(some, weights, 0.5), abo(some, weights)):
                assert values.shape == (1,) and np.isnan(values).all()


def test_all_right_and_all_wrong() -> None:
    rng = np.random.default_rng(1)
    truths = [rng.integers(CLASSES, size=rng.integers(1, 5)).tolist() for _ in range(10)]
    weights = Chance(30, 0.95, seed=1).draws(10)
    perfect = []
    wrong = []
    for truth in truths:
        exact = zip(truth, np.eye(len(truth)).tolist(), strict=True)
        perfect.append(image([(k, rng.random(), iou) for k, iou in exact], truth))
        wrong.append(image([((truth[0] + 1) % CLASSES, 1, [1.0])], truth[:1]))
    np.testing.assert_allclose(map_r(perfect, weights, 0.75), 100, rtol=1e-12)
    np.testing.assert_allclose(abo(perfect, weights), 100, rtol=1e-12)
    assert not map_r(wrong, weights, 0.25).any()
    np.testing.assert_allclose(abo(wrong, weights), 100, rtol=1e-12)


def published_ap(images: list[Compared], k: int, least: float) -> float:
    """VOC's development kit, one detection after another."""
    ranked = []
    for n, one in enumerate(images):
        ranked += [(-one.scores[p], n, p) for p in np.flatnonzero(one.classes == k)]
    taken: set[tuple[int, int]] = set()
    tp = fp = 0
    recall = [0.0]
    precision = [0.0]
    positives = sum((one.truth_classes == k).sum() for one in images)
    for _, n, p in sorted(ranked):
        own = np.flatnonzero(images[n].truth_classes == k)
        overlap, t = max(((images[n].iou[p, t], -t) for t in own), default=(-np.inf, 0))
        if overlap >= least and (n, t) not in taken:
            taken.add((n, t))
            tp += 1
        else:
            fp += 1
        recall.append(tp / positives)
        precision.append(tp / (tp + fp))
    recall.append(1.0)
    precision.append(0.0)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def published_map(images: list[Compared], least: float) -> float:
    present = np.unique(np.concatenate([one.truth_classes for one in images]))
    return 100 * float(np.mean([published_ap(images, k, least) for k in present]))


@pytest.mark.parametrize("least", [0.25, 0.5, 0.75])
def test_map_as_published(least: float) -> None:
    images = scenes(range(30))
    found = score(images, least)
    assert found == pytest.approx(published_map(images, least), abs=1e-9) and 2 < found < 98


# ---- the best IoUs


def test_best_by_hand() -> None:
    """Truth 1 is best met by a prediction of another class, truth 2 by none.

    The second prediction meets none.
    """
    first = image([(0, 0.9, [0.6, 0.7, 0]), (1, 0.1, [0, 0, 0])], [0, 1, 1], [0.5, 0.2, 0.1])
    images = [first, image([], [0], [0.4])]
    of_truth = best(images, "truth")
    assert of_truth.iou.tolist() == [0.6, 0.7, 0, 0] and of_truth.share.tolist() == [0.5, 0.2, 0.1, 0.4]
    assert of_truth.classes.tolist() == [0, 1, 1, 0] and of_truth.image.tolist() == [0, 0, 0, 1]
    of_prediction = best(images, "prediction")
    assert of_prediction.iou.tolist() == [0.7, 0]
    assert of_prediction.share.tolist() == pytest.approx([0.2, np.nan], nan_ok=True)
    assert of_prediction.classes.tolist() == [0, 1] and of_prediction.image.tolist() == [0, 0]


def test_best_of_nothing() -> None:
    """A prediction without truths, a truth without predictions, no image at all."""
    images = [image([(1, 0.9, [])], []), image([], [2])]
    of_prediction, of_truth = best(images, "prediction"), best(images, "truth")
    assert of_prediction.iou.tolist() == [0] and np.isnan(of_prediction.share).all()
    assert of_truth.iou.tolist() == [0] and of_truth.image.tolist() == [1]
    assert best([], "truth").iou.shape == best([], "prediction").share.shape == (0,)


def test_abo_by_hand() -> None:
    """Class 0: (0.6 + 0) / 2; class 1: (0.7 + 0) / 2, from a prediction of class 0.

    A low score covers as well as a high one.
    """
    images = [image([(0, 0.0, [0.6, 0.7, 0]), (1, 0.9, [0.2, 0, 0])], [0, 1, 1]), image([], [0])]
    assert abo(images, alike(images)).tolist() == pytest.approx([32.5])


def test_abo_weighs_classes_alike_not_instances() -> None:
    images = [image([(0, 1, [1, 0, 0, 0])], [0, 1, 1, 1])]
    assert abo(images, ONE).tolist() == [50]


def test_per_class_iou_by_hand() -> None:
    """Predictions of class 0 have 0.7 and 0.3, of class 1 0.

    Of truths: class 0 has 0.6, class 1 has 0.7 and 0.3. Class 2: neither.
    """
    images = [image([(0, 1, [0.6, 0.7]), (1, 1, [0, 0])], [0, 1]), image([(0, 1, [0.3])], [1])]
    weights = np.array([[0.5, 0.5], [0, 1], [0.25, 0.75]])
    expected = [[50, 0, np.nan], [30, np.nan, np.nan], [100 * (0.25 * 0.7 + 0.75 * 0.3), 0, np.nan]]
    np.testing.assert_allclose(per_class_iou(images, weights, 3), expected)
    expected = [[60, 50, np.nan], [np.nan, 30, np.nan], [60, 100 * (0.25 * 0.7 + 0.75 * 0.3), np.nan]]
    np.testing.assert_allclose(per_class_iou(images, weights, 3, "truth"), expected)


# ---- resamples


@pytest.mark.parametrize("levels", [None, 4])
def test_a_draw_is_the_images_it_repeats(levels: int | None) -> None:
    """Even with equal scores. In some draws a class has no truth."""
    images = scenes(range(4), levels)
    weights = Chance(40, 0.95, seed=6).draws(4)
    scores = {"map": map_r(images, weights, 0.5), "abo": abo(images, weights)}
    per_class = per_class_iou(images, weights, CLASSES, "truth")
    gone = np.isnan(per_class).any(1)
    assert gone.any() and not gone[0] and len(np.unique(scores["map"].round(9))) > 5
    for s, row in enumerate(weights):
        chosen = [images[i] for i in np.repeat(np.arange(4), (row * 4).round().astype(int))]
        expected = {"map": map_r(chosen, alike(chosen), 0.5)[0], "abo": abo(chosen, alike(chosen))[0]}
        found = {metric: values[s] for metric, values in scores.items()}
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
        by_class = per_class_iou(chosen, alike(chosen), CLASSES, "truth")[0]
        np.testing.assert_allclose(per_class[s], by_class, rtol=1e-12)
        if levels is None and chosen:
            assert scores["map"][s] == pytest.approx(published_map(chosen, 0.5), abs=1e-9, nan_ok=True)


def test_the_order_of_images_and_predictions_does_not_matter() -> None:
    images = scenes(range(8), levels=4)
    rng = np.random.default_rng(2)
    expected = [score(images), float(abo(images, alike(images))[0])]
    for _ in range(5):
        mixed = []
        for i in rng.permutation(8):
            one = images[i]
            order = rng.permutation(len(one.scores))
            mixed.append(replace(
                one, classes=one.classes[order], scores=one.scores[order], iou=one.iou[order]))
        assert [score(mixed), float(abo(mixed, alike(mixed))[0])] == pytest.approx(expected, abs=1e-9)


def test_a_thousand_draws_in_little_time() -> None:
    rng = np.random.default_rng(5)
    images = []
    for _ in range(353):
        truth = rng.integers(20, size=rng.integers(1, 6))
        number = int(rng.integers(0, 30))
        classes = rng.integers(20, size=number)
        scores = rng.random(number)
        images.append(Compared(classes, scores, rng.random((number, len(truth))), truth, truth / 20))
    weights = Chance(1000, 0.95, seed=4).draws(353)
    start = perf_counter()
    assert all(map_r(images, weights, least).shape == (1001,) for least in (0.25, 0.5, 0.75))
    assert abo(images, weights).shape == (1001,)
    assert per_class_iou(images, weights, 20).shape == (1001, 20)
    assert perf_counter() - start < 8


def test_weights_of_other_images_and_too_few_classes_are_one_sentence() -> None:
    images = [image([(1, 1, [1.0])], [1])]
    weights = np.ones((1, 2))
    scorers = [
        lambda: map_r(images, weights, 0.5),
        lambda: abo(images, weights),
        lambda: per_class_iou(images, weights, 2),
    ]
    words = r"^There are weights of shape \(1, 2\) for 1 images; each draw needs one weight an image\.$"
    for scorer in scorers:
        with pytest.raises(Problem, match=words):
            scorer()
    with pytest.raises(Problem, match="^A truth has the class 1, but 1 classes are numbered 0 to 0;"):
        per_class_iou(images, ONE, 1, "truth")
