"""Instance activation maps: what a classifier sees, which peaks are gone down from, and the way from squares to the image."""
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
    Seen,
    activate,
    highest,
    labelled,
    look,
    no_peaks,
    present,
    refined,
    responses,
    strongest,
    unsquared,
)
from lib.refine.convcrf import refine_instances
from lib.training.batches import square

PHOTOS = [toy_photo(labels, seed)[0] for seed, labels in ((1, ("red", "blue")), (2, ("green",)), (3, ("blue", "blue")))]


@pytest.fixture(scope="module")
def seen() -> Seen:
    return look(toy_fcn(), PHOTOS, 64, 32, present(3))


def places(peaks: Peaks) -> list[tuple[int, int, int, int]]:
    return [tuple(map(int, row)) for row in zip(peaks.image, peaks.label, peaks.row, peaks.column, strict=True)]


def plain(*heights: tuple[int, int, int, float], ground: float = -1.0, classes: int = 2, size: tuple[int, int] = (6, 8)) -> Tensor:
    """Class maps of one image `(1, classes, *size)` that slope down from the given (class, row, column, height), a little in scan order too."""
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    maps = (ground - 1e-4 * (rows * size[1] + columns)).float().expand(1, classes, *size).clone()   # every corner but the first is beside something higher
    for label, row, column, height in heights:
        maps[0, label, row, column] = height
    return maps


# look

def test_what_is_seen(seen: Seen) -> None:
    """The colours of the photographs, where they are."""
    fcn, rgb = toy_fcn(), torch.stack([square(photo, 64) for photo in PHOTOS])
    maps, stages = fcn.scores_and_layers(rgb, ["relu1", "relu2", "relu3"])
    assert torch.allclose(seen.maps, maps, atol=1e-5) and torch.allclose(seen.scores, fcn(rgb), atol=1e-5) and not seen.maps.requires_grad
    assert [(image, label) for image, label, _, _ in places(seen.peaks)] == [(0, 0), (0, 2), (1, 1), (2, 2), (2, 2)]
    assert [level.shape[1:] for level in seen.levels] == [(d, 8, 8) for d in DEPTHS] and not any(level.requires_grad for level in seen.levels)
    assert torch.allclose(seen.levels[0], adaptive_avg_pool2d(stages["relu1"], 8), atol=1e-5) and stages["relu1"].shape[2] == 16
    assert all(torch.allclose(level, stages[name], atol=1e-5) for level, name in zip(seen.levels[1:], ("relu2", "relu3")))


def test_the_levels_are_in_the_order_of_the_stages_and_no_larger_than_the_encoded_maps() -> None:
    found = look(toy_fcn(), PHOTOS[:1], 64, 16, no_peaks)
    assert [tuple(level.shape) for level in found.levels] == [(1, d, 4, 4) for d in DEPTHS]
    assert [level.shape[2] for level in look(toy_fcn(), PHOTOS[:1], 64, 60, no_peaks).levels] == [15, 8, 8]


def test_peak_response_maps_are_pooled(seen: Seen) -> None:
    rgb = torch.stack([square(photo, 64) for photo in PHOTOS])
    expected = peak_response_maps(toy_fcn(), rgb, seen.peaks)
    assert torch.allclose(seen.prms, adaptive_avg_pool2d(expected[:, None], 32)[:, 0], rtol=1e-4, atol=1e-8)
    assert seen.prms.shape == (5, 32, 32) and torch.allclose(4 * seen.prms.sum((1, 2)), torch.ones(5), atol=1e-5)


def test_looking_inside_inference_mode_and_at_one_image_alone(seen: Seen) -> None:
    fcn = toy_fcn()
    with torch.inference_mode():
        alone = look(fcn, PHOTOS[2:], 64, 32, present(3))
    theirs = seen.of(2)
    assert places(alone.peaks) == places(theirs.peaks) and torch.allclose(alone.prms, theirs.prms, rtol=1e-3, atol=1e-7)


def test_no_peak_at_all() -> None:
    found = look(toy_fcn(), [Image.new("RGB", (40, 30))], 64, 32, present(3))
    assert len(found.peaks) == 0 and found.prms.shape == (0, 32, 32) and found.confidences.shape == (0,) and len(found.levels) == 3
    assert len(look(toy_fcn(), PHOTOS, 64, 32, no_peaks).peaks) == 0
    assert activate(toy_filling(), found).shape == (0, 32, 32) and responses(found, (7, 9)).shape == (0, 7, 9)
    assert refined(Image.new("RGB", (40, 30)), found.prms, MASKS.crf, 20).shape == (0, 15, 20)


# which peaks

