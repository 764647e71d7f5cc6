"""Processes that torchrun starts: what it says to them is there as a whole, or is refused."""
import pytest
from sentences import is_one_sentence

from lib.base.parallel import STARTER, processes, share
from lib.base.problem import Problem

TORCHRUN = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29517"}


@pytest.mark.parametrize("name, value", [
    *((name, "") for name in STARTER if name != "WORLD_SIZE"),
    ("WORLD_SIZE", "many"), ("RANK", "-1"), ("RANK", "1"), ("WORLD_SIZE", "0")])
def test_a_part_of_what_torchrun_says_is_refused(monkeypatch: pytest.MonkeyPatch, name: str,
                                                 value: str) -> None:
    """A process that joins with it would wait for others, or end in a traceback."""
    for variable, usual in (TORCHRUN | {name: value}).items():
        monkeypatch.setenv(variable, usual)
    with pytest.raises(Problem, match="^(WORLD_SIZE|RANK): ") as caught, processes():
        raise AssertionError("not to be reached")
    assert is_one_sentence(caught.value)


def test_alone_without_any_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes():
        assert share() == (0, 1)
