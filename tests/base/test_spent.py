"""Where the time goes: nested work counts once, and every process of a stage is in the sum."""
import os
import subprocess
import sys
from time import process_time

import pytest

from lib.base import spent
from lib.base.paths import ROOT
from lib.base.spent import FOLDER, account, accounts, spending, spends


def burn(seconds: float) -> None:
    end = process_time() + seconds
    while process_time() < end:
        pass


def difference(before: dict[str, float]) -> dict[str, float]:
    after = account()
    return {kind: after[kind] - before[kind] for kind in after}


def test_inner_work_counts_as_its_own_kind_alone() -> None:
    before = account()
    with spending("forward"):
        burn(0.05)
        with spending("decoding"):
            burn(0.1)
        burn(0.05)
    burn(0.05)
    used = difference(before)
    assert used["decoding"] == pytest.approx(0.1, abs=0.02)
    assert used["forward"] == pytest.approx(0.1, abs=0.02)
    assert used["cpu"] == pytest.approx(0.25, abs=0.04)
    assert used["training"] == used["crf"] == 0


def test_passes_of_a_training_are_training() -> None:
    @spends("forward")
    def forward() -> str:
        burn(0.05)
        return "done"

    before = account()
    with spending("training"):
        assert forward() == "done"
        with spending("decoding"):
            burn(0.05)
    used = difference(before)
    assert used["training"] == pytest.approx(0.05, abs=0.02) and used["forward"] == 0
    assert used["decoding"] == pytest.approx(0.05, abs=0.02)


def test_an_error_ends_the_work_in_hand() -> None:
    with pytest.raises(ValueError), spending("crf"):
        raise ValueError
    before = account()
    burn(0.03)
    assert difference(before)["crf"] == 0 and spent._open == []


def test_every_process_of_a_stage_is_in_the_sum() -> None:
    program = ("from time import process_time\nfrom lib.base.spent import spending\n"
               "end = process_time() + 0.3\n"
               "with spending('proposals'):\n    while process_time() < end: pass\n")
    with accounts() as used:
        with spending("crf"):
            burn(0.1)
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    assert used["proposals"] == pytest.approx(0.3, abs=0.05)
    assert used["crf"] == pytest.approx(0.1, abs=0.02)
    assert used["cpu"] >= used["proposals"] + used["crf"]
    assert used["wall"] > 0.3
    assert FOLDER not in os.environ
