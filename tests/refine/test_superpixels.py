"""Superpixels: a partition without gaps that follows edges.

Pooling against enlarging and averaging literally.
"""
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import label
from torch.nn.functional import interpolate

from lib.refine.superpixels import paint, pool, slic


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A dark disc on a light ground, noisy; 90 x 60."""
    y, x = np.mgrid[:60, :90]
    inside = (y - 30) ** 2 + (x - 40) ** 2 < 18 ** 2
    noise = np.random.default_rng(0).normal(0, 6, (60, 90, 3))
    values = np.where(inside[..., None], (40, 60, 160), (200, 190, 120)) + noise
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def test_labels_run_from_zero_without_gaps_and_each_is_connected(photo: Image.Image) -> None:
    labels = slic(photo, 60)
    assert labels.shape == (60, 90)
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1)) and 30 <= labels.max() + 1 <= 90
    assert all(label(labels == i)[1] == 1 for i in range(labels.max() + 1))
    assert np.array_equal(labels, slic(photo, 60))


def test_superpixels_respect_the_edge(photo: Image.Image) -> None:
    inside = np.asarray(photo)[..., 0] < 120
    labels = slic(photo, 60)
    share = np.array([inside[labels == i].mean() for i in range(labels.max() + 1)])
    assert np.minimum(share, 1 - share).mean() < 0.03   # squares of that size would be mixed by 0.06


def test_a_grey_photo_and_one_superpixel() -> None:
    assert np.array_equal(slic(Image.new("L", (9, 7), 80), 1), np.zeros((7, 9)))


@pytest.mark.parametrize("small", [(5, 7), (1, 1), (40, 30), (13, 50), (80, 70)])
def test_pool_is_the_mean_of_the_enlarged_maps(small: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    labels = np.concatenate([np.arange(6), rng.integers(0, 6, 40 * 30 - 6)]).reshape(40, 30)
    maps = torch.from_numpy(rng.normal(size=(11, *small))).float()
    large = interpolate(maps[None], (40, 30), mode="bilinear", align_corners=False)[0]
    literal = torch.stack([large[:, torch.from_numpy(labels == i)].mean(1) for i in range(6)])
    torch.testing.assert_close(pool(maps, labels), literal, rtol=1e-4, atol=1e-5)


def test_pool_by_hand() -> None:
    labels = np.array([[0, 0, 1], [2, 1, 1]])
    maps = torch.tensor([[[1.0, 3.0, 5.0], [7.0, 8.0, 2.0]]])
    assert pool(maps, labels).tolist() == [[2.0], [5.0], [7.0]]


def test_paint_by_hand_and_back() -> None:
    labels = np.array([[0, 0, 1], [2, 1, 1]])
    values = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    painted = paint(values, labels)
    assert painted.tolist() == [[[1, 1, 2], [3, 2, 2]], [[10, 10, 20], [30, 20, 20]]]
    assert np.allclose(pool(torch.from_numpy(painted), labels).numpy(), values)
