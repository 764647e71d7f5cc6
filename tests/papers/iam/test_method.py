"""Instance activation maps: a classifier's output, the choice of peaks, and from squares to the image."""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from iam_toys import DEPTHS, MASKS, random_maps, toy_fcn, toy_filling, toy_photo
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from lib.data.images import shrunk
from lib.maps.peak_response import peak_response_maps
from lib.maps.peaks import Peaks, find_peaks, peak_stimulation
from lib.papers.iam.method import (
    ChoosePeaks,
    ClassifierOutput,
    activate,
    class_responses,
    highest,
    labelled,
    no_peaks,
    padded_squares,
    present,
    refined,
    run_classifier,
    strongest,
    unsquared,
)
from lib.refine.convcrf import refine_instances
from lib.training.batches import square

PHOTOS = [toy_photo(labels, seed)[0]
          for seed, labels in ((1, ("red", "blue")), (2, ("green",)), (3, ("blue", "blue")))]


@pytest.fixture(scope="module")
def output() -> ClassifierOutput:
    return run_classifier(toy_fcn(), PHOTOS, 64, 32, present(3))


def places(peaks: Peaks) -> list[tuple[int, int, int, int]]:
    rows = zip(peaks.image, peaks.label, peaks.row, peaks.column, strict=True)
    return [tuple(map(int, row)) for row in rows]


def plain(*heights: tuple[int, int, int, float], ground: float = -1.0, classes: int = 2,
          size: tuple[int, int] = (6, 8)) -> Tensor:
    """Class maps of one image `(1, classes, *size)` with the given (class, row, column, height).

    The ground slopes a little in scan order: every corner but the first is beside something higher.
    """
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    slope = ground - 1e-4 * (rows * size[1] + columns)
    maps = slope.float().expand(1, classes, *size).clone()
    for label, row, column, height in heights:
        maps[0, label, row, column] = height
    return maps


# the classifier's output

def test_output_of_a_batch(output: ClassifierOutput) -> None:
    """The colours of the photographs, where they are."""
    fcn = toy_fcn()
    rgb = torch.stack([square(photo, 64) for photo in PHOTOS])
    maps, stages = fcn.scores_and_layers(rgb, ["relu1", "relu2", "relu3"])
    assert torch.allclose(output.class_maps, maps, atol=1e-5) and not output.class_maps.requires_grad
    assert torch.allclose(output.scores, fcn(rgb), atol=1e-5)
    labels = [(image, label) for image, label, _, _ in places(output.peaks)]
    assert labels == [(0, 0), (0, 2), (1, 1), (2, 2), (2, 2)]
    assert [level.shape[1:] for level in output.levels] == [(depth, 8, 8) for depth in DEPTHS]
    assert not any(level.requires_grad for level in output.levels)
    assert stages["relu1"].shape[2] == 16
    assert torch.allclose(output.levels[0], adaptive_avg_pool2d(stages["relu1"], 8), atol=1e-5)
    for level, name in zip(output.levels[1:], ("relu2", "relu3"), strict=True):
        assert torch.allclose(level, stages[name], atol=1e-5)


def test_the_levels_are_in_the_order_of_the_stages_and_no_larger_than_the_encoded_maps() -> None:
    small = run_classifier(toy_fcn(), PHOTOS[:1], 64, 16, no_peaks)
    assert [tuple(level.shape) for level in small.levels] == [(1, depth, 4, 4) for depth in DEPTHS]
    large = run_classifier(toy_fcn(), PHOTOS[:1], 64, 60, no_peaks)
    assert [level.shape[2] for level in large.levels] == [15, 8, 8]


def test_peak_response_maps_are_pooled(output: ClassifierOutput) -> None:
    rgb = torch.stack([square(photo, 64) for photo in PHOTOS])
    assert torch.equal(padded_squares(toy_fcn(), PHOTOS, 64), rgb)
    expected = adaptive_avg_pool2d(peak_response_maps(toy_fcn(), rgb, output.peaks)[:, None], 32)[:, 0]
    assert torch.allclose(output.prms, expected, rtol=1e-4, atol=1e-8)
    assert output.prms.shape == (5, 32, 32)
    assert torch.allclose(4 * output.prms.sum((1, 2)), torch.ones(5), atol=1e-5)


