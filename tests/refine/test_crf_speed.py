"""The speed of both CRFs: every size has its row, and the differences beside the times are real ones."""
import pytest

from lib.base.problem import Problem
from lib.refine.crf_speed import rows


def test_every_size_has_times_and_differences() -> None:
    found = rows(["12x16x2", "12x16x5"], rounds=1)
    assert list(found) == ["12x16x2", "12x16x5"]
    for row in found.values():
        assert row["pydensecrf (ms)"] > 0 and row["exact (ms)"] > 0
        assert 1e-3 < row["lattice, largest difference"] < 1
        assert row["skipping, largest difference"] < 1e-4


def test_what_is_no_size_is_named() -> None:
    with pytest.raises(Problem, match='"12x16" is no size; write HEIGHTxWIDTHxCLASSES'):
        rows(["12x16"])
