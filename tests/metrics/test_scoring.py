"""From maps to tables: which images count, at which size, in which order; subsets; the same numbers twice."""
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.problem import Problem
from lib.data.dataset import Sample, subset
from lib.metrics.bootstrap import Chance
from lib.metrics.fmeasure import curve
from lib.metrics.scoring import Scored, batches, score

PAIRS = [("a", "b"), ("a", "absent")]
CHANCE = Chance(200, 0.95, 0)


def noise(part: list[Sample]) -> dict[str, Tensor]:
    """A map an image that depends on nothing but its name."""
    def heat(sample: Sample, row: int) -> Tensor:
        generator = torch.Generator().manual_seed(10 * int(sample.id[1:]) + row)
        return torch.rand(1, 7, 9, generator=generator)

    return {
        "a": torch.stack([heat(sample, 0) for sample in part]),
        "b": torch.stack([heat(sample, 1) for sample in part]),
    }


def truth_map(part: list[Sample]) -> dict[str, Tensor]:
    """The truth itself, at a size of its own."""
    return {"truth": torch.stack([torch.from_numpy(s.foreground()[0]).float()[None] for s in part])}


def test_images_without_foreground_are_dropped_and_counted(samples: list[Sample]) -> None:
    found = score(samples, 4, lambda: noise, "test")
    assert found.dropped == 1 and found.ids == ["s0", "s2", "s3", "s4", "s5"]
    assert {row: len(curves) for row, curves in found.curves.items()} == {"a": 5, "b": 5}
    assert found.seconds > 0


def test_the_truth_scores_perfectly_void_or_graded(samples: list[Sample]) -> None:
    scored = score([sample for sample in samples if sample.id != "s1"], 1, lambda: truth_map, "test")
    found, _ = scored.table([], Chance(5, 0.95, 0))
    assert found["truth"]["ois"] == {"mean": 1, "low": 1, "high": 1} == found["truth"]["ods"]
    assert found["truth"]["mae"]["mean"] == 0


def test_every_map_is_scored_at_the_size_of_its_truth(samples: list[Sample]) -> None:
    found = score(samples, 3, lambda: noise, "test")
    for i, sample in enumerate(s for s in samples if s.id != "s1"):
        truth, valid = sample.foreground()
        large = interpolate(noise([sample])["b"], truth.shape, mode="bilinear", align_corners=False)
        expected = curve(large[0, 0].numpy(), truth, valid)
        assert np.array_equal(found.curves["b"][i].precision, expected.precision)
        assert found.curves["b"][i].mae == expected.mae
    assert samples[2].foreground()[1].mean() < 1   # void pixels are there to be left out


def test_the_size_of_batches_changes_nothing(samples: list[Sample]) -> None:
    one, all_ = (score(samples, n, lambda: noise, "test").table(PAIRS, CHANCE) for n in (1, 6))
    assert one == all_


def test_two_runs_are_identical_and_the_seed_counts(samples: list[Sample]) -> None:
    first, second, other = (
        score(samples, 2, lambda: noise, "test").table(PAIRS, Chance(200, 0.95, seed)) for seed in (0, 0, 1))
    assert first == second
    ours, theirs = (rows["a"]["ois"] for rows, _ in (first, other))
    assert ours["mean"] == theirs["mean"] and ours != theirs


def test_pairs_of_rows_that_are_there(samples: list[Sample]) -> None:
    rows, pairs = score(samples, 2, lambda: noise, "test").table(PAIRS, CHANCE)
    assert list(pairs) == ["a - b", "a / b"] and set(pairs["a - b"]) == {"ois", "ods", "ods_mean_f", "mae"}
    difference = rows["a"]["mae"]["mean"] - rows["b"]["mae"]["mean"]
    assert pairs["a - b"]["mae"]["mean"] == pytest.approx(difference, abs=2e-6)


def test_the_same_draws_for_every_row(samples: list[Sample]) -> None:
    scored = Scored()
    for part in batches(samples, 2, "test"):
        maps = noise(part)
        scored.add({"a": maps["a"], "again": maps["a"]}, part)
    found = scored.scores(Chance(50, 0.95, 7))
    for metric, values in found["a"].items():
        assert np.array_equal(values, found["again"][metric]) and len(values) == 51


def test_batches_keep_the_order(samples: list[Sample]) -> None:
    first, second = batches(samples, 4, "test")
    assert [sample.id for sample in first] == ["s0", "s1", "s2", "s3"]
    assert [sample.id for sample in second] == ["s4", "s5"]


@pytest.mark.parametrize("wanted, expected", [
    (None, range(10)),
    (10, range(10)),
    (99, range(10)),
    (1, [0]),
    (2, [0, 5]),
    (4, [0, 2, 5, 7]),
    (3, [0, 3, 6]),
    (9, range(9)),
])
def test_a_subset_is_spread_evenly(wanted: int | None, expected: list[int]) -> None:
    assert subset(list(range(10)), wanted) == list(expected)


@pytest.mark.parametrize("count, wanted", [(850, 200), (97, 13), (7, 6)])
def test_a_subset_has_equal_gaps_and_no_repeats(count: int, wanted: int) -> None:
    found = subset(list(range(count)), wanted)
    gaps = np.diff(found)
    assert len(found) == wanted == len(set(found))
    assert gaps.max() - gaps.min() <= 1 and count - found[-1] <= gaps.max() + 1
    assert found == subset(list(range(count)), wanted)


def test_nothing_to_score_is_one_sentence() -> None:
    with pytest.raises(Problem, match="None of the 3 images has any foreground"):
        Scored(dropped=3).scores(Chance(10, 0.95, 0))