def test_a_forward_pass_inside_inference_mode_and_of_one_image_alone(output: ClassifierOutput) -> None:
    fcn = toy_fcn()
    with torch.inference_mode():
        alone = run_classifier(fcn, PHOTOS[2:], 64, 32, present(3))
    theirs = output.of_image(2)
    assert places(alone.peaks) == places(theirs.peaks)
    assert torch.allclose(alone.prms, theirs.prms, rtol=1e-3, atol=1e-7)


def test_no_peak_at_all() -> None:
    dark = Image.new("RGB", (40, 30))
    nothing = run_classifier(toy_fcn(), [dark], 64, 32, present(3))
    assert len(nothing.peaks) == 0 and nothing.prms.shape == (0, 32, 32)
    assert nothing.confidences.shape == (0,) and len(nothing.levels) == 3
    assert len(run_classifier(toy_fcn(), PHOTOS, 64, 32, no_peaks).peaks) == 0
    assert activate(toy_filling(), nothing).shape == (0, 32, 32)
    assert class_responses(nothing, (7, 9)).shape == (0, 7, 9)
    assert refined(dark, nothing.prms, MASKS.crf, 20).shape == (0, 15, 20)


# which peaks

def test_present_by_hand() -> None:
    """Of class 0 the two highest of three; class 1 has a positive peak, but its score is negative."""
    maps = plain((0, 1, 1, 5.0), (0, 1, 6, 3.0), (0, 4, 3, 4.0), (1, 2, 2, 2.0), (1, 4, 6, -0.5),
                 ground=-9.0)
    maps[0, 0, 0, 4] = -0.5   # a peak below 0, which lowers the score alone
    positive = [(0, 0, 1, 1), (0, 0, 1, 6), (0, 0, 4, 3)]
    assert places(present(1)(maps)) == positive[:1]
    assert places(present(2)(maps)) == [positive[0], positive[2]]
    assert places(present(9)(maps)) == positive
    both_classes = torch.tensor([[True, True]])
    assert places(labelled(both_classes, 9)(maps)) == places(present(9)(maps))   # in training too
    assert present(9)(maps).value.tolist() == [5, 3, 4] and peak_stimulation(maps)[0, 1] < 0


def test_at_most_so_many_are_the_highest_of_each_image_and_class() -> None:
    """In the order in which they came; of equal ones the first."""
    image = torch.tensor([0, 0, 0, 0, 1, 1, 0])
    label = torch.tensor([2, 2, 2, 0, 2, 2, 2])
    value = torch.tensor([1.0, 3.0, 1.0, 0.5, 1.0, 1.0, 2.0])
    peaks = Peaks(image, label, torch.arange(7), 10 + torch.arange(7), value)
    kept = [highest(peaks, n).row.tolist() for n in (0, 1, 2, 3, 4)]
    assert kept == [[], [1, 3, 4], [1, 3, 4, 5, 6], [0, 1, 3, 4, 5, 6], list(range(7))]
    two = highest(peaks, 2)
    assert two.image.tolist() == [0, 0, 1, 1, 0] and two.label.tolist() == [2, 0, 2, 2, 2]
    assert two.column.tolist() == [11, 13, 14, 15, 16] and two.value.tolist() == [3, 0.5, 1, 1, 2]
    assert len(highest(no_peaks(plain()), 3)) == 0


def test_peaks_on_the_border_and_in_a_corner() -> None:
    maps = plain((0, 0, 0, 5.0), (0, 5, 4, 3.0), (0, 2, 7, 2.0))
    assert places(present(9)(maps)) == [(0, 0, 0, 0), (0, 0, 2, 7), (0, 0, 5, 4)]


