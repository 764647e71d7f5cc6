"""What the lattice costs: one computation by both backends, and its row, by hand."""
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lib.crf_exactness import COLUMNS, Both, by_both, mask_grid, mean_iou, words
from lib.metrics.bootstrap import Chance
from lib.metrics.miou import Confusions
from lib.refine.crf import refine_foreground
from lib.refine.settings import CrfSettings

CHANCE = Chance(20, 0.95, 0)
SETTINGS = CrfSettings(theta_alpha=5, theta_beta=20, theta_gamma=2, bilateral=1, spatial=1, iterations=5)


def fields(*foregrounds: Sequence[float]) -> list[np.ndarray]:
    """Marginals `(2, 1, W)` of images of one row."""
    return [np.stack([1 - np.array([row]), np.array([row])]) for row in foregrounds]


BOTH = Both(("a", "b"), fields([0.4, 0.6, 0.1, 0.9], [0.5, 0.2, 0.2, 0.2]),
            fields([0.6, 0.7, 0.1, 0.9], [0.5, 0.2, 0.2, 0.3]))


def test_both_backends_compute_the_same_thing() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (8, 9, 3)).astype(np.uint8)
    given = random.uniform(0.2, 0.8, (8, 9)).astype(np.float32)
    both = by_both(refine_foreground, image, given, SETTINGS)
    assert np.array_equal(both.results[0], refine_foreground(image, given, SETTINGS, "pydensecrf"))
    assert np.array_equal(both.results[1], refine_foreground(image, given, SETTINGS, "exact"))
    assert not np.array_equal(*both.results)
    for result, (field,) in zip(both.results, (both.lattice, both.exact), strict=True):
        assert np.array_equal(field[1], result)


def test_a_row_by_hand() -> None:
    draws = [np.full(21, 0.50), np.linspace(0.51, 0.61, 21)]
    row = BOTH.row(draws, CHANCE)
    assert tuple(row) == COLUMNS
    assert row["lattice"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert row["difference"]["mean"] == pytest.approx(0.01) and row["difference"]["low"] > 0.01
    assert row["pixels"]["mean"] == pytest.approx((25 + 0) / 2)       # one of four, none of four
    assert row["mean_gap"]["mean"] == pytest.approx((0.3 / 4 + 0.1 / 4) / 2)
    assert row["largest_gap"]["mean"] == pytest.approx((0.2 + 0.1) / 2)
    assert (row["pixels"]["low"], row["pixels"]["high"]) == (0, 25)   # one image or the other alone


def test_some_crfs_of_several_an_image() -> None:
    many = Both(("a", "b"), list("uvwxyz"), list("UVWXYZ"))
    assert many.every(3, 1) == Both(("a", "b"), ["v", "y"], ["V", "Y"])


def test_mean_iou_is_over_the_classes_that_are_there() -> None:
    counts = Confusions.of([np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]])])
    samples = [SimpleNamespace(labels=("dog",))]
    found = mean_iou(counts, samples, ["dog", "cat"], CHANCE)
    assert found[0] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2) and found.shape == (21,)


def test_a_figure_shows_every_photograph_with_both_masks() -> None:
    figure = mask_grid([Image.new("RGB", (4, 1))] * 2, BOTH, ["dog", "cat"])
    titles = [axis.get_title() for axis in figure.axes[:5]]
    assert titles == ["photograph", "lattice", "exact", "|difference|, 0 to 0.5", "other label"]
    lattice, exact, apart, changed = (np.asarray(axis.images[0].get_array()) for axis in figure.axes[1:5])
    assert np.array_equal(lattice[0, ::40], [0, 1, 0, 1]) and np.array_equal(exact[0, ::40], [1, 1, 0, 1])
    assert np.allclose(apart[0, ::40], [0.4, 0.2, 0, 0]) and np.array_equal(changed[0, ::40], [1, 0, 0, 0])


@pytest.mark.parametrize("low, verdict", [(-0.01, "no change is within the interval"), (0.005, "it moves")])
def test_a_sentence_a_row(low: float, verdict: str) -> None:
    rows = {"rcam": {"difference": {"mean": 0.01, "low": low, "high": 0.02}, "pixels": {"mean": 1.234}}}
    (sentence,) = words(rows, {"rcam": "rCAM"}.__getitem__)
    assert sentence.startswith("rCAM: +0.01 (") and verdict in sentence and "1.23 % of the pixels" in sentence