def test_present_by_hand() -> None:
    """Of class 0 the two highest of three; class 1 has a positive peak, but the mean over its peaks is negative."""
    maps = plain((0, 1, 1, 5.0), (0, 1, 6, 3.0), (0, 4, 3, 4.0), (1, 2, 2, 2.0), (1, 4, 6, -0.5), ground=-9.0)
    maps[0, 0, 0, 4] = -0.5   # a peak below 0, which lowers the score alone
    assert [places(present(n)(maps)) for n in (1, 2, 9)] == [[(0, 0, 1, 1)], [(0, 0, 1, 1), (0, 0, 4, 3)], [(0, 0, 1, 1), (0, 0, 1, 6), (0, 0, 4, 3)]]
    assert places(labelled(torch.tensor([[True, True]]), 9)(maps)) == places(present(9)(maps))   # in training too
    assert present(9)(maps).value.tolist() == [5, 3, 4] and peak_stimulation(maps)[0, 1] < 0


def test_at_most_so_many_are_the_highest_of_each_image_and_class() -> None:
    """In the order in which they came; of equal ones the first."""
    image, label = torch.tensor([0, 0, 0, 0, 1, 1, 0]), torch.tensor([2, 2, 2, 0, 2, 2, 2])
    peaks = Peaks(image, label, torch.arange(7), 10 + torch.arange(7), torch.tensor([1.0, 3.0, 1.0, 0.5, 1.0, 1.0, 2.0]))
    assert [highest(peaks, n).row.tolist() for n in (0, 1, 2, 3, 4)] == [[], [1, 3, 4], [1, 3, 4, 5, 6], [0, 1, 3, 4, 5, 6], list(range(7))]
    two = highest(peaks, 2)
    assert (two.image.tolist(), two.label.tolist(), two.column.tolist(), two.value.tolist()) == ([0, 0, 1, 1, 0], [2, 0, 2, 2, 2], [11, 13, 14, 15, 16], [3, 0.5, 1, 1, 2])
    assert len(highest(no_peaks(plain()), 3)) == 0


def test_peaks_on_the_border_and_in_a_corner() -> None:
    maps = plain((0, 0, 0, 5.0), (0, 5, 4, 3.0), (0, 2, 7, 2.0))
    assert places(present(9)(maps)) == [(0, 0, 0, 0), (0, 0, 2, 7), (0, 0, 5, 4)]


def test_labelled_takes_the_classes_that_the_labels_name() -> None:
    maps = torch.cat([plain((0, 1, 1, 5.0), (1, 4, 6, 3.0), (1, 1, 1, 2.0))] * 3)
    named = torch.tensor([[True, False], [False, True], [False, False]])
    assert places(labelled(named, 9)(maps)) == [(0, 0, 1, 1), (1, 1, 1, 1), (1, 1, 4, 6)]
    assert places(labelled(named, 1)(maps)) == [(0, 0, 1, 1), (1, 1, 4, 6)]
    assert places(labelled(~named, 9)(maps)) == [(0, 1, 1, 1), (0, 1, 4, 6), (1, 0, 1, 1), (2, 0, 1, 1), (2, 1, 1, 1), (2, 1, 4, 6)]
    assert len(labelled(~named, 9)(-maps.abs())) == 0 and maps.min() > -2   # negative everywhere; the maps are as they were


def test_labelled_with_everything_named_is_present() -> None:
    maps = random_maps(1)
    assert places(labelled(torch.ones(2, 3, dtype=torch.bool), 2)(maps)) == places(present(2)(maps)) != []


def test_strongest_takes_the_best_class_alone() -> None:
    """Class 1 has the higher peak, class 0 the higher mean; of the other image it is the other way round."""
    one = plain((0, 1, 1, 5.0), (0, 4, 4, 4.0), (1, 2, 2, 6.0), (1, 4, 6, 1.0), ground=-9.0)
    maps = torch.cat([one, one.flip(1)])
    assert places(strongest(9)(maps)) == [(0, 0, 1, 1), (0, 0, 4, 4), (1, 1, 1, 1), (1, 1, 4, 4)]
    assert places(strongest(1)(maps)) == [(0, 0, 1, 1), (1, 1, 1, 1)] and strongest(9)(maps).value.tolist() == [5, 4, 5, 4]


def test_strongest_where_no_peak_is_positive() -> None:
    """The highest of the class with the better mean, where `present` has none."""
    maps = plain((0, 1, 1, -3.0), (0, 4, 4, -2.0), (1, 2, 2, -8.0), (1, 5, 7, -1.0), ground=-9.0)
    assert places(strongest(9)(maps)) == [(0, 0, 4, 4)] and len(present(9)(maps)) == 0


