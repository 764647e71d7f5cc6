"""Which networks a run trains, and what one found as a file."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from csoa_toys import TRAINING

from lib.base.problem import Problem
from lib.papers.csoa.runs import Job, Located, is_located, jobs, load_located, save_located
from lib.papers.csoa.settings import CsoaRun

RUN = CsoaRun(least=2, seeds=[0, 4], variants=["base", "csoa"], positions=["3-5"], trials=["heavy"],
              ten_crop=True, training=TRAINING)


def test_which_networks() -> None:
    assert [job.name for job in jobs(RUN)] == [
        "base_4-5_seed0", "csoa_4-5_seed0", "csoa_3-5_seed0",
        "base_4-5_seed4", "csoa_4-5_seed4", "csoa_3-5_seed4",
        "csoa_4-5_seed0_heavy"]
    few = replace(RUN, positions=None, trials=None, seeds=[1])
    assert [job.name for job in jobs(few)] == ["base_4-5_seed1", "csoa_4-5_seed1"]


def test_no_network_is_trained_twice() -> None:
    wanted = jobs(replace(RUN, positions=["4-5"]))   # which table 1 has already
    assert Job("csoa", "4-5", 0) in wanted
    assert len(wanted) == 5


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    overlaps = np.array([[0.1, 0.6], [0.3, 0.2]])
    largest = {"union": overlaps, "s_l": overlaps / 2}
    located = Located(["a", "b"], np.array([0, 3]), np.array([-1, -1]), largest, overlaps + 0.1)
    path = tmp_path / "val.npz"
    save_located(path, located, "print")
    assert is_located(path, "print")
    assert not is_located(path, "another")
    assert not is_located(tmp_path / "no.npz", "print")
    back = load_located(path)
    assert back.ids == located.ids
    for name in ("rank", "rank_ten", "every"):
        assert np.array_equal(getattr(back, name), getattr(located, name))
    assert list(back.largest) == ["union", "s_l"]
    assert all(np.array_equal(back.largest[name], values) for name, values in located.largest.items())


def test_a_damaged_file_is_made_again_and_named_when_read(tmp_path: Path) -> None:
    path = tmp_path / "val.npz"
    overlaps = np.ones((1, 2))
    save_located(path, Located(["a"], np.array([0]), np.array([-1]), {"union": overlaps}, overlaps), "print")
    path.write_bytes(path.read_bytes()[:200])
    assert not is_located(path, "print")
    with pytest.raises(Problem, match="val.npz: missing or damaged; run the stage csoa_train again"):
        load_located(path)
