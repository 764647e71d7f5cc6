"""rCAM_Box: candidates, scores as of literal crops, suppression by hand, maps pasted back by maximum."""
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lib.papers.rcam import box
from lib.papers.rcam.box import MAP_SIDE, around_segments, choose_boxes, rcam_box, score_windows, windows
from lib.papers.rcam.method import Rcam, forward_pass, rcam
from lib.papers.rcam.settings import BoxSettings

SIDES: tuple[float, ...] = (0.35, 0.5, 0.7, 0.9)   # of windows
KEEP_ALL = BoxSettings(source="windows", least_side=0.0, count=9, overlap=0.5, least_score=0.0, margin=0.0)

# Overlaps of these boxes with the first one: 0.8, 0, 1/3, 0.
BOXES = torch.tensor([
    [0.0, 0.0, 0.5, 0.5],
    [0.0, 0.0, 0.5, 0.4],
    [0.5, 0.5, 1.0, 1.0],
    [0.25, 0.0, 0.75, 0.5],
    [0.0, 0.5, 0.5, 1.0],
])
SCORES = torch.tensor([0.9, 0.8, 0.5, 0.7, 0.2])

BLOBS = ((20, 15, 60, 55), (90, 40, 130, 80))   # pixels of `photo`
IN_PIXELS = torch.tensor([150, 100, 150, 100])


def literal_overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)


def literal_cells(low: float, high: float, count: int) -> slice:
    """The cells along one axis that an interval of shares covers, rounded in single precision."""
    first = round(float(np.float32(low) * np.float32(count)))
    behind = round(float(np.float32(high) * np.float32(count)))
    return slice(first, max(behind, first + 1))


