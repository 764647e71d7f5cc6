"""Confusion matrices and mean IoU: by hand, against torchmetrics, and over weighted images."""
import numpy as np
import pytest

from lib.base.problem import Problem
from lib.metrics.bootstrap import Chance
from lib.metrics.miou import Confusions, confusion, mean_of_known

ALIKE = np.ones((1, 1))


def case(seed: int, classes: int = 5, size: tuple[int, int] = (11, 13),
         void: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Truth with void and a prediction that is right on about half the pixels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, size).astype(np.uint8)
    predicted = np.where(rng.random(size) < 0.5, truth, rng.integers(0, classes, size)).astype(np.uint8)
    truth[rng.random(size) < void] = 255
    return truth, predicted


def counts(seeds: range, classes: int = 5) -> Confusions:
    return Confusions.of([confusion(*case(seed, classes), classes) for seed in seeds])


def alone(truth: list[list[int]], predicted: list[list[int]], classes: int) -> tuple[list[float], float]:
    """IoU of the classes and their mean, of one image."""
    found = Confusions.of([confusion(np.array(truth, dtype=np.uint8), np.array(predicted), classes)])
    return found.iou(ALIKE)[0].tolist(), float(found.scores(ALIKE)["miou"][0])


def test_confusion_by_hand() -> None:
    """Rows are the truth; the void pixel is in no cell."""
    found = confusion(np.array([[0, 0, 1], [2, 255, 1]], dtype=np.uint8), np.array([[0, 1, 1], [0, 2, 1]]), 4)
    assert found.dtype == np.int64
    assert found.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_confusion_as_counted_pixel_by_pixel() -> None:
    truth, predicted = case(1, classes=21)
    expected = np.zeros((21, 21), dtype=int)
    for t, p in zip(truth.ravel(), predicted.ravel(), strict=True):
        if t != 255:
            expected[t, p] += 1
    for kind in (np.uint8, np.int64, np.uint64):   # 20 * 21 does not fit in uint8
        assert np.array_equal(confusion(truth, predicted.astype(kind), 21), expected)
    assert expected.sum() < truth.size and expected[20].any()


def test_iou_by_hand() -> None:
    """Class 0: 1 of 3 pixels; class 1: 2 of 3; class 2: 0 of 1; class 3 is nowhere."""
    iou, miou = alone([[0, 0, 1], [2, 255, 1]], [[0, 1, 1], [0, 2, 1]], 4)
    assert iou == pytest.approx([100 / 3, 200 / 3, 0, np.nan], nan_ok=True)
    assert miou == pytest.approx(100 / 3)


def test_void_pixels_count_nowhere() -> None:
    truth, predicted = case(2)
    changed = np.where(truth == 255, 4 - predicted, predicted)
    assert (changed != predicted).any()
    assert np.array_equal(confusion(truth, predicted, 5), confusion(truth, changed, 5))
    assert confusion(truth, predicted, 5).sum() == (truth != 255).sum()


def test_perfect_and_disjoint() -> None:
    truth = [[0, 1], [2, 1]]
    assert alone(truth, truth, 3) == ([100.0] * 3, 100.0)
    assert alone(truth, [[1, 2], [0, 0]], 3) == ([0.0] * 3, 0.0)


def test_an_empty_prediction_is_all_background() -> None:
    """Class 1 is missed, class 2 neither there nor predicted.

    The background is right on three of four pixels.
    """
    iou, miou = alone([[0, 0], [0, 1]], [[0, 0], [0, 0]], 3)
    assert iou == pytest.approx([75, 0, np.nan], nan_ok=True) and miou == pytest.approx(37.5)


def test_a_class_that_is_only_predicted_counts() -> None:
    assert alone([[0, 0], [0, 0]], [[0, 0], [0, 1]], 2) == (pytest.approx([75, 0]), pytest.approx(37.5))


def test_an_image_of_void_adds_nothing_and_alone_has_no_score() -> None:
    void = np.full((11, 13), 255, dtype=np.uint8)
    nothing = confusion(void, case(0)[1], 5)
    assert nothing.shape == (5, 5) and not nothing.any()
    both = Confusions(np.stack([counts(range(1)).counts[0], nothing]))
    weights = np.array([[0.5, 0.5], [1, 0], [0, 1]])
    score = both.scores(weights)["miou"]
    assert score[0] == pytest.approx(score[1]) and np.isnan(score[2]) and np.isnan(both.iou(weights)[2]).all()


def test_an_image_without_pixels() -> None:
    assert not confusion(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8), 3).any()


def test_one_class() -> None:
    """Background only: all of it is right, whatever is void."""
    assert alone([[0, 0, 255]], [[0, 0, 0]], 1) == ([100.0], 100.0)