def test_labelled_takes_the_classes_that_the_labels_name() -> None:
    maps = torch.cat([plain((0, 1, 1, 5.0), (1, 4, 6, 3.0), (1, 1, 1, 2.0))] * 3)
    named = torch.tensor([[True, False], [False, True], [False, False]])
    assert places(labelled(named, 9)(maps)) == [(0, 0, 1, 1), (1, 1, 1, 1), (1, 1, 4, 6)]
    assert places(labelled(named, 1)(maps)) == [(0, 0, 1, 1), (1, 1, 4, 6)]
    others = [(0, 1, 1, 1), (0, 1, 4, 6), (1, 0, 1, 1), (2, 0, 1, 1), (2, 1, 1, 1), (2, 1, 4, 6)]
    assert places(labelled(~named, 9)(maps)) == others
    assert len(labelled(~named, 9)(-maps.abs())) == 0   # negative everywhere
    assert maps.min() > -2   # the maps are as they were


def test_labelled_with_everything_named_is_present() -> None:
    maps = random_maps(1)
    everything = torch.ones(2, 3, dtype=torch.bool)
    assert places(labelled(everything, 2)(maps)) == places(present(2)(maps)) != []


def test_strongest_takes_the_best_class_alone() -> None:
    """Class 1 has the higher peak, class 0 the higher mean; of the other image it is the other way round."""
    one = plain((0, 1, 1, 5.0), (0, 4, 4, 4.0), (1, 2, 2, 6.0), (1, 4, 6, 1.0), ground=-9.0)
    maps = torch.cat([one, one.flip(1)])
    assert places(strongest(9)(maps)) == [(0, 0, 1, 1), (0, 0, 4, 4), (1, 1, 1, 1), (1, 1, 4, 4)]
    assert strongest(9)(maps).value.tolist() == [5, 4, 5, 4]
    assert places(strongest(1)(maps)) == [(0, 0, 1, 1), (1, 1, 1, 1)]


def test_strongest_where_no_peak_is_positive() -> None:
    """The highest of the class with the better mean, where `present` has none."""
    maps = plain((0, 1, 1, -3.0), (0, 4, 4, -2.0), (1, 2, 2, -8.0), (1, 5, 7, -1.0), ground=-9.0)
    assert places(strongest(9)(maps)) == [(0, 0, 4, 4)] and len(present(9)(maps)) == 0


def test_strongest_has_the_highest_of_equal_negative_peaks_twice_and_a_positive_beside_none() -> None:
    equal = plain((0, 1, 1, -2.0), (0, 4, 4, -2.0), ground=-9.0, classes=1)
    assert places(strongest(9)(equal)) == [(0, 0, 1, 1), (0, 0, 4, 4)]
    assert places(strongest(1)(equal)) == [(0, 0, 1, 1)]
    # The mean is negative: the positive one all the same, and that alone.
    mixed = plain((0, 1, 1, -2.0), (0, 4, 4, 1.0), ground=-9.0, classes=1)
    assert places(strongest(9)(mixed)) == [(0, 0, 4, 4)]


@pytest.mark.parametrize("choose", [present(9), strongest(9), no_peaks])
def test_fields_of_peaks_are_of_one_place(choose: ChoosePeaks) -> None:
    maps = random_maps(2)
    peaks = choose(maps)
    assert torch.equal(peaks.value, maps[peaks.image, peaks.label, peaks.row, peaks.column])


# one image's output, and how sure it is

def test_of_one_image(output: ClassifierOutput) -> None:
    both = output.of_image(2)
    expected = [(0, *place[1:]) for place in places(output.peaks) if place[0] == 2]
    assert places(both.peaks) == expected and len(both.peaks) == 2
    assert torch.equal(both.prms, output.prms[3:]) and torch.equal(both.scores, output.scores[2:])
    assert torch.equal(both.class_maps, output.class_maps[2:])
    assert all(torch.equal(mine, level[2:]) for mine, level in zip(both.levels, output.levels, strict=True))
    assert torch.allclose(both.confidences, output.confidences[3:])
    assert torch.equal(both.peaks.value, output.peaks.value[3:])
    filling = toy_filling()
    assert torch.allclose(activate(filling, both), activate(filling, output)[3:], atol=1e-5)


