"""Peaks of class maps: by hand, and against PRM's original layer, transcribed."""
import pytest
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from lib.maps.peaks import find_peaks, is_peak, peak_stimulation

HAND = torch.tensor([[9., 1., 1., 2., 1.], [1., 1., 5., 1., 1.], [1., 1., 1., 1., 8.]])


def original(maps: Tensor) -> tuple[list[list[int]], Tensor]:
    """`PeakStimulation.forward` of the authors' code, line by line: places and aggregation."""
    offset = 1
    padded = torch.nn.ConstantPad2d(offset, float("-inf"))(maps)
    batch_size, num_channels, h, w = padded.size()
    element_map = torch.arange(0, h * w).long().view(1, 1, h, w)[:, :, offset:-offset, offset:-offset]
    _, indices = max_pool2d(padded, kernel_size=3, stride=1, return_indices=True)
    peak_map = indices == element_map
    size = maps.size()
    threshold, _ = torch.median(maps.view(size[0], size[1], size[2] * size[3]), dim=2)
    peak_map = peak_map & (maps >= threshold.contiguous().view(size[0], size[1], 1, 1))
    flat = peak_map.float().view(batch_size, num_channels, -1)
    aggregation = (maps * peak_map.float()).view(batch_size, num_channels, -1).sum(2) / flat.sum(2)
    return torch.nonzero(peak_map).tolist(), aggregation


@pytest.mark.parametrize("size", [(7, 7), (9, 5), (1, 6), (1, 1)])
def test_as_the_original(size: tuple[int, int]) -> None:
    maps = torch.randn(3, 4, *size, generator=torch.Generator().manual_seed(1))
    places, scores = original(maps)
    assert is_peak(maps).nonzero().tolist() == places
    assert torch.allclose(peak_stimulation(maps), scores, atol=1e-6)


def test_peaks_by_hand() -> None:
    """9 and 8 lie on the border; 5 rules its window; 2 is beside it."""
    assert is_peak(HAND[None, None]).nonzero()[:, 2:].tolist() == [[0, 0], [1, 2], [2, 4]]
    assert peak_stimulation(HAND[None, None]).tolist() == [[pytest.approx(22 / 3)]]


def test_a_peak_below_the_median_is_none() -> None:
    maps = torch.full((3, 7), 4.)
    maps[:, 4:] = torch.tensor([[1., 1., 1.], [1., 2., 1.], [1., 1., 1.]])
    maps[1, 1] = 6
    # neither the 2, nor the plateau of 4: each of its pixels meets the 6 or an earlier one
    assert is_peak(maps[None, None]).nonzero()[:, 2:].tolist() == [[1, 1]]


def test_only_peaks_are_stimulated() -> None:
    maps = HAND[None, None].clone().requires_grad_()
    (3 * peak_stimulation(maps)).sum().backward()
    assert maps.grad.nonzero()[:, 2:].tolist() == [[0, 0], [1, 2], [2, 4]]
    gradient = maps.grad[0, 0]
    assert gradient[gradient > 0].tolist() == pytest.approx([1, 1, 1])   # 3 shared by three peaks


def test_peaks_of_present_classes_above_the_threshold() -> None:
    first = torch.stack([HAND, -HAND])
    second = torch.stack([HAND.flip(1), HAND - 8])   # the last: 1, -3 and 0, on the whole negative
    maps = torch.stack([first, second])
    found = find_peaks(maps, 5.)
    columns = [values.tolist() for values in vars(found).values()]
    assert list(zip(*columns, strict=True)) == [
        (0, 0, 0, 0, 9.), (0, 0, 2, 4, 8.), (1, 0, 0, 4, 9.), (1, 0, 2, 0, 8.)]
    assert len(found) == 4 and len(find_peaks(maps, 9.)) == 0
    assert find_peaks(maps, -10.).label.tolist() == [0, 0, 0, 0, 0, 0]
