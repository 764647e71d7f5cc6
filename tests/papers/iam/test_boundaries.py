"""Arrows at the boundaries of objects, by hand."""
from types import SimpleNamespace

import numpy as np
import pytest

from lib.papers.iam import studies as iam_boundaries
from lib.papers.iam.studies import boundary_table, opposed

OF = SimpleNamespace(network=SimpleNamespace(seeds=[3]))


def arrows(right: list[list[float]], down: list[list[float]] | None = None) -> np.ndarray:
    return np.array([right, np.zeros_like(right) if down is None else down], dtype=float)


def sums(found: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, int]]:
    """(opposed, all) across and inside."""
    return [(int(part.sum()), len(part)) for part in found]


NUMBERS = np.array([[1, 1, 1, 2, 2, 2]])


def test_arrows_that_turn_at_a_boundary() -> None:
    for field in ([[1, 1, 1, -1, -1, -1]], [[-0.1, -1, -1, 3, 3, 0.1]]):   # towards each other, or apart
        assert sums(opposed(arrows(field), NUMBERS, 1)) == [(1, 1), (0, 4)]
        assert sums(opposed(arrows(field), NUMBERS, 2)) == [(2, 2), (0, 2)]
    assert sums(opposed(arrows([[1, 1, 1, -1, -1, -1]]), NUMBERS)) == [(2, 2), (0, 0)]   # four places apart
    assert sums(opposed(arrows([[1, 1, 1, -1, -1, -1]])[:, :, :3], NUMBERS[:, :3])) == [(0, 0), (0, 0)]


def test_arrows_that_are_all_alike() -> None:
    assert sums(opposed(arrows([[1, 2, 1, 1, 1, 1]]), NUMBERS, 1)) == [(0, 1), (0, 4)]
    assert sums(opposed(arrows([[0, 0, 0, 0, 0, 0]]), NUMBERS, 1)) == [(0, 1), (0, 4)]


def test_arrows_that_turn_inside_an_object() -> None:
    assert sums(opposed(arrows([[1, -1, -1, -1, 1, -1]]), NUMBERS, 1)) == [(0, 1), (3, 4)]


def test_void_and_background() -> None:
    field = arrows([[1, -1, 1, -1, 1, -1]])
    assert sums(opposed(field, np.array([[1, 1, 255, 2, 2, 255]]), 1)) == [(0, 0), (2, 2)]
    assert sums(opposed(field, np.array([[255, 255, 255, 255, 2, 2]]), 1)) == [(0, 0), (1, 1)]
    assert sums(opposed(field, np.array([[0, 0, 0, 1, 1, 0]]), 1)) == [(2, 2), (1, 1)]   # an object ends at the background; that is no object
    assert sums(opposed(field, np.zeros((1, 6), int), 1)) == [(0, 0), (0, 0)]


def test_each_axis_has_its_own_component() -> None:
    """Object 1 over object 2; only what points up or down can turn there."""
    numbers = np.array([[1, 1], [1, 1], [2, 2]])
    turned, alike = [[1, 1], [1, 1], [-1, -1]], [[1, 1], [1, 1], [1, 1]]
    assert sums(opposed(arrows(alike, turned), numbers, 1)) == [(2, 2), (0, 2 + 3)]
    assert sums(opposed(arrows(turned, alike), numbers, 1)) == [(0, 2), (0, 2 + 3)]
    assert sums(opposed(arrows([[1, -1]] * 3, alike), numbers, 1)) == [(0, 2), (3, 2 + 3)]


def test_places_are_looked_up_in_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of 2 x 6 places on images of 6 x 18 pixels; an image whose objects are too small for pairs inside says nothing."""
    numbers = np.repeat(np.repeat(np.array([[1, 1, 1, 1, 1, 2], [0, 0, 0, 0, 0, 0]], dtype=np.uint8), 3, 0), 3, 1)
    small = np.zeros_like(numbers)
    small[:3, :3] = 1
    images = [SimpleNamespace(shape=numbers.shape, numbers=one) for one in (numbers, small, numbers)]
    fields = iter([arrows([[1, 1, 1, 1, 1, -1], [1] * 6]), arrows([[1] * 6] * 2), arrows([[1, 1, 1, 1, -1, 1], [1] * 6])])
    y, x = np.meshgrid((np.arange(2) + 0.5) / 2, (np.arange(6) + 0.5) / 6, indexing="ij")
    asked = []

    def field(of, scene, job):
        asked.append((job.k, job.seed, job.unseen))
        return next(fields), np.stack([x, y])

    monkeypatch.setattr(iam_boundaries, "scenes", lambda of, samples, jobs, label: iter(images))
    monkeypatch.setattr(iam_boundaries, "field", field)
    rows, compared = boundary_table(OF, [None] * 3, (50, 0.95, 0))
    # first: 1 to 2 turns, 1 to 1 does not; third: the other way round
    assert rows["across"]["opposed"]["mean"] == pytest.approx(50) and rows["inside"]["opposed"]["mean"] == pytest.approx(50)
    assert compared["across - inside"]["opposed"]["low"] == -100 and compared["across - inside"]["opposed"]["high"] == 100   # paired by image
    assert asked == [(5, 3, False)] * 3
