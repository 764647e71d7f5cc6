"""rCAM_Box: windows scored as literal crops, suppressed by hand, pasted back by maximum."""
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lib.papers.rcam import box as module
from lib.papers.rcam.box import choose_boxes, rcam_box, score_windows, windows
from lib.papers.rcam.method import SIDE, Rcam, look, rcam
from lib.papers.rcam.settings import BoxSettings


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_windows_lie_in_the_image_and_the_last_is_all_of_it() -> None:
    found = windows()
    assert found.shape == (4 * 4 * 7 * 7 + 1, 4)
    assert found[-1].tolist() == [0, 0, 1, 1]
    assert found.min() >= 0 and found.max() <= 1 + 1e-6
    sides = {(round(float(b[2] - b[0]), 3), round(float(b[3] - b[1]), 3)) for b in found[:-1]}
    assert sides == {(w, h) for w in (0.35, 0.5, 0.7, 0.9) for h in (0.35, 0.5, 0.7, 0.9)}
    assert len({tuple(b.tolist()) for b in found}) == len(found)
    for w in (0.35, 0.9):   # flush with both edges
        mine = found[:-1][((found[:-1, 2] - found[:-1, 0]) - w).abs() < 1e-4]
        assert float(mine[:, 0].min()) == 0 and float(mine[:, 2].max()) == pytest.approx(1)


def test_scores_are_those_of_crops_of_the_feature_map() -> None:
    generator = torch.Generator().manual_seed(0)
    features, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((2, 5, 8, 11), (4, 5), (4,)))
    boxes = torch.cat([windows(), torch.tensor([[0.5, 0.5, 0.51, 0.51], [0.0, 0.9, 1.0, 1.0]])])   # one smaller than a cell
    found = score_windows(features, weight, bias, boxes)
    assert found.shape == (2, len(boxes))
    for b in range(2):
        for n, box in enumerate(boxes.tolist()):
            x0, x1 = (round(float(np.float32(v) * np.float32(11))) for v in (box[0], box[2]))
            y0, y1 = (round(float(np.float32(v) * np.float32(8))) for v in (box[1], box[3]))
            crop = features[b, :, y0:max(y1, y0 + 1), x0:max(x1, x0 + 1)].numpy()
            logits = weight.numpy() @ crop.mean((1, 2)) + bias.numpy()
            assert float(found[b, n]) == pytest.approx((np.exp(logits) / np.exp(logits).sum()).max(), abs=1e-5)


def test_the_whole_image_scores_as_the_network(network, photos, settings) -> None:
    scale = look(network, photos, 128, settings)
    found = score_windows(scale.features, *network.classifier, windows())[:, -1]
    assert torch.allclose(found, scale.probability.amax(1), atol=1e-5)


BOXES = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.4], [0.5, 0.5, 1.0, 1.0], [0.25, 0.0, 0.75, 0.5], [0.0, 0.5, 0.5, 1.0]])
SCORES = torch.tensor([0.9, 0.8, 0.5, 0.7, 0.2])   # overlaps with the first: 0.8, 0, 1/3, 0


@pytest.mark.parametrize("chosen, expected", [
    (BoxSettings(source="windows", least_side=0.0, count=9, overlap=0.5, least_score=0.0, margin=0.0), [0, 3, 2, 4]),
    (BoxSettings(source="windows", least_side=0.0, count=9, overlap=0.3, least_score=0.0, margin=0.0), [0, 2, 4]),
    (BoxSettings(source="windows", least_side=0.0, count=9, overlap=0.8, least_score=0.0, margin=0.0), [0, 1, 3, 2, 4]),   # equal to the limit is kept
    (BoxSettings(source="windows", least_side=0.0, count=2, overlap=0.5, least_score=0.0, margin=0.0), [0, 3]),
    (BoxSettings(source="windows", least_side=0.0, count=1, overlap=0.5, least_score=0.0, margin=0.0), [0]),
    (BoxSettings(source="windows", least_side=0.0, count=9, overlap=0.5, least_score=0.6, margin=0.0), [0, 3]),
    (BoxSettings(source="windows", least_side=0.0, count=9, overlap=0.5, least_score=0.99, margin=0.0), [0]),               # the best one always
], ids=["usual", "strict", "lax", "two", "one", "least score", "none good enough"])
def test_non_maximum_suppression_by_hand(chosen: BoxSettings, expected: list[int]) -> None:
    assert overlap(*BOXES[:2].tolist()) == pytest.approx(0.8, abs=1e-6) and overlap(*BOXES[[0, 3]].tolist()) == pytest.approx(1 / 3)
    assert np.allclose(choose_boxes(SCORES, BOXES, replace(chosen, overlap=chosen.overlap + 1e-6)), BOXES[expected].tolist())


