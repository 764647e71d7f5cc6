"""Masks and maps against an instance mask: by hand, pixel by pixel, against pycocotools.

And mAP^r against pycocotools.
"""
from typing import Any

import numpy as np
import pytest
from boxes_by_pixel import drawn
from instance_scenes import CLASSES, Scene, scene

from lib.base.problem import Problem
from lib.metrics.instances import compared, compared_at_best, map_r


def labels(*rows: str) -> np.ndarray:
    """Digits are instances, "." background, "v" void."""
    characters = np.array([list(row) for row in rows])
    numbers = np.zeros(characters.shape, dtype=np.uint8)
    numbers[characters == "v"] = 255
    for digit in "123456789":
        numbers[characters == digit] = int(digit)
    return numbers


# ---- IoU of masks


def test_compared_by_hand() -> None:
    """The first mask is instance 2 with a pixel of background and one of void.

    The second lies in instance 7, the third in void.
    """
    masks = np.stack([
        drawn("##..", "##..", "##.."),
        drawn("..##", "....", "...."),
        drawn("....", "....", "...#"),
    ])
    instances = labels("2277", "22.7", "v..v")
    found = compared(masks, [1, 0, 2], [0.9, 0.2, 0.5], instances, {7: 0, 2: 1, 9: 2}, 3)
    assert found.iou.tolist() == [[4 / 5, 0], [0, 2 / 3], [0, 0]]
    assert found.classes.tolist() == [1, 0, 2] and found.scores.tolist() == [0.9, 0.2, 0.5]
    assert found.truth_classes.tolist() == [1, 0] and found.truth_shares.tolist() == [4 / 12, 3 / 12]


def test_touching_instances_are_two() -> None:
    found = compared(drawn("###.")[None], [0], [1.0], labels("1122"), {1: 0, 2: 0}, 1)
    assert found.iou.tolist() == [[2 / 3, 1 / 4]]


def test_void_counts_neither_in_intersection_nor_in_union() -> None:
    masks, classes, scores, instances, truth = scene(2)
    changed = np.where(instances == 255, ~masks, masks)
    found, other = (compared(m, classes, scores, instances, truth, CLASSES) for m in (masks, changed))
    assert (changed != masks).any() and found.iou.any() and np.array_equal(found.iou, other.iou)


def test_iou_as_counted_pixel_by_pixel() -> None:
    for seed in range(6):
        masks, classes, scores, instances, truth = scene(seed)
        found = compared(masks, classes, scores, instances, truth, CLASSES)
        numbers = sorted(set(instances.ravel().tolist()) - {0, 255})
        pixels = [(y, x) for y in range(20) for x in range(26) if instances[y, x] != 255]
        expected = np.zeros((len(masks), len(numbers)))
        for (p, t), _ in np.ndenumerate(expected):
            inside = [(masks[p][pixel], instances[pixel] == numbers[t]) for pixel in pixels]
            expected[p, t] = sum(a and b for a, b in inside) / sum(a or b for a, b in inside)
        assert found.iou.tolist() == expected.tolist()
        assert found.truth_classes.tolist() == [truth[n] for n in numbers]


def test_nothing_predicted_and_nothing_there() -> None:
    nothing = np.zeros((0, 2, 4), dtype=bool)
    found = compared(nothing, [], [], labels("11..", "1..."), {1: 2}, 3)
    assert found.iou.shape == (0, 1) and found.truth_classes.tolist() == [2]
    found = compared(drawn("##..")[None], [1], [0.5], labels("...v"), {}, 3)
    assert found.iou.shape == (1, 0) and found.classes.tolist() == [1]
    assert compared(nothing, [], [], labels("....", "...."), {}, 3).iou.shape == (0, 0)
    no_maps = nothing.astype(float)
    assert compared_at_best(no_maps, [], [], labels("11..", "1..."), {1: 2}, 3).iou.shape == (0, 1)


def test_a_mask_in_void_or_without_pixels_overlaps_nothing() -> None:
    found = compared(drawn("..##", "....").reshape(2, 1, 4), [0, 0], [1, 1], labels("11vv"), {1: 0}, 1)
    assert found.iou.tolist() == [[0], [0]]


def test_the_best_threshold_of_each_instance_by_hand() -> None:
    """At 0.9 the first instance is exact; the second needs 0.4, with one pixel of the first two.

    The third is reached by none.
    """
    heat = np.array([[0.9, 0.6, 0.5, 0.4, 0.4, 0, 0]])
    found = compared_at_best(heat[None], [0], [1.0], labels("1222233"), {1: 0, 2: 0, 3: 0}, 1)
    assert found.iou.tolist() == [[1, 4 / 5, 0]]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_the_best_threshold_as_found_by_trying_all(kind: type) -> None:
    masks, classes, scores, instances, truth = scene(3)
    maps = np.random.default_rng(3).integers(0, 256, masks.shape) // 2 + 127 * masks
    found = compared_at_best((maps / 255).astype(kind), classes, scores, instances, truth, CLASSES)
    each = [compared(maps >= k, classes, scores, instances, truth, CLASSES).iou for k in range(1, 256)]
    assert found.iou.tolist() == np.max(each, axis=0).tolist() and found.iou.max() < 1
    binary = compared_at_best(masks.astype(kind), classes, scores, instances, truth, CLASSES)
    assert binary.iou.tolist() == compared(masks, classes, scores, instances, truth, CLASSES).iou.tolist()


# ---- pycocotools