def test_strongest_has_the_highest_of_equal_negative_peaks_twice_and_a_positive_beside_none() -> None:
    equal = plain((0, 1, 1, -2.0), (0, 4, 4, -2.0), ground=-9.0, classes=1)
    assert places(strongest(9)(equal)) == [(0, 0, 1, 1), (0, 0, 4, 4)] and places(strongest(1)(equal)) == [(0, 0, 1, 1)]
    mixed = plain((0, 1, 1, -2.0), (0, 4, 4, 1.0), ground=-9.0, classes=1)   # the mean is negative: the positive one all the same, and that alone
    assert places(strongest(9)(mixed)) == [(0, 0, 4, 4)]


# what is seen of one image, and how sure

def test_of_one_image(seen: Seen) -> None:
    both = seen.of(2)
    assert places(both.peaks) == [(0, *place[1:]) for place in places(seen.peaks) if place[0] == 2] and len(both.peaks) == 2
    assert torch.equal(both.prms, seen.prms[3:]) and torch.equal(both.maps, seen.maps[2:]) and torch.equal(both.scores, seen.scores[2:])
    assert all(torch.equal(mine, level[2:]) for mine, level in zip(both.levels, seen.levels, strict=True))
    assert torch.allclose(both.confidences, seen.confidences[3:]) and torch.equal(both.peaks.value, seen.peaks.value[3:])
    filling = toy_filling()
    assert torch.allclose(activate(filling, both), activate(filling, seen)[3:], atol=1e-5)


def by_hand() -> Seen:
    maps = torch.cat([plain((0, 1, 1, 4.0), (0, 4, 4, 1.0), (1, 2, 2, 6.0)), plain((1, 3, 3, 2.0))])
    return Seen(maps, torch.tensor([[2.0, 0.0], [0.0, -1.0]]), find_peaks(maps, 0.0), torch.zeros(4, 8, 8), [])


def test_confidences_by_hand() -> None:
    seen = by_hand()
    assert places(seen.peaks) == [(0, 0, 1, 1), (0, 0, 4, 4), (0, 1, 2, 2), (1, 1, 3, 3)]
    assert seen.confidences.tolist() == pytest.approx([0.880797, 0.880797 / 4, 0.5, 0.268941], abs=1e-5)


def test_responses_by_hand() -> None:
    """Positive values of the class's own map, as large as the image."""
    one = replace(by_hand().of(0), maps=torch.tensor([[[[4.0, -4.0], [8.0, 2.0]], [[-1.0, 1.0], [1.0, 1.0]]]]))
    found = responses(one, (2, 1))
    assert found.shape == (3, 2, 1) and found.tolist() == [[[4], [8]], [[4], [8]], [[0], [1]]]
    assert responses(one, (4, 4))[0, 1, 3] == 0.25 * 2   # a quarter of the way from 0 (not -4) down to 2


# from squares to the image

@pytest.mark.parametrize(("height", "width"), [(20, 33), (33, 20), (16, 16), (7, 50), (9, 4)])
def test_unsquared_is_a_crop_of_an_interpolated_square(height: int, width: int) -> None:
    maps, side = torch.rand(3, 16, 16), max(height, width)
    found = unsquared(maps, height, width)
    whole = torch.stack([interpolate(one[None, None], (side, side), mode="bilinear")[0, 0] for one in maps])
    assert found.shape == (3, height, width) and torch.equal(found, whole[:, :height, :width])
    assert unsquared(maps[:0], height, width).shape == (0, height, width) and unsquared(maps.half(), height, width).dtype == torch.float32


def test_unsquared_undoes_the_padding() -> None:
    """A map that is the padded photograph itself comes back as the photograph."""
    photo = toy_photo(("red",), 4, (48, 32))[0]
    back = unsquared(square(photo, 48), 32, 48)
    assert torch.equal(back, square(photo, 48)[:, :32]) and back.shape == (3, 32, 48)


@pytest.mark.parametrize("size", [(56, 40), (30, 44), (26, 23)])
def test_refined(size: tuple[int, int]) -> None:
    photo, maps = toy_photo(("red",), 5, size)[0], torch.rand(2, 16, 16)
    small = shrunk(photo, 28)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)
    found = refined(photo, maps, MASKS.crf, 28)
    assert found.shape == (2, small.height, small.width) and max(found.shape[1:]) == min(28, max(size))
    assert torch.allclose(found, refine_instances(pixels, unsquared(maps, small.height, small.width), MASKS.crf), atol=1e-6)


def test_activate(seen: Seen) -> None:
    filling = toy_filling()
    found = activate(filling, seen)
    assert torch.equal(found, filling(seen.prms, seen.levels, seen.peaks.image).sigmoid()) and found.shape == (5, 32, 32)
    assert not found.requires_grad and found.min() >= 0 and found.max() <= 1 and found.std() > 0
    turned = replace(seen, levels=[level.flip(0) for level in seen.levels])
    assert not torch.allclose(activate(filling, turned)[0], found[0], atol=1e-4)   # every peak has its own image's levels
