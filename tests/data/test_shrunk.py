"""Photographs at the size at which segments are found."""
import numpy as np
import pytest
from PIL import Image

from lib.data.images import shrunk


@pytest.mark.parametrize("size, expected", [((500, 300), (250, 150)), ((300, 500), (150, 250)), ((301, 203), (250, 169)), ((250, 250), (250, 250)),
                                            ((251, 1), (250, 1)), ((1, 1), (1, 1)), ((249, 30), (249, 30))])
def test_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    photo = Image.new("RGB", size)
    assert shrunk(photo, 250).size == expected and photo.size == size   # the photograph itself stays as it is


def test_small_ones_are_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(shrunk(Image.fromarray(pixels), 9)), pixels)


def test_pixels_are_means_of_those_they_cover() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for side, n in ((40, 2), (20, 4)):
        means = pixels.reshape(60 // n, n, 80 // n, n, 3).astype(float).mean((1, 3))
        assert np.abs(np.asarray(shrunk(Image.fromarray(pixels), side)).astype(float) - means).max() <= 1
