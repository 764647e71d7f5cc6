"""Arrows at the boundaries of objects, by hand."""
from types import SimpleNamespace

import numpy as np
import pytest

from lib.metrics.bootstrap import Chance
from lib.papers.iam import studies
from lib.papers.iam.studies import APART, Opposed, boundary_table, opposed, opposed_shares
from lib.papers.iam.trained import Trained

TRAINED = Trained(None, None, {}, SimpleNamespace(seeds=[3]), None, None)


def arrows(right: list[list[float]], down: list[list[float]] | None = None) -> np.ndarray:
    return np.array([right, np.zeros_like(right) if down is None else down], dtype=float)


def sums(found: Opposed) -> list[tuple[int, int]]:
    """(opposed, all) across and inside."""
    return [(int(part.sum()), len(part)) for part in (found.across, found.inside)]


NUMBERS = np.array([[1, 1, 1, 2, 2, 2]])


def test_arrows_that_turn_at_a_boundary() -> None:
    turning = arrows([[1, 1, 1, -1, -1, -1]])
    for field in (turning, arrows([[-0.1, -1, -1, 3, 3, 0.1]])):   # towards each other, or apart
        assert sums(opposed(field, NUMBERS, 1)) == [(1, 1), (0, 4)]
        assert sums(opposed(field, NUMBERS, 2)) == [(2, 2), (0, 2)]
    assert APART == 4
    assert sums(opposed(turning, NUMBERS, APART)) == [(2, 2), (0, 0)]
    assert sums(opposed(turning[:, :, :3], NUMBERS[:, :3], APART)) == [(0, 0), (0, 0)]


def test_arrows_that_are_all_alike() -> None:
    assert sums(opposed(arrows([[1, 2, 1, 1, 1, 1]]), NUMBERS, 1)) == [(0, 1), (0, 4)]
    assert sums(opposed(arrows([[0, 0, 0, 0, 0, 0]]), NUMBERS, 1)) == [(0, 1), (0, 4)]


def test_arrows_that_turn_inside_an_object() -> None:
    assert sums(opposed(arrows([[1, -1, -1, -1, 1, -1]]), NUMBERS, 1)) == [(0, 1), (3, 4)]


def test_void_and_background() -> None:
    field = arrows([[1, -1, 1, -1, 1, -1]])
    assert sums(opposed(field, np.array([[1, 1, 255, 2, 2, 255]]), 1)) == [(0, 0), (2, 2)]
    assert sums(opposed(field, np.array([[255, 255, 255, 255, 2, 2]]), 1)) == [(0, 0), (1, 1)]
    # An object ends at the background; that is no object.
    assert sums(opposed(field, np.array([[0, 0, 0, 1, 1, 0]]), 1)) == [(2, 2), (1, 1)]
    assert sums(opposed(field, np.zeros((1, 6), int), 1)) == [(0, 0), (0, 0)]


def test_each_axis_has_its_own_component() -> None:
    """Object 1 over object 2; only what points up or down can turn there."""
    numbers = np.array([[1, 1], [1, 1], [2, 2]])
    turned = [[1, 1], [1, 1], [-1, -1]]
    alike = [[1, 1], [1, 1], [1, 1]]
    assert sums(opposed(arrows(alike, turned), numbers, 1)) == [(2, 2), (0, 2 + 3)]
    assert sums(opposed(arrows(turned, alike), numbers, 1)) == [(0, 2), (0, 2 + 3)]
    assert sums(opposed(arrows([[1, -1]] * 3, alike), numbers, 1)) == [(0, 2), (3, 2 + 3)]


def enlarged_three_times(rows: list[list[int]]) -> np.ndarray:
    return np.repeat(np.repeat(np.array(rows, dtype=np.uint8), 3, 0), 3, 1)


def test_places_are_looked_up_in_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of 2 x 6 places on images of 6 x 18 pixels.

    An image whose objects are too small for pairs inside says nothing.
    """
    numbers = enlarged_three_times([[1, 1, 1, 1, 1, 2], [0, 0, 0, 0, 0, 0]])
    small = np.zeros_like(numbers)
    small[:3, :3] = 1
    images = [SimpleNamespace(shape=numbers.shape, numbers=one) for one in (numbers, small, numbers)]
    # First: 1 to 2 turns, 1 to 1 does not; third: the other way round.
    fields = iter([arrows([[1, 1, 1, 1, 1, -1], [1] * 6]), arrows([[1] * 6] * 2),
                   arrows([[1, 1, 1, 1, -1, 1], [1] * 6])])
    y, x = np.meshgrid((np.arange(2) + 0.5) / 2, (np.arange(6) + 0.5) / 6, indexing="ij")

    def field(trained, scene):
        return next(fields), np.stack([x, y])

    monkeypatch.setattr(studies, "field", field)
    shares = [opposed_shares(TRAINED, image) for image in images]
    assert shares[1] is None
    rows, compared = boundary_table(shares, Chance(50, 0.95, 0))
    assert rows["across"]["opposed"]["mean"] == pytest.approx(50)
    assert rows["inside"]["opposed"]["mean"] == pytest.approx(50)
    difference = compared["across - inside"]["opposed"]   # paired by image
    assert difference["low"] == -100 and difference["high"] == 100