@pytest.mark.parametrize("seed", range(3))
def test_as_torchmetrics(seed: int) -> None:
    torch = pytest.importorskip("torch")
    reason = "torchmetrics is not installed"
    classification = pytest.importorskip("torchmetrics.classification", reason=reason)
    pairs = [case(10 * seed + i, classes=6, void=0.3 * i) for i in range(3)]
    # class 6 is nowhere: their mean leaves it out too
    found = Confusions.of([confusion(*pair, 7) for pair in pairs])
    weights = np.full((1, 3), 1 / 3)
    for average in ("none", "macro"):
        theirs = classification.MulticlassJaccardIndex(num_classes=7, ignore_index=255, average=average)
        for pair in pairs:
            truth, predicted = (torch.from_numpy(labels.astype(np.int64)) for labels in pair)
            theirs.update(predicted, truth)
        expected = 100 * theirs.compute().numpy()
        if average == "none":
            np.testing.assert_allclose(found.iou(weights)[0, :6], expected[:6], rtol=1e-5)
        else:
            assert found.scores(weights)["miou"][0] == pytest.approx(float(expected), rel=1e-5)


def test_one_matrix_over_all_images_not_a_mean_over_images() -> None:
    """Image 1: class 1 right on 1 of 1 pixel; image 2: on 0 of 3."""
    pair = Confusions(np.array([[[0, 0], [0, 1]], [[0, 0], [3, 0]]]))
    assert pair.iou(np.full((1, 2), 0.5))[0].tolist() == pytest.approx([0, 25])


def test_a_draw_is_the_images_it_repeats() -> None:
    """A class may be gone in a draw: it then leaves the mean."""
    found = counts(range(4))
    rare = np.zeros((4, 6, 6), dtype=np.int64)
    rare[:, :5, :5] = found.counts
    rare[3, 5, 5] = 7
    found = Confusions(rare)
    weights = Chance(30, 0.95, seed=5).draws(4)
    scores = found.scores(weights)["miou"]
    for row, score, iou in zip(weights, scores, found.iou(weights), strict=True):
        repeated = np.repeat(rare, (row * 4).round().astype(int), axis=0).sum(0)
        union = repeated.sum(0) + repeated.sum(1) - np.diag(repeated)
        expected = [100 * repeated[k, k] / union[k] if union[k] else np.nan for k in range(6)]
        np.testing.assert_allclose(iou, expected, rtol=1e-12)
        assert score == pytest.approx(np.mean([v for v in expected if v == v]), rel=1e-12)
    assert np.isnan(found.iou(weights)[:, 5]).any() and not np.isnan(found.iou(weights)[0]).any()


def test_only_some_classes() -> None:
    """They still share the pixels with the others: only the mean is restricted."""
    found, weights = counts(range(3)), np.full((1, 3), 1 / 3)
    iou = found.iou(weights)[0]
    assert found.scores(weights, only=[1, 3])["miou"][0] == pytest.approx((iou[1] + iou[3]) / 2)
    assert found.scores(weights, only=range(1, 5))["miou"][0] == pytest.approx(iou[1:].mean())
    assert found.scores(weights)["miou"][0] == pytest.approx(iou.mean())
    nowhere = Confusions(np.pad(found.counts, ((0, 0), (0, 1), (0, 1))))
    assert nowhere.scores(weights, only=[1, 5])["miou"][0] == pytest.approx(iou[1])
    assert np.isnan(nowhere.scores(weights, only=[5])["miou"][0])


def test_a_single_known_value_is_its_own_mean() -> None:
    with np.errstate(all="raise"):
        assert mean_of_known(np.array([[np.nan, 7], [2, np.nan]])).tolist() == [7, 2]
        assert np.isnan(mean_of_known(np.array([[np.nan, np.nan]]))).all()   # and no 0 is divided by


def test_mean_of_known() -> None:
    values = np.array([[1, np.nan, 3], [np.nan] * 3, [4, 5, 6]])
    assert mean_of_known(values).tolist() == pytest.approx([2, np.nan, 5], nan_ok=True)


@pytest.mark.parametrize("predicted, words", [
    (np.zeros((3, 2), int), "The prediction is 2 x 3 pixels and its truth 3 x 2;"),
    (np.full((2, 3), 255),
     "The prediction holds the label 255, but 4 classes are numbered 0 to 3, and only the truth may be void"),
    (np.full((2, 3), 4), "The prediction holds the label 4, but 4 classes are numbered 0 to 3;"),
    (np.full((2, 3), -1), "The prediction holds the label -1,"),
    (np.full((2, 3), 0.5), "The prediction holds float64 values"),
])
def test_a_wrong_prediction_is_one_sentence(predicted: np.ndarray, words: str) -> None:
    with pytest.raises(Problem) as caught:
        confusion(np.zeros((2, 3), dtype=np.uint8), predicted, 4)
    assert str(caught.value).startswith(words) and str(caught.value).count(".") == 1 + words.count(".")


def test_a_wrong_label_is_seen_below_void_pixels_and_in_the_truth() -> None:
    with pytest.raises(Problem, match="The prediction holds the label 9"):
        confusion(np.full((1, 2), 255, dtype=np.uint8), np.array([[0, 9]]), 4)
    with pytest.raises(Problem, match="The truth holds the label 4, but 4 classes"):
        confusion(np.array([[0, 4, 255]], dtype=np.uint8), np.zeros((1, 3), int), 4)
