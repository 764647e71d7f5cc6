"""Intersection over union from counted pixels, of arrays and of tensors."""
import numpy as np
import pytest
import torch

from lib.metrics.iou import iou_of_areas

SHARED = np.array([[3, 0, 0], [1, 2, 0]])
AREAS = np.array([3, 4])
OTHERS = np.array([6, 2, 0])


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64])
def test_by_hand(kind: type) -> None:
    found = iou_of_areas(SHARED.astype(kind), AREAS.astype(kind), OTHERS.astype(kind))
    np.testing.assert_allclose(found, [[3 / 6, 0, 0], [1 / 9, 2 / 4, 0]], rtol=1e-7)
    assert found.dtype == (np.float32 if kind is np.float32 else np.float64)


def test_tensors_are_as_arrays() -> None:
    shared, areas, others = (torch.from_numpy(values).float() for values in (SHARED, AREAS, OTHERS))
    found = iou_of_areas(shared, areas, others)
    expected = iou_of_areas(*(values.astype(np.float32) for values in (SHARED, AREAS, OTHERS)))
    assert found.dtype == torch.float32 and np.array_equal(found.numpy(), expected)


def test_nothing_overlaps_nothing() -> None:
    """It is 0 where both are empty, without a warning of a division."""
    empty = np.zeros(1, dtype=int)
    with np.errstate(all="raise"):
        assert iou_of_areas(np.zeros((1, 1), dtype=int), empty, empty).tolist() == [[0]]
    assert iou_of_areas(torch.zeros(1, 1), torch.zeros(1), torch.zeros(1)).tolist() == [[0]]