def test_equal_scores_keep_the_order_of_the_windows() -> None:
    chosen = choose_boxes(torch.full((5,), 0.5), BOXES, BoxSettings(source="windows", least_side=0.0, count=2, overlap=0.5, least_score=0.0, margin=0.0))
    assert np.allclose(chosen, BOXES[[0, 2]].tolist())


def test_boxes_are_enlarged_inside_the_image() -> None:
    half = BoxSettings(source="windows", least_side=0.0, count=1, overlap=0.5, least_score=0.0, margin=0.5)
    assert choose_boxes(SCORES[:1], torch.tensor([[0.2, 0.4, 0.6, 0.5]]), half)[0] == pytest.approx([0.1, 0.375, 0.7, 0.525])
    assert choose_boxes(SCORES[:1], torch.tensor([[0.0, 0.1, 0.9, 1.0]]), half)[0] == pytest.approx([0, 0, 1, 1])


def test_pasted_back_by_maximum(network, photos, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two overlapping boxes on the first image, one on the second; flat maps of known height in place of rCAM."""
    boxes = iter([[[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 1.0, 0.75]], [[0.5, 0.5, 1.0, 1.0]]])
    heights = iter([0.9, 0.6, 0.3])
    crops = []

    def flat(_network, some: list[Image.Image], _settings) -> Rcam:
        crops.extend(some)
        maps = torch.stack([torch.full((1, SIDE, SIDE), next(heights)) for _ in some])
        return Rcam({"rcam": maps}, torch.zeros(len(some)), torch.zeros(len(some)))

    monkeypatch.setattr(module, "choose_boxes", lambda *_: next(boxes))
    monkeypatch.setattr(module, "rcam", flat)
    found = rcam_box(network, photos[:2], settings)
    first = torch.zeros(SIDE, SIDE)
    first[56:168, 56:224] = 0.6 / 0.9
    first[:112, :112] = 1                          # the higher one wins where both lie
    second = torch.zeros(SIDE, SIDE)
    second[112:, 112:] = 1                         # stretched to 0..1
    assert torch.allclose(found, torch.stack([first, second])[:, None], atol=1e-6)
    for crop, box in zip(crops, ((photos[0], (0, 0, 75, 45)), (photos[0], (37, 22, 150, 68)), (photos[1], (40, 70, 80, 140)))):
        assert np.array_equal(np.asarray(crop), np.asarray(box[0].crop(box[1])))


def test_the_whole_method(network, photos, settings) -> None:
    """Boxes from the largest scale's features; rCAM of every crop alone; maximum; stretched."""
    s = replace(settings, boxes=BoxSettings(source="windows", least_side=0.0, count=3, overlap=0.3, least_score=0.0, margin=0.1))
    found = rcam_box(network, photos, s)
    assert found.shape == (4, 1, SIDE, SIDE)
    for i, photo in enumerate(photos):
        scores = score_windows(look(network, [photo], 128, s).features, *network.classifier, windows())[0]
        canvas = np.zeros((SIDE, SIDE))
        for x0, y0, x1, y1 in choose_boxes(scores, windows(), s.boxes):
            crop = photo.crop((int(x0 * photo.width), int(y0 * photo.height), round(x1 * photo.width), round(y1 * photo.height)))
            heat = rcam(network, [crop], s).maps["rcam"][0, 0].numpy()
            a, b, c, d = (round(v * SIDE) for v in (x0, y0, x1, y1))
            canvas[b:d, a:c] = np.maximum(canvas[b:d, a:c], shrink(heat, d - b, c - a))
        assert np.abs(found[i, 0].numpy() - (canvas - canvas.min()) / (canvas.max() - canvas.min())).max() < 0.01, i


def shrink(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear without a smoothing kernel, as OpenCV does it."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)


def test_a_single_pixel(network, settings) -> None:
    found = rcam_box(network, [Image.new("RGB", (1, 1), (9, 200, 30))], settings)
    assert found.shape == (1, 1, SIDE, SIDE) and torch.isfinite(found).all()
