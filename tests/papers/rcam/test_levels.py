"""Separation and gradient of every level: areas under curves as in scikit-learn, levels measured by hand."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.papers.rcam.levels import Levels, auc, component_table, components, level_table, levels
from lib.papers.rcam.settings import RcamSettings
from lib.refine.shape import principal_components

SIDES: tuple[int, ...] = (32, 16, 8, 4)   # of the levels of the small network at 64 pixels
CHANCE = Chance(100, 0.95, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tied", [False, True])
def test_auc_as_scikit_learn(seed: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random(200) < 0.3
    values = rng.normal(0, 1, 200) + (seed - 2) * inside
    if tied:
        values = values.round()
    expected = roc_auc_score(inside, values)
    assert auc(values, inside) == pytest.approx(max(expected, 1 - expected))
    assert auc(-values, inside) == pytest.approx(auc(values, inside))   # up to sign


@pytest.mark.parametrize("values, inside, expected", [
    ([1.0, 2, 3, 4], [False, False, True, True], 1),
    ([1.0, 2, 3, 4], [True, True, False, False], 1),
    ([1.0, 2, 3, 4], [False, True, False, True], 0.75),
    ([1.0, 1, 1, 1], [False, True, False, True], 0.5),
])
def test_auc_by_hand(values: list[float], inside: list[bool], expected: float) -> None:
    assert auc(np.array(values), np.array(inside)) == expected


def test_components_of_every_level(network, photos, settings: RcamSettings) -> None:
    maps = components(network, photos[:2], replace(settings, sizes=(64, 128)))
    shapes = {side: tuple(values.shape) for side, values in maps.items()}
    assert shapes == {side: (2, 3, side, side) for side in SIDES}
    squares = []
    for photo in photos[:2]:
        pixels = np.array(photo.resize((64, 64), Image.Resampling.BILINEAR))
        squares.append(torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    with torch.no_grad():
        outputs = network.maps(torch.stack(squares))
    assert torch.allclose(maps[8], principal_components([outputs["eight"], outputs["branch"]]), atol=1e-4)
    assert torch.allclose(maps[32], principal_components([outputs["two"]]), atol=1e-4)


def test_levels_by_hand(network, settings: RcamSettings, samples: list[Sample]) -> None:
    """The second sample has no foreground and does not count; batches change nothing."""
    measured = levels(network, samples, settings, batch=4)
    assert measured.separation.shape == measured.gradient.shape == (5, 4)
    assert measured.component.shape == (5,)
    counted = [sample for sample in samples if sample.id != "s1"]
    for row, sample in enumerate(counted):
        truth = sample.foreground()[0].astype(np.float32)
        edges = literal_gradient(sample)
        maps = components(network, [sample.photo()], settings)
        for column, side in enumerate(SIDES):
            flat = [component.ravel() for component in maps[side][0].numpy()]
            share = area(truth, side)
            inside = (share >= min(0.5, share.max())).ravel()
            one_way = [roc_auc_score(inside, values) for values in flat]
            either_way = [max(chance, 1 - chance) for chance in one_way]
            assert measured.separation[row, column] == pytest.approx(max(either_way), abs=2e-3)
            follows = [abs(np.corrcoef(values, area(edges, side).ravel())[0, 1]) for values in flat]
            assert measured.gradient[row, column] == pytest.approx(max(follows), abs=2e-3)
            if side == 8:
                assert measured.component[row] == int(np.argmax(either_way))


def literal_gradient(sample: Sample) -> np.ndarray:
    grey = sample.photo().convert("L").resize((224, 224), Image.Resampling.BILINEAR)
    down, right = np.gradient(np.asarray(grey, dtype=np.float64))
    return np.sqrt(down ** 2 + right ** 2)


def area(values: np.ndarray, side: int) -> np.ndarray:
    """Mean over the pixels that a cell touches."""
    rows, columns = (touched(size, side) for size in values.shape)
    cells = np.zeros((side, side))
    for y, x in np.ndindex(side, side):
        cells[y, x] = values[rows[y], columns[x]].mean()
    return cells


def touched(size: int, side: int) -> list[slice]:
    """The pixels, of `size` along an axis, that each of `side` cells touches."""
    return [slice(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]


def test_an_object_smaller_than_a_cell_still_counts(network, settings: RcamSettings, samples: list[Sample],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.zeros((60, 70), dtype=bool)
    truth[30, 40] = True
    monkeypatch.setattr(Sample, "foreground", lambda _self: (truth, np.ones_like(truth)))
    measured = levels(network, samples[:1], settings, batch=1)
    assert np.isfinite(measured.separation).all()
    assert (measured.separation >= 0.5).all()


MEASURED = Levels(
    separation=np.array([[0.5, 1.0], [0.7, 0.8]]),
    gradient=np.array([[0.2, 0.0], [0.4, 0.1]]),
    component=np.array([0, 2]),
)


def test_the_table_of_levels_by_hand() -> None:
    rows, _ = level_table(MEASURED, (56, 28), CHANCE)
    assert list(rows) == ["level56", "level28"]
    assert rows["level56"]["separation"]["mean"] == pytest.approx(0.6)
    assert rows["level28"]["gradient"]["mean"] == pytest.approx(0.05)
    separation = rows["level28"]["separation"]
    assert separation["mean"] == pytest.approx(0.9)
    assert separation["low"] == pytest.approx(0.8)    # one image alone
    assert separation["high"] == pytest.approx(1.0)   # the other alone


def test_the_table_of_components_by_hand() -> None:
    rows = component_table(MEASURED, CHANCE)
    assert list(rows) == ["component1", "component2", "component3"]
    assert [rows[f"component{k}"]["share"]["mean"] for k in (1, 2, 3)] == [50, 0, 50]
    assert rows["component1"]["share"]["low"] == 0   # one image alone has it
    assert rows["component1"]["share"]["high"] == 100
    assert rows["component2"]["share"]["high"] == 0


def test_levels_are_compared_both_ways() -> None:
    _, differences = level_table(MEASURED, (56, 28), CHANCE)
    assert differences["level28 - level56"]["separation"]["mean"] == pytest.approx(0.3)
    assert differences["level56 - level28"]["gradient"]["mean"] == pytest.approx(0.25)
    low = differences["level28 - level56"]["separation"]["low"]
    assert low == -differences["level56 - level28"]["separation"]["high"]