def literal_confidence(crop: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    """The highest class probability of a crop `(D, h, w)` of the feature maps."""
    logits = weight @ crop.mean((1, 2)) + bias
    return (np.exp(logits) / np.exp(logits).sum()).max()


def random_classifier(height: int, width: int, images: int) -> tuple[Tensor, Tensor, Tensor]:
    """Feature maps of five channels, and weight and bias of four classes."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, 5, height, width, generator=generator)
    weight = torch.randn(4, 5, generator=generator)
    return features, weight, torch.randn(4, generator=generator)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Two blobs of different colours on grey."""
    photo = Image.new("RGB", (150, 100), (110, 110, 110))
    photo.paste((210, 40, 30), BLOBS[0])
    photo.paste((30, 60, 220), BLOBS[1])
    return photo


@pytest.fixture(scope="module")
def segment_boxes(photo: Image.Image) -> Tensor:
    return around_segments(photo, 0.0)


def test_windows_lie_in_the_image_and_the_last_is_all_of_it() -> None:
    boxes = windows()
    assert boxes.shape == (4 * 4 * 7 * 7 + 1, 4)
    assert boxes[-1].tolist() == [0, 0, 1, 1]
    assert boxes.min() >= 0 and boxes.max() <= 1 + 1e-6
    sides = {(round(float(b[2] - b[0]), 3), round(float(b[3] - b[1]), 3)) for b in boxes[:-1]}
    assert sides == {(width, height) for width in SIDES for height in SIDES}
    assert len({tuple(b.tolist()) for b in boxes}) == len(boxes)


@pytest.mark.parametrize("side", [0.35, 0.9])
def test_windows_are_flush_with_both_edges(side: float) -> None:
    boxes = windows()[:-1]
    widths = boxes[:, 2] - boxes[:, 0]
    chosen = boxes[(widths - side).abs() < 1e-4]
    assert float(chosen[:, 0].min()) == 0
    assert float(chosen[:, 2].max()) == pytest.approx(1)


def test_boxes_around_segments_are_shares_of_the_image(segment_boxes: Tensor) -> None:
    boxes = segment_boxes
    assert boxes.dtype == torch.float32
    assert boxes[-1].tolist() == [0, 0, 1, 1]
    assert boxes.min() >= 0 and boxes.max() <= 1
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert len({tuple(b) for b in boxes[:-1].tolist()}) == len(boxes) - 1 >= 2   # none twice


@pytest.mark.parametrize("blob", BLOBS)
def test_blobs_have_boxes(segment_boxes: Tensor, blob: tuple[int, ...]) -> None:
    away = (segment_boxes * IN_PIXELS - torch.tensor(blob)).abs().amax(1)
    assert away.min() <= 2   # pixels


@pytest.mark.parametrize("blob", BLOBS)
def test_larger_photographs_are_shrunk_first(photo: Image.Image, blob: tuple[int, ...]) -> None:
    """Four times as large, more than segments are found at: the same blobs."""
    boxes = around_segments(photo.resize((600, 400), Image.Resampling.NEAREST), 0.0)
    assert boxes.max() <= 1
    assert (boxes * IN_PIXELS - torch.tensor(blob)).abs().amax(1).min() <= 2


def test_small_boxes_are_left_out(segment_boxes: Tensor, photo: Image.Image) -> None:
    sides = segment_boxes[:, 2:] - segment_boxes[:, :2]
    large = segment_boxes[(sides >= 0.3).all(1)]
    assert 1 < len(large) < len(segment_boxes)
    assert torch.equal(around_segments(photo, 0.3), large)


def test_nothing_to_tell_apart() -> None:
    plain = Image.new("RGB", (40, 30), (9, 99, 9))
    assert around_segments(plain, 0.0)[-1:].tolist() == [[0, 0, 1, 1]]
    pixel = Image.new("RGB", (1, 1), (9, 99, 9))
    assert around_segments(pixel, 0.0).shape[1] == 4


def test_the_settings_say_where_boxes_come_from(network, settings, photo,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    around = replace(settings, boxes=replace(settings.boxes, source="proposals"))
    heat = rcam_box(network, [photo], around)
    assert heat.shape == (1, 1, MAP_SIDE, MAP_SIDE)
    assert heat.min() == 0 and heat.max() == 1
    assert not torch.allclose(heat, rcam_box(network, [photo], settings), atol=0.01)
    monkeypatch.setattr(box, "windows", lambda: around_segments(photo, 0.0))
    assert torch.equal(rcam_box(network, [photo], settings), heat)


def test_scores_are_those_of_crops_of_the_feature_map() -> None:
    features, weight, bias = random_classifier(8, 11, images=2)
    smaller_than_a_cell = torch.tensor([[0.5, 0.5, 0.51, 0.51], [0.0, 0.9, 1.0, 1.0]])
    boxes = torch.cat([windows(), smaller_than_a_cell])
    scores = score_windows(features, weight, bias, boxes)
    assert scores.shape == (2, len(boxes))
    for b, maps in enumerate(features.numpy()):
        for n, (xmin, ymin, xmax, ymax) in enumerate(boxes.tolist()):
            crop = maps[:, literal_cells(ymin, ymax, 8), literal_cells(xmin, xmax, 11)]
            expected = literal_confidence(crop, weight.numpy(), bias.numpy())
            assert float(scores[b, n]) == pytest.approx(expected, abs=1e-5)


def test_the_whole_image_scores_as_the_network(network, photos, settings) -> None:
    scale = forward_pass(network, photos, 128, settings)
    scores = score_windows(scale.features, *network.classifier, windows())[:, -1]
    assert torch.allclose(scores, scale.probability.amax(1), atol=1e-5)


def test_narrow_boxes_at_the_border_are_scored() -> None:
    """Boxes of less than half a cell at the right and below score as the last column or row."""
    features, weight, bias = random_classifier(7, 9, images=1)
    narrow = torch.tensor([
        [0.97, 0.0, 1.0, 1.0],
        [0.0, 0.96, 1.0, 1.0],
        [0.99, 0.99, 1.0, 1.0],
        [0.0, 0.0, 0.01, 0.01],
    ])
    maps = features[0].numpy()
    crops = (maps[:, :, 8:], maps[:, 6:], maps[:, 6:, 8:], maps[:, :1, :1])
    scores = score_windows(features, weight, bias, narrow)[0]
    for score, crop in zip(scores, crops, strict=True):
        expected = literal_confidence(crop, weight.numpy(), bias.numpy())
        assert float(score) == pytest.approx(expected, abs=1e-5)
    alone = score_windows(features, weight, bias, windows())
    together = score_windows(features, weight, bias, torch.cat([windows(), narrow]))
    assert torch.allclose(alone, together[:, :-4])


def test_the_overlaps_of_the_boxes_below() -> None:
    first, second, _, fourth, _ = BOXES.tolist()
    assert literal_overlap(first, second) == pytest.approx(0.8, abs=1e-6)
    assert literal_overlap(first, fourth) == pytest.approx(1 / 3)


@pytest.mark.parametrize("change, expected", [
    pytest.param({}, [0, 3, 2, 4], id="usual"),
    pytest.param({"overlap": 0.3}, [0, 2, 4], id="strict"),
    pytest.param({"overlap": 0.8}, [0, 1, 3, 2, 4], id="lax: equal to the limit is kept"),
    pytest.param({"count": 2}, [0, 3], id="two"),
    pytest.param({"count": 1}, [0], id="one"),
    pytest.param({"least_score": 0.6}, [0, 3], id="least score"),
    pytest.param({"least_score": 0.99}, [0], id="none good enough: the best one always"),
])
def test_non_maximum_suppression_by_hand(change: dict[str, float], expected: list[int]) -> None:
    chosen = replace(KEEP_ALL, **change)
    chosen = replace(chosen, overlap=chosen.overlap + 1e-6)
    assert np.allclose(choose_boxes(SCORES, BOXES, chosen), BOXES[expected].tolist())


def test_equal_scores_keep_the_order_of_the_windows() -> None:
    kept = choose_boxes(torch.full((5,), 0.5), BOXES, replace(KEEP_ALL, count=2))
    assert np.allclose(kept, BOXES[[0, 2]].tolist())


def test_boxes_are_enlarged_inside_the_image() -> None:
    half = replace(KEEP_ALL, count=1, margin=0.5)
    inner = choose_boxes(SCORES[:1], torch.tensor([[0.2, 0.4, 0.6, 0.5]]), half)
    assert inner[0] == pytest.approx([0.1, 0.375, 0.7, 0.525])
    outer = choose_boxes(SCORES[:1], torch.tensor([[0.0, 0.1, 0.9, 1.0]]), half)
    assert outer[0] == pytest.approx([0, 0, 1, 1])


def test_pasted_back_by_maximum(network, photos, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two overlapping boxes on the first image, one on the second; flat maps of known height for rCAM."""
    boxes = iter([[[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 1.0, 0.75]], [[0.5, 0.5, 1.0, 1.0]]])
    heights = iter([0.9, 0.6, 0.3])
    crops = []

    def flat(_network, some: list[Image.Image], _settings) -> Rcam:
        crops.extend(some)
        maps = torch.stack([torch.full((1, MAP_SIDE, MAP_SIDE), next(heights)) for _ in some])
        return Rcam({"rcam": maps}, torch.zeros(len(some)), torch.zeros(len(some)))

    monkeypatch.setattr(box, "choose_boxes", lambda *_: next(boxes))
    monkeypatch.setattr(box, "rcam", flat)
    heats = rcam_box(network, photos[:2], settings)
    first = torch.zeros(MAP_SIDE, MAP_SIDE)
    first[56:168, 56:224] = 0.6 / 0.9
    first[:112, :112] = 1                          # the higher one wins where both lie
    second = torch.zeros(MAP_SIDE, MAP_SIDE)
    second[112:, 112:] = 1                         # stretched to 0..1
    assert torch.allclose(heats, torch.stack([first, second])[:, None], atol=1e-6)
    expected = [
        photos[0].crop((0, 0, 75, 45)),
        photos[0].crop((37, 22, 150, 68)),
        photos[1].crop((40, 70, 80, 140)),
    ]
    for crop, literal_crop in zip(crops, expected, strict=True):
        assert np.array_equal(np.asarray(crop), np.asarray(literal_crop))


def test_the_whole_method(network, photos, settings) -> None:
    """Boxes from the largest scale's features; rCAM of every crop alone; maximum; stretched."""
    boxes = BoxSettings(source="windows", least_side=0.0, count=3, overlap=0.3, least_score=0.0, margin=0.1)
    changed = replace(settings, boxes=boxes)
    heats = rcam_box(network, photos, changed)
    assert heats.shape == (4, 1, MAP_SIDE, MAP_SIDE)
    for i, photo in enumerate(photos):
        features = forward_pass(network, [photo], 128, changed).features
        scores = score_windows(features, *network.classifier, windows())[0]
        canvas = np.zeros((MAP_SIDE, MAP_SIDE))
        for x0, y0, x1, y1 in choose_boxes(scores, windows(), boxes):
            left, top = int(x0 * photo.width), int(y0 * photo.height)
            crop = photo.crop((left, top, round(x1 * photo.width), round(y1 * photo.height)))
            heat = rcam(network, [crop], changed).maps["rcam"][0, 0].numpy()
            a, b, c, d = (round(share * MAP_SIDE) for share in (x0, y0, x1, y1))
            canvas[b:d, a:c] = np.maximum(canvas[b:d, a:c], shrink(heat, d - b, c - a))
        expected = (canvas - canvas.min()) / (canvas.max() - canvas.min())
        assert np.abs(heats[i, 0].numpy() - expected).max() < 0.01, i


def shrink(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear without a smoothing kernel, as OpenCV does it."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)


def test_a_single_pixel(network, settings) -> None:
    heat = rcam_box(network, [Image.new("RGB", (1, 1), (9, 200, 30))], settings)
    assert heat.shape == (1, 1, MAP_SIDE, MAP_SIDE)
    assert torch.isfinite(heat).all()


@pytest.mark.parametrize("one, row, column", [
    ([0.1, 0.2, 0.101, 0.201], 45, 22),
    ([0.9999, 0.9999, 1.0, 1.0], MAP_SIDE - 1, MAP_SIDE - 1),
])
def test_boxes_of_a_pixel_are_pasted(one: list[float], row: int, column: int) -> None:
    """A box of less than a pixel of the map has the pixel where it begins, at the far border the last one."""
    canvas = box._paste([one], torch.full((1, 1, MAP_SIDE, MAP_SIDE), 0.7))
    assert canvas.nonzero().tolist() == [[0, row, column]]
    assert canvas.max() == pytest.approx(0.7)
