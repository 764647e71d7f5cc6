"""Distinct class saliency maps: every step by hand, or against a literal transcription of its equation."""
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from dcsm_toys import BLOCKS, CRF, SETTINGS, random_maps, toy_photo
from PIL import Image
from sentences import is_one_sentence

from lib.base.problem import Problem
from lib.papers.dcsm.method import (
    Candidates,
    RawMaps,
    aggregate,
    candidates,
    demo_differences,
    distinct,
    enlarge,
    enlarged,
    label_map,
    longest_side,
    middle,
    saliency,
    segment,
    subtract,
    to_input,
    with_background,
)
from lib.papers.dcsm.settings import DcsmSettings
from lib.refine.crf import dense_crf

PAIR = torch.tensor([[[4.0, 2.0]], [[1.0, 2.0]]])   # two classes, two pixels


def random_raw(classes: int, kept: int, seed: int = 0, size: tuple[int, int] = (5, 3)) -> RawMaps:
    """Maps of three layers at two scales, all of the image's size; the last class is the best."""
    width, height = size
    maps = {}
    for number, key in enumerate(product(SETTINGS.scales, ("2", "4", "7"))):
        maps[key] = random_maps(classes, height, width, 10 * seed + number)
    return RawMaps(maps, Candidates(list(range(classes))[::-1], kept), size)


# candidates

def test_candidates_are_those_above_the_threshold_at_any_scale() -> None:
    scores = torch.tensor([[0.6, 0.1, 0.2, 0.3], [0.1, 0.1, 0.9, 0.5]])   # 0.5 itself does not exceed it
    assert candidates(scores, 0.5, 0) == ([2, 0], 2)
    assert candidates(scores, 0.5, 1) == ([2, 0], 2)
    assert candidates(scores, 0.25, 0) == ([2, 0, 3], 3)
    assert candidates(scores, 0.5, 3).targets == [2, 0]


def test_candidates_are_filled_up_to_n_with_the_best() -> None:
    scores = torch.tensor([[0.6, 0.1, 0.2, 0.3], [0.1, 0.1, 0.9, 0.5]])
    assert candidates(scores, 0.5, 3) == ([2, 0, 3], 2)
    assert candidates(scores, 0.5, 4) == ([2, 0, 3, 1], 2)


def test_without_a_class_above_the_threshold_the_best_is_kept() -> None:
    assert candidates(torch.tensor([[0.1, 0.4, 0.2]]), 0.5, 0) == ([1], 1)
    assert candidates(torch.tensor([[0.1, 0.4, 0.2]]), 0.5, 2) == ([1, 2], 1)


def test_candidates_that_tie_come_in_the_networks_order() -> None:
    assert candidates(torch.tensor([[0.2, 0.7, 0.2, 0.7, 0.2]]), 0.5, 4) == ([1, 3, 0, 2], 2)
    assert candidates(torch.tensor([[0.2, 0.7] * 100]), 0.5, 103) == ([*range(1, 200, 2), 0, 2, 4], 100)


def test_more_candidates_than_classes_is_a_problem() -> None:
    with pytest.raises(Problem, match="N = 4 is more than the network's 3 classes") as problem:
        candidates(torch.rand(2, 3), 0.5, 4)
    assert is_one_sentence(problem.value)


# eq. 4 and 5

@pytest.mark.parametrize("targets", [1, 2, 4])
def test_subtract_is_equation_4(targets: int) -> None:
    maps = random_maps(4)
    sums = subtract(maps, targets)
    assert sums.shape == (targets, 3, 5)
    for c, y, x in product(range(targets), range(3), range(5)):
        others = [maps[other, y, x] for other in range(4) if other != c]
        expected = sum(max(float(maps[c, y, x] - other), 0.0) for other in others)
        assert float(sums[c, y, x]) == pytest.approx(expected, abs=1e-6)


def test_one_candidate_alone_keeps_its_map() -> None:
    assert torch.equal(subtract(random_maps(1), 1), random_maps(1))


