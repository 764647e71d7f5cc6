"""Photographs and weights of every kind of wrong: a part of the cases of `python -m lib faults`."""
import random

import pytest

from lib.faults import images, kills, weights
from lib.faults.case import Outcome
from lib.faults.runner import cases_of, tried

LEAST = {images: 300, weights: 100, kills: 60}   # cases


@pytest.mark.parametrize("group", ["images", "weights"])
def test_nothing_is_unclear(group: str) -> None:
    found = tried(cases_of(group, seed=1, quick=True), group)
    unclear = [f"{each.case.name}: {each.said}" for each in found if each.outcome is Outcome.NOT_CLEAR]
    assert len(found) >= 25 and not unclear, "\n".join(unclear)


@pytest.mark.parametrize("group", LEAST, ids=lambda group: group.__name__)
def test_cases_are_many_and_their_names_differ(group: object) -> None:
    names = [case.name for case in group.cases(random.Random(0))]
    assert len(names) >= LEAST[group] and len(set(names)) == len(names)


@pytest.mark.parametrize("by", kills.SIGNALS, ids=lambda by: by.name)
def test_a_folder_that_is_filled_can_be_killed(by: object) -> None:
    """The quickest of the programs, at one moment for each signal; the others take minutes."""
    cases = [case for case in kills.cases(random.Random(2)) if f"fill, {by.name}" in case.name]
    found, = tried([cases[7]], "kills")
    assert found.outcome is Outcome.HANDLED, found.said
