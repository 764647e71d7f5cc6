"""What levels hold: areas under curves against scikit-learn, levels measured by hand."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lib.data.dataset import Sample
from lib.papers.rcam.levels import Levels, auc, compare_levels, components, level_tables, levels
from lib.papers.rcam.settings import RcamSettings
from lib.refine.shape import principal_components


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tied", [False, True])
def test_auc_as_scikit_learn(seed: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random(200) < 0.3
    values = rng.normal(0, 1, 200) + (seed - 2) * inside
    values = values.round() if tied else values
    expected = roc_auc_score(inside, values)
    assert auc(values, inside) == pytest.approx(max(expected, 1 - expected))
    assert auc(-values, inside) == pytest.approx(auc(values, inside))   # up to sign


def test_auc_by_hand() -> None:
    assert auc(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])) == 1
    assert auc(np.array([1.0, 2, 3, 4]), np.array([True, True, False, False])) == 1
    assert auc(np.array([1.0, 2, 3, 4]), np.array([False, True, False, True])) == 0.75
    assert auc(np.ones(4), np.array([False, True, False, True])) == 0.5


def test_components_of_every_level(network, photos, settings: RcamSettings) -> None:
    s = replace(settings, sizes=(64, 128))
    found = components(network, photos[:2], s)
    assert {side: tuple(maps.shape) for side, maps in found.items()} == {side: (2, 3, side, side) for side in (32, 16, 8, 4)}
    with torch.no_grad():
        batch = torch.stack([torch.from_numpy(np.array(p.resize((64, 64), 2))).permute(2, 0, 1) / 255 for p in photos[:2]])
        seen = network.maps(batch)
    assert torch.allclose(found[8], principal_components([seen["eight"], seen["branch"]]), atol=1e-4)
    assert torch.allclose(found[32], principal_components([seen["two"]]), atol=1e-4)


def test_levels_by_hand(network, settings: RcamSettings, samples: list[Sample]) -> None:
    """The second sample has no foreground and does not count; batches change nothing."""
    found = levels(network, samples, settings, batch=4)
    assert found.separation.shape == found.gradient.shape == (5, 4) and found.component.shape == (5,)
    for row, sample in enumerate(s for s in samples if s.id != "s1"):
        truth = sample.foreground()[0].astype(np.float32)
        maps = components(network, [sample.photo()], settings)
        grey = np.asarray(sample.photo().convert("L").resize((224, 224), 2), dtype=np.float64)
        down, right = np.gradient(grey)
        edges = np.sqrt(down ** 2 + right ** 2)
        for column, side in enumerate((32, 16, 8, 4)):
            share, mean_edge = (area(v, side) for v in (truth, edges))
            inside = share >= min(0.5, share.max())
            chances = [roc_auc_score(inside.ravel(), c.ravel()) for c in maps[side][0].numpy()]
            assert found.separation[row, column] == pytest.approx(max(max(c, 1 - c) for c in chances), abs=2e-3)
            follows = [abs(np.corrcoef(c.ravel(), mean_edge.ravel())[0, 1]) for c in maps[side][0].numpy()]
            assert found.gradient[row, column] == pytest.approx(max(follows), abs=2e-3)
            if side == 8:
                assert found.component[row] == int(np.argmax([max(c, 1 - c) for c in chances]))


def area(values: np.ndarray, side: int) -> np.ndarray:
    """Mean over the pixels that a cell touches."""
    def bounds(size: int) -> list[slice]:
        return [slice(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    return np.array([[values[rows, columns].mean() for columns in bounds(values.shape[1])] for rows in bounds(values.shape[0])])


def test_an_object_smaller_than_a_cell_still_counts(network, settings: RcamSettings, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.zeros((60, 70), dtype=bool)
    truth[30, 40] = True
    monkeypatch.setattr(Sample, "foreground", lambda _self: (truth, np.ones_like(truth)))
    found = levels(network, samples[:1], settings, batch=1)
    assert np.isfinite(found.separation).all() and (found.separation >= 0.5).all()


FOUND = Levels(np.array([[0.5, 1.0], [0.7, 0.8]]), np.array([[0.2, 0.0], [0.4, 0.1]]), np.array([0, 2]))


def test_tables_by_hand() -> None:
    by_level, share = level_tables(FOUND, (56, 28), samples=100, seed=0)
    assert list(by_level) == ["level56", "level28"] and list(share) == ["component1", "component2", "component3"]
    assert by_level["level56"]["separation"][0] == pytest.approx(0.6) and by_level["level28"]["gradient"][0] == pytest.approx(0.05)
    assert [share[f"component{k}"]["share"][0] for k in (1, 2, 3)] == [50, 0, 50]
    np.testing.assert_allclose(sum(share[f"component{k}"]["share"] for k in (1, 2, 3)), 100)   # in every draw
    assert set(np.round(by_level["level28"]["separation"], 6)) == {0.8, 0.9, 1.0}


def test_levels_are_compared_both_ways() -> None:
    found = compare_levels(level_tables(FOUND, (56, 28), 100, 0)[0], 0.95)
    assert found["level28 - level56"]["separation"]["mean"] == pytest.approx(0.3)
    assert found["level56 - level28"]["gradient"]["mean"] == pytest.approx(0.25)
    assert found["level28 - level56"]["separation"]["low"] == -found["level56 - level28"]["separation"]["high"]
