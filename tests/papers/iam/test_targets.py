"""The worth of pseudo masks, on an image of three objects whose every overlap is known."""
import numpy as np
import pytest
import torch
from iam_toys import SETTINGS
from torch import Tensor

from lib.maps.peaks import Peaks
from lib.metrics.bootstrap import Chance
from lib.papers.iam import studies
from lib.papers.iam.method import ClassifierOutput
from lib.papers.iam.rows import Scene
from lib.papers.iam.studies import PseudoMasks, pseudo_masks_of, target_rows, truth_masks

MATCHING = "matching"
RETRIEVAL = "retrieval"
OWN = "retrieval, background of the PRM"


def quarter(row: int, column: int) -> np.ndarray:
    mask = np.zeros((8, 8), dtype=bool)
    mask[row:row + 4, column:column + 4] = True
    return mask


def prm(*shares: tuple[int, int, float]) -> Tensor:
    one = torch.zeros(8, 8)
    for y, x, share in shares:
        one[y, x] = share
    return one


def scene(labels: list[int], prms: list[Tensor], classes: dict[int, int] | None = None) -> Scene:
    """Objects 2 and 5 of class 0 in opposite corners, 7 of class 1 beside them.

    Proposals are object 5, object 7 and everything.
    """
    numbers = np.zeros((8, 8), dtype=np.uint8)
    numbers[quarter(0, 0)] = 2
    numbers[quarter(4, 4)] = 5
    numbers[quarter(0, 4)] = 7
    maps = torch.full((1, 3, 8, 8), -1.0)
    maps[0, 0, 4:, 4:] = 1   # all but an object is background to its class
    maps[0, 1, :4, 4:] = 1
    maps[0, 2] = 1
    nowhere = torch.zeros(len(labels), dtype=torch.long)
    label = torch.tensor(labels, dtype=torch.long)
    peaks = Peaks(nowhere, label, nowhere, nowhere, torch.ones(len(labels)))
    stacked = torch.stack(prms) if prms else torch.zeros(0, 8, 8)
    output = ClassifierOutput(maps, torch.ones(1, 3), peaks, stacked, [])
    proposals = np.stack([quarter(4, 4), quarter(0, 4), np.ones((8, 8), bool)])
    truth = {2: 0, 5: 0, 7: 1} if classes is None else classes
    return Scene(None, None, numbers, truth, proposals, output, {})


# Half of the map lies on an object of another class; object 5 has most of the rest.
ASTRAY = prm((1, 6, 0.5), (6, 6, 0.3), (1, 1, 0.2))


def percent(found: PseudoMasks) -> tuple[float, float]:
    return found.overlap, found.area


def test_the_target_is_the_object_of_the_class_with_most_of_the_map() -> None:
    rows = dict(pseudo_masks_of(SETTINGS, scene([0], [ASTRAY]), [1, 3]))
    assert len(rows) == 6
    of_all = 100 * (1 + 0 + 0.25) / 3, 100 * (1 / 4 + 1 / 4 + 1) / 3
    for name in (MATCHING, RETRIEVAL, OWN):
        assert percent(rows[f"{name}, k = 3"]) == pytest.approx(of_all)
    # 0.24, 0.4 and 0.8 are inside; 0, 16 and 48 pixels of the proposals are background by the class map,
    # 15, 15 and 61 by the map itself, at 0.031 each.
    assert percent(rows["matching, k = 1"]) == pytest.approx((25, 100))
    assert percent(rows["retrieval, k = 1"]) == pytest.approx((100, 25))
    assert percent(rows["retrieval, background of the PRM, k = 1"]) == pytest.approx((0, 25))


def test_peaks_on_no_object_of_their_class_do_not_count() -> None:
    beside = prm((6, 1, 1.0))

    def number_of(some: Scene, ks: list[int]) -> int:
        return len(list(pseudo_masks_of(SETTINGS, some, ks)))

    assert number_of(scene([2, 0, 1], [ASTRAY, beside, beside]), [1]) == 0
    assert number_of(scene([], []), [1]) == 0
    assert number_of(scene([0], [ASTRAY], {}), [1]) == 0   # no object at all
    assert number_of(scene([2, 1, 0], [ASTRAY, ASTRAY, ASTRAY]), [1, 2]) == 3 * 2 * 2


def test_truth_at_another_size() -> None:
    found = truth_masks(scene([], []), (4, 4))
    assert found.dtype == torch.bool and found.shape == (3, 4, 4)
    corners = [np.argwhere(one.numpy())[[0, -1]].tolist() for one in found]
    assert corners == [[[0, 0], [1, 1]], [[2, 2], [3, 3]], [[0, 2], [1, 3]]]


def test_means_over_peaks_with_images_drawn() -> None:
    """Two peaks on the first image, none on the second, one on the third."""
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0]]) / 3
    entries = [(0, PseudoMasks(10.0, 1.0)), (0, PseudoMasks(20.0, 2.0)), (2, PseudoMasks(60.0, 6.0))]
    found = studies._means(entries, weights)
    assert found["target_iou"] == pytest.approx([30, 24, 0])
    assert found["target_area"] == pytest.approx([3, 2.4, 0])


def test_rows_over_images() -> None:
    exact = prm((1, 6, 1.0))   # on object 7, whose class map tells all the rest for background
    images = [scene([0], [ASTRAY]), scene([], []), scene([1, 1], [exact, exact])]
    found = [list(pseudo_masks_of(SETTINGS, image, [1, 3])) for image in images]
    rows = target_rows(found, Chance(50, 0.95, 0))
    assert set(rows) == {f"{name}, k = {k}" for name in (MATCHING, RETRIEVAL, OWN) for k in (1, 3)}
    assert rows["retrieval, k = 1"]["target_iou"]["mean"] == pytest.approx(100)
    # Of equals the first.
    assert rows["matching, k = 1"]["target_iou"]["mean"] == pytest.approx((25 + 100 + 100) / 3)
    assert rows["retrieval, background of the PRM, k = 1"]["target_iou"]["mean"] == pytest.approx(200 / 3)
    assert rows["retrieval, k = 1"]["target_area"]["mean"] == pytest.approx(25)