@pytest.mark.parametrize("normaliser, number, expected", [
    ("own", 2, [[0.5, 0.0], [0.0, 0.5]]),      # M = (1, 0.5) and (0.5, 1)
    ("joint", 2, [[0.75, 0.0], [0.0, 0.0]]),   # M = (1, 0.5) and (0.25, 0.5)
    ("after", 2, [[1.0, 0.0], [0.0, 0.0]]),    # M~ = (3, 0) and (0, 0)
    ("own", 0, [[1.0, 0.5], [0.5, 1.0]]),
    ("joint", 0, [[1.0, 0.5], [0.25, 0.5]]),
    ("after", 0, [[1.0, 0.5], [0.5, 1.0]]),
])
def test_distinct_by_hand(normaliser: str, number: int, expected: list[list[float]]) -> None:
    settings = replace(SETTINGS, normaliser=normaliser, candidates=number)
    for targets in (1, 2):
        assert torch.allclose(distinct(PAIR, targets, settings)[:, 0], torch.tensor(expected)[:targets])


def test_after_is_the_maximum_of_each_class_after_the_subtraction() -> None:
    """M~ of three classes on two pixels: (3 + 2, 0), (0, 2 + 1), (1, 1 + 0) over 5, 3 and 1."""
    maps = torch.tensor([[[4.0, 1.0]], [[1.0, 3.0]], [[2.0, 2.0]]])
    divided = distinct(maps, 3, replace(SETTINGS, normaliser="after"))
    assert torch.allclose(divided[:, 0], torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))


def test_maps_of_zeros_stay_zeros() -> None:
    for normaliser in ("own", "joint", "after"):
        assert distinct(torch.zeros(3, 2, 2), 2, replace(SETTINGS, normaliser=normaliser)).eq(0).all()