def coco_scenes() -> list[Scene]:
    """Without double detections: COCO lets a prediction take the next best free truth, VOC does not.

    Void is cut out beforehand.
    """
    found = []
    for seed in range(40):
        masks, classes, scores, instances, truth = scene(seed, clash=False)
        c = compared(masks, classes, scores, instances, truth, CLASSES)
        wanted = np.where((c.iou >= 0.25) & (c.classes[:, None] == c.truth_classes), 1, 0)
        if (wanted.sum(0) <= 1).all() and (wanted.sum(1) <= 1).all():
            found.append((masks & (instances != 255), classes, scores, instances, truth))
    return found


def test_iou_as_pycocotools() -> None:
    coder = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    compared_pairs = 0
    for masks, classes, scores, instances, truth in coco_scenes():
        numbers = [n for n in range(1, 255) if (instances == n).any()]
        ours = compared(masks, classes, scores, instances, truth, CLASSES).iou
        predicted = [coder.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]
        there = [coder.encode(np.asfortranarray(instances == n, dtype=np.uint8)) for n in numbers]
        theirs = coder.iou(predicted, there, [0] * len(numbers))
        np.testing.assert_allclose(ours, np.reshape(theirs, ours.shape), rtol=1e-12)
        compared_pairs += ours.size
    assert compared_pairs > 100


def coco_ap(found: list[Scene], least: float) -> list[float]:
    """Average precision of each class, sampled at the recall of each truth instead of at 101 places.

    This is all points of the curve.
    """
    coder = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    from pycocotools.coco import COCO

    def entry(mask: np.ndarray, image: int, k: int, **more: float) -> dict:
        return {
            "image_id": image,
            "category_id": k + 1,
            "segmentation": coder.encode(np.asfortranarray(mask, dtype=np.uint8)),
            "area": int(mask.sum()),
            "iscrowd": 0,
            "bbox": [0, 0, 1, 1],
            **more,
        }

    there = []
    predicted = []
    for n, (masks, classes, scores, instances, truth) in enumerate(found, start=1):
        for number in sorted(truth):
            if (instances == number).any():
                there.append(entry(instances == number, n, truth[number], id=len(there) + 1))
        for mask, k, score in zip(masks, classes, scores, strict=True):
            predicted.append(entry(mask, n, k, score=score))
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": n, "height": 20, "width": 26} for n in range(1, len(found) + 1)],
        "categories": [{"id": k + 1} for k in range(CLASSES)],
        "annotations": there,
    }
    coco.createIndex()
    results = coco.loadRes(predicted)
    return [coco_ap_of_class(coco, results, k, least) for k in range(CLASSES)]


def coco_ap_of_class(coco: Any, results: Any, k: int, least: float) -> float:
    from pycocotools.cocoeval import COCOeval

    positives = len(coco.getAnnIds(catIds=[k + 1]))
    evaluation = COCOeval(coco, results, "segm")
    evaluation.params.catIds = [k + 1]
    evaluation.params.iouThrs = np.array([least])
    evaluation.params.maxDets = [1000]
    evaluation.params.recThrs = np.arange(1, positives + 1) / positives
    evaluation.params.areaRng = [[0, 1e10]]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    return float(evaluation.eval["precision"].mean())


@pytest.mark.parametrize("least", [0.25, 0.5, 0.75])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_map_as_pycocotools(least: float, capsys: pytest.CaptureFixture[str]) -> None:
    found = coco_scenes()
    images = [compared(*s, CLASSES) for s in found]
    expected = coco_ap(found, least)
    alike = np.full((1, len(found)), 1 / len(found))
    assert map_r(images, alike, least)[0] == pytest.approx(100 * np.mean(expected), abs=1e-6)
    assert len(found) > 20 and len({round(p, 6) for p in expected}) == CLASSES
    assert min(expected) > 0 and max(expected) < 1


# ---- what cannot be compared


ONE_MASK = np.zeros((1, 1, 2), bool)
WRONG = {
    "The predictions are 3 x 2 pixels and the instance mask 2 x 3;": {
        "masks": np.zeros((1, 2, 3), bool), "instance_mask": labels("1.", "..", "..")},
    "There are 2 predictions, 1 classes and 2 scores;": {
        "masks": np.zeros((2, 1, 2), bool), "scores": [1.0, 1.0]},
    "There are 1 predictions, 1 classes and 2 scores;": {"scores": [1.0, 1.0]},
    "A prediction has the class 3, but 3 classes are numbered 0 to 2;": {"classes": [3]},
    "A prediction has the class -1,": {"classes": [-1]},
    "A truth has the class 3, but 3 classes": {"instance_classes": {1: 3}},
    "The instance mask holds the number 4, which has no class;": {
        "instance_mask": labels("14"), "instance_classes": {1: 0, 2: 0}},
    "A prediction has a score that is no finite number,": {"scores": [np.nan]},
    "The predicted masks hold float64 values": {"masks": np.zeros((1, 1, 2))},
    "The instance mask holds int64 values in 2 dimensions;": {"instance_mask": labels("1.").astype(int)},
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_image_is_one_sentence(words: str) -> None:
    right = {
        "masks": ONE_MASK,
        "classes": [0],
        "scores": [1.0],
        "instance_mask": labels("1."),
        "instance_classes": {1: 0},
        "n_classes": 3,
    }
    compared(**right)
    with pytest.raises(Problem) as caught:
        compared(**right | WRONG[words])
    text = str(caught.value)
    assert text.startswith(words) and text.endswith(".") and text.count(".") == 1 and "\n" not in text


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_maps_outside_0_to_1_are_one_sentence(value: float) -> None:
    words = r"^The maps must lie in 0\.\.1, and some do not; divide each by its largest value\.$"
    with pytest.raises(Problem, match=words):
        compared_at_best(np.full((1, 1, 2), value), [0], [1.0], labels("1."), {1: 0}, 1)
