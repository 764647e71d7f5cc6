"""The row of the benchmark for one process beside two: the same to the last digit, whoever makes it."""
import os

import numpy as np
import pytest
from PIL import Image

from lib.base.problem import Problem
from lib.base.race import Effort, difference, jobs_race
from lib.bench import jobs
from lib.papers.dcsm import races as dcsm
from lib.params import load_params


def _process_of_each():
    return lambda _: np.array([os.getpid()])


def _squares():
    return lambda number: np.full((number, 2), number ** 2)


def test_items_stay_in_order_whoever_makes_them() -> None:
    race = jobs_race("squares", _squares, [3, 1, 2])
    assert race.ours().tolist() == [9] * 6 + [1] * 2 + [4] * 4
    assert difference(race, race.peers[0]) == 0 and race.peers[0].least == 1.7


def test_work_that_differs_between_processes_is_not_timed() -> None:
    """It is done in this process by one, and in others by two."""
    race = jobs_race("processes", _process_of_each, [1, 2])
    assert os.getpid() not in race.ours() and race.peers[0].run().tolist() == [os.getpid()] * 2
    with pytest.raises(Problem, match="maps of one process differ from ours"):
        difference(race, race.peers[0])


def test_what_is_timed_is_the_suites_work() -> None:
    photo = Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))
    masks, refined = jobs._proposer()(photo), jobs._refiner()(photo)
    assert masks.dtype == bool and masks.shape[1:] == (48, 64) and refined.shape == (48, 64)
    settings = [race.setting for race in jobs.races(Effort(quick=True))]
    assert settings == [f"{work} of 4 photographs, two processes" for work in ("proposals", "dense CRFs")]
    race, = dcsm.RACES["jobs"](Effort(quick=True), load_params())
    assert race.setting == "raw maps of DCSM of 4 photographs, two processes" and race.images == 4