def by_hand() -> ClassifierOutput:
    maps = torch.cat([plain((0, 1, 1, 4.0), (0, 4, 4, 1.0), (1, 2, 2, 6.0)), plain((1, 3, 3, 2.0))])
    scores = torch.tensor([[2.0, 0.0], [0.0, -1.0]])
    return ClassifierOutput(maps, scores, find_peaks(maps, 0.0), torch.zeros(4, 8, 8), [])


def test_confidences_by_hand() -> None:
    found = by_hand()
    assert places(found.peaks) == [(0, 0, 1, 1), (0, 0, 4, 4), (0, 1, 2, 2), (1, 1, 3, 3)]
    assert found.confidences.tolist() == pytest.approx([0.880797, 0.880797 / 4, 0.5, 0.268941], abs=1e-5)


def test_class_responses_by_hand() -> None:
    """Positive values of the class's own map, as large as the image."""
    maps = torch.tensor([[[[4.0, -4.0], [8.0, 2.0]], [[-1.0, 1.0], [1.0, 1.0]]]])
    one = replace(by_hand().of_image(0), class_maps=maps)
    found = class_responses(one, (2, 1))
    assert found.shape == (3, 2, 1) and found.tolist() == [[[4], [8]], [[4], [8]], [[0], [1]]]
    # A quarter of the way from 0 (not -4) down to 2.
    assert class_responses(one, (4, 4))[0, 1, 3] == 0.25 * 2


# from squares to the image

@pytest.mark.parametrize(("height", "width"), [(20, 33), (33, 20), (16, 16), (7, 50), (9, 4)])
def test_unsquared_is_a_crop_of_an_interpolated_square(height: int, width: int) -> None:
    maps = torch.rand(3, 16, 16)
    side = max(height, width)
    found = unsquared(maps, height, width)
    whole = torch.stack([interpolate(one[None, None], (side, side), mode="bilinear")[0, 0] for one in maps])
    assert found.shape == (3, height, width) and torch.equal(found, whole[:, :height, :width])
    assert unsquared(maps[:0], height, width).shape == (0, height, width)
    assert unsquared(maps.half(), height, width).dtype == torch.float32


def test_unsquared_undoes_the_padding() -> None:
    """A map that is the padded photograph itself comes back as the photograph."""
    photo = toy_photo(("red",), 4, (48, 32))[0]
    back = unsquared(square(photo, 48), 32, 48)
    assert torch.equal(back, square(photo, 48)[:, :32]) and back.shape == (3, 32, 48)


@pytest.mark.parametrize("size", [(56, 40), (30, 44), (26, 23)])
def test_refined(size: Sequence[int]) -> None:
    photo = toy_photo(("red",), 5, size)[0]
    maps = torch.rand(2, 16, 16)
    small = shrunk(photo, 28)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)
    found = refined(photo, maps, MASKS.crf, 28)
    assert found.shape == (2, small.height, small.width) and max(found.shape[1:]) == min(28, max(size))
    expected = refine_instances(pixels, unsquared(maps, small.height, small.width), MASKS.crf)
    assert torch.allclose(found, expected, atol=1e-6)


def test_activate(output: ClassifierOutput) -> None:
    filling = toy_filling()
    found = activate(filling, output)
    expected = filling(output.prms, output.levels, output.peaks.image).sigmoid()
    assert torch.equal(found, expected) and found.shape == (5, 32, 32)
    assert not found.requires_grad and found.min() >= 0 and found.max() <= 1 and found.std() > 0
    # Every peak has its own image's levels.
    turned = replace(output, levels=[level.flip(0) for level in output.levels])
    assert not torch.allclose(activate(filling, turned)[0], found[0], atol=1e-4)
