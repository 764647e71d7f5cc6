"""The table of where a tier's time went."""
import json
from pathlib import Path
from time import process_time

import pytest

from lib.base.problem import Problem
from lib.base.spent import spending
from lib.pipeline.times import seconds_of, table, timed


def test_a_stage_that_ends_leaves_what_it_spent(tmp_path: Path) -> None:
    with timed("dcsm_train", "smoke", tmp_path), spending("training"):
        end = process_time() + 0.3
        while process_time() < end:
            pass
    times = json.loads((tmp_path / "smoke" / "times" / "dcsm_train.json").read_text())
    assert 0.2 <= times["training"] <= 0.4 and times["crf"] == 0
    assert times["wall"] >= times["training"] and times["jobs"] == 1


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError), timed("dcsm_train", "smoke", tmp_path):
        raise ValueError
    assert not (tmp_path / "smoke").exists()


def test_the_longest_stage_comes_first_and_the_sum_last(tmp_path: Path) -> None:
    spent = {"training": 0, "forward": 6, "backward": 0, "crf": 1, "proposals": 0, "decoding": 2, "jobs": 1}
    folder = tmp_path / "reports" / "smoke" / "times"
    folder.mkdir(parents=True)
    (folder / "rcam.json").write_text(json.dumps({"wall": 12, "cpu": 10, **spent}))
    (folder / "iam.json").write_text(json.dumps({"wall": 20, "cpu": 31, **spent, "training": 8}))
    lines = table("smoke", tmp_path / "reports").splitlines()
    assert lines[0].startswith("| stage | seconds | CPU seconds | training | forward |")
    assert lines[2] == "| iam | 20 | 31 | 8 | 6 | · | 1 | · | 2 | 14 | · |"
    assert lines[3] == "| rcam | 12 | 10 | · | 6 | · | 1 | · | 2 | 1 | 2 |"
    assert lines[4] == "| all | 32 | 41 | 8 | 12 | · | 2 | · | 4 | 15 | · |"
    assert seconds_of("smoke", tmp_path) == {"iam": 20, "rcam": 12}


def test_a_tier_that_was_never_timed(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no stage of the tier smoke was timed"):
        table("smoke", tmp_path)