def test_aggregate_is_equation_5() -> None:
    parts = [random_maps(2, seed=i) for i in range(3)]
    mean = aggregate(parts, 2.5)
    for c, y, x in product(range(2), range(3), range(5)):
        expected = sum(np.tanh(2.5 * float(part[c, y, x])) for part in parts) / 3
        assert float(mean[c, y, x]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_alpha_must_be_above_zero(alpha: float) -> None:
    with pytest.raises(Problem, match="alpha: .* must be above 0") as problem:
        aggregate([random_maps(1)], alpha)
    assert is_one_sentence(problem.value)


def literal_differences(maps: np.ndarray, kept: int) -> np.ndarray:
    """eq. 4 of maps that are divided by their own maximum."""
    maps = maps / maps.max((1, 2), keepdims=True)
    sums = np.zeros((kept, *maps.shape[1:]))
    for c, other in product(range(kept), range(len(maps))):
        if other != c:
            sums[c] += np.maximum(maps[c] - maps[other], 0)
    return sums


def literal_saliency(raw: RawMaps, settings: DcsmSettings, blocks: dict[str, tuple[str, ...]]) -> np.ndarray:
    """The paper's reading, normaliser "own": the mean of tanh(alpha M~), pixel by pixel.

    Over scales and blocks, and over the layers of a block.
    """
    kept = raw.candidates.kept
    number = max(settings.candidates, kept)
    total = 0
    for scale, block in product(settings.scales, settings.blocks):
        for layer in blocks[block]:
            sums = literal_differences(raw.maps[scale, layer].double().numpy()[:number], kept)
            share = 1 / len(blocks[block]) / len(settings.blocks) / len(settings.scales)
            total = total + share * np.tanh(settings.alpha * sums)
    return total


@pytest.mark.parametrize("kept, number", [(1, 2), (2, 3), (3, 3), (3, 1), (2, 5)])
def test_saliency_is_the_mean_over_blocks_and_scales(kept: int, number: int) -> None:
    """block2 has two layers, block3 one: each block weighs the same.

    More maps than N do not count, targets beyond N do.
    """
    raw, settings = random_raw(5, kept), replace(SETTINGS, candidates=number)
    maps = saliency(raw, settings, BLOCKS)
    np.testing.assert_allclose(maps.numpy(), literal_saliency(raw, settings, BLOCKS), atol=1e-6)
    if number < 5:
        assert not torch.allclose(maps, saliency(raw, replace(settings, candidates=5), BLOCKS))


def test_saliency_takes_the_scales_and_blocks_it_is_told() -> None:
    raw, settings = random_raw(3, 2), replace(SETTINGS, scales=(500,), blocks=("block3",))
    expected = aggregate([distinct(raw.maps[500, "7"], 2, settings)], 3.0)
    assert torch.allclose(saliency(raw, settings, BLOCKS), expected)


@pytest.mark.parametrize("changes, text", [
    ({"scales": (500, 600)}, '"2" at scale 600'), ({"blocks": ("block3", "block1")}, '"image" at scale 250')])
def test_missing_raw_map_is_a_problem(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Problem, match=text) as problem:
        saliency(random_raw(3, 2), replace(SETTINGS, **changes), BLOCKS)
    assert is_one_sentence(problem.value)


# the authors' code

def literal_demo_part(maps: np.ndarray, kept: int) -> np.ndarray:
    sums = np.zeros((kept, *maps.shape[1:]))
    for c, other in product(range(kept), range(len(maps))):
        if other != c:
            difference = np.maximum(maps[c] - maps[other], 0)
            sums[c] += np.tanh(3 * difference / difference.max())
    return sums


def literal_demo(raw: RawMaps, settings: DcsmSettings, number: int) -> np.ndarray:
    total = 0
    for scale, block in product(settings.scales, settings.blocks):
        for layer in BLOCKS[block]:
            maps = raw.maps[scale, layer].double().numpy()[:number]
            total = total + literal_demo_part(maps, raw.candidates.kept) / len(BLOCKS[block])
    return np.stack([np.tanh(3 * one / one.max()) for one in total])


@pytest.mark.parametrize("kept, number", [(1, 2), (2, 3), (3, 2)])
def test_demo_is_the_authors_code(kept: int, number: int) -> None:
    raw, settings = random_raw(4, kept, seed=3), replace(SETTINGS, reading="demo", candidates=number)
    one = raw.maps[500, "4"]
    expected = literal_demo_part(one.double().numpy(), kept)
    np.testing.assert_allclose(demo_differences(one, kept, settings).numpy(), expected, atol=1e-6)
    expected = literal_demo(raw, settings, max(kept, number))
    np.testing.assert_allclose(saliency(raw, settings, BLOCKS).numpy(), expected, atol=1e-6)


def test_demo_without_other_candidates_is_the_map_itself() -> None:
    expected = np.tanh(3 * PAIR.numpy() / np.array([[[4.0]], [[2.0]]]))
    both = demo_differences(PAIR, 2, replace(SETTINGS, candidates=0))
    first = demo_differences(PAIR[:1], 1, SETTINGS)
    np.testing.assert_allclose(both.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(first.numpy(), expected[:1], atol=1e-6)


def test_demo_knows_neither_alpha_nor_normaliser() -> None:
    raw, settings = random_raw(3, 2), replace(SETTINGS, reading="demo")
    other = replace(settings, alpha=1.0, normaliser="after")
    assert torch.equal(saliency(raw, settings, BLOCKS), saliency(raw, other, BLOCKS))


# sizes

def bilinear(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels are areas: the middle of an output pixel is looked up among the middles of the input's.

    At the border these are held.
    """
    rows, columns = values.shape
    result = np.zeros((height, width))
    for y, x in product(range(height), range(width)):
        v = np.clip((y + 0.5) * rows / height - 0.5, 0, rows - 1)
        u = np.clip((x + 0.5) * columns / width - 0.5, 0, columns - 1)
        top, left = int(v), int(u)
        below, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
        upper = values[top, left] * (left + 1 - u) + values[top, right] * (u - left)
        lower = values[below, left] * (left + 1 - u) + values[below, right] * (u - left)
        result[y, x] = upper * (top + 1 - v) + lower * (v - top)
    return result


@pytest.mark.parametrize("stride, size", [(1, (5, 7)), (2, (3, 4)), (4, (2, 2))])
def test_raw_maps_are_enlarged_bilinearly_to_a_part_of_the_image(stride: int, size: tuple[int, int]) -> None:
    small = {(500, "2"): random_maps(2, 2, 3).half(), (250, "2"): random_maps(2, 4, 6)}
    raw = RawMaps(small, Candidates([0, 1], 1), (7, 5))
    large = enlarged(raw, stride)
    assert large.candidates == raw.candidates and large.size == (7, 5)
    assert list(large.maps) == list(raw.maps)
    for key, maps in large.maps.items():
        assert maps.shape == (2, *size) and maps.dtype == torch.float32
        for c in range(2):
            expected = bilinear(small[key][c].float().numpy(), *size)
            np.testing.assert_allclose(maps[c].numpy(), expected, atol=1e-6)
    maps = large.maps[250, "2"]
    np.testing.assert_allclose(enlarge(maps, (7, 5))[1], bilinear(maps[1].numpy(), 5, 7), atol=1e-6)


@pytest.mark.parametrize("size, longest, expected", [
    ((100, 50), 64, (32, 64)), ((50, 100), 64, (64, 32)), ((96, 64), 96, (64, 96)),
    ((400, 10), 64, (32, 64)), ((500, 375), 500, (384, 512)), ((500, 343), 600, (416, 608)),
    ((20, 20), 90, (96, 96))])
def test_inputs_have_sides_of_32(size: tuple[int, int], longest: int, expected: tuple[int, int]) -> None:
    rgb = to_input(Image.new("RGB", size, (255, 51, 0)), longest)
    assert rgb.shape == (1, 3, *expected) and rgb.dtype == torch.float32
    assert torch.allclose(rgb, torch.tensor([1, 0.2, 0])[None, :, None, None].expand_as(rgb))


def test_an_image_of_the_right_size_goes_in_as_it_is() -> None:
    photo = toy_photo(0, 96, 64)
    pixels = (255 * to_input(photo, 96)[0]).round().numpy().transpose(1, 2, 0)
    assert np.array_equal(pixels, np.asarray(photo))


def test_shrinking_is_smooth() -> None:
    """Stripes of single pixels become grey, not whichever of the two is hit."""
    stripes = np.zeros((64, 128, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    inner = to_input(Image.fromarray(stripes), 64)[0, :, :, 2:-2]
    assert inner.min() > 0.4 and inner.max() < 0.6


def test_one_scale_is_one_longest_side() -> None:
    """Else 1 image in 20 goes in with 416 pixels where the others have 384."""
    shapes = [to_input(Image.new("RGB", (side, 8)), 400).shape for side in range(300, 520)]
    assert set(map(max, shapes)) == {384}


def test_scales_are_relative_to_500() -> None:
    assert [longest_side(scale, 320) for scale in (400, 500, 600)] == [256, 320, 384]
    assert longest_side(300, 500) == 300


def test_of_two_scales_in_the_middle_the_upper_one_is_taken() -> None:
    assert middle((600, 400, 500)) == 500 and middle((400, 700, 500, 600)) == 600 and middle((300,)) == 300


# labels

def test_background_is_equation_7() -> None:
    maps = np.array([[[0.2, 0.9], [0.0, 0.5]], [[0.6, 0.1], [0.0, 0.5]]], dtype=np.float32)
    probability = with_background(maps)
    assert probability.dtype == np.float32 and np.array_equal(probability[1:], maps)
    np.testing.assert_allclose(probability[0], [[0.4, 0.1], [1.0, 0.5]], atol=1e-7)


def test_labels_are_class_numbers_plus_one() -> None:
    probability = np.array([[[0.5, 0.2, 0.3]], [[0.3, 0.7, 0.3]], [[0.2, 0.1, 0.4]]])
    labels = label_map(probability, [6, 2])
    assert labels.dtype == np.uint8 and labels.tolist() == [[0, 7, 3]]


@pytest.mark.parametrize("reading", ["paper", "demo"])
def test_segment_is_saliency_then_the_crf(reading: str) -> None:
    photo = toy_photo(5, 31, 20)
    raw = random_raw(4, 3, size=(31, 20))
    settings = replace(SETTINGS, reading=reading, map_stride=1, blocks=("block2",))
    segmentation = segment(photo, raw, settings, BLOCKS)
    maps = saliency(raw, settings, BLOCKS).numpy()
    probability = np.concatenate([1 - maps.max(0)[None], maps])
    numbers = np.array([0, 4, 3, 2])   # the best class, number 3, is the label 4
    refined = dense_crf(np.asarray(photo), probability, CRF)
    assert segmentation.targets == [3, 2, 1]
    np.testing.assert_allclose(segmentation.maps, maps, atol=1e-6)
    assert np.array_equal(segmentation.labels_no_crf, numbers[probability.argmax(0)])
    assert np.array_equal(segmentation.labels, numbers[refined.argmax(0)])
    assert not np.array_equal(segmentation.labels, segmentation.labels_no_crf)


def test_a_segmentation_has_the_size_of_its_photograph() -> None:
    photo, raw = toy_photo(5, 31, 21), random_raw(2, 1, size=(31, 21))
    segmentation = segment(photo, raw, replace(SETTINGS, map_stride=4), BLOCKS)
    assert segmentation.maps.shape == (1, 21, 31)
    assert segmentation.labels.shape == segmentation.labels_no_crf.shape == (21, 31)
