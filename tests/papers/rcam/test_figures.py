"""Figures of rCAM: the images that are shown are chosen by score, and every grid has its pictures."""
import numpy as np
import pytest

from lib.data.dataset import Dataset, Sample
from lib.metrics.fmeasure import Curve
from lib.metrics.scoring import Scored
from lib.papers.rcam.figures import best_f, component_grid, contact_sheet, extreme_grid, extremes, map_grid


def flat(precision: float) -> Curve:
    """An image whose recall is 1 and whose precision is the same at every threshold."""
    return Curve(np.full(255, precision), np.ones(255), 0.0)


@pytest.fixture
def scored(samples: list[Sample]) -> Scored:
    curves = [flat(precision) for precision in (0.5, 0.2, 0.9, 0.2)]
    return Scored({"rcam": curves}, [samples[i].id for i in (0, 2, 3, 4)])


def test_extremes_by_hand(scored: Scored) -> None:
    expected = [1.3 * precision / (0.3 * precision + 1) for precision in (0.5, 0.2, 0.9, 0.2)]
    assert best_f(scored, "rcam") == pytest.approx(expected)
    best, worst = extremes(scored, "rcam", 2)
    assert (best, worst) == ([2, 0], [1, 3])   # equals in their order


def test_extremes_are_labelled_with_their_f(network, samples: list[Sample], settings, scored: Scored) -> None:
    best, worst = extreme_grid(network, samples, scored, settings, 2)
    f = best_f(scored, "rcam")
    labels = [[grid.axes[0].get_ylabel(), grid.axes[8].get_ylabel()] for grid in (best, worst)]
    assert labels == [[f"F {f[2]:.2f}", f"F {f[0]:.2f}"], [f"F {f[1]:.2f}", f"F {f[3]:.2f}"]]


def test_grids_have_a_row_for_every_image(network, samples: list[Sample], settings) -> None:
    grid = map_grid(network, samples[:2], settings)
    assert len(grid.axes) == 2 * 8   # image, six maps, truth
    assert [grid.axes[i].get_ylabel() for i in (0, 8)] == ["s0", "s1"]
    assert len(component_grid(network, samples[:2], settings).axes) == 2 * (1 + 3 * 4)


def test_the_contact_sheet_is_filled_up(samples: list[Sample]) -> None:
    assert len(contact_sheet(Dataset(samples[0].folder), "test").axes) == 8   # six images, two blanks
