"""How long rCAM takes is measured with the settings it is given, in a process of its own."""
import json
from pathlib import Path

import pytest

from lib.base import process
from lib.base.problem import Problem
from lib.base.strict import build
from lib.data.dataset import Sample
from lib.papers.rcam import speed, tables
from lib.papers.rcam.settings import RcamSettings


def test_the_settings_reach_the_process(settings: RcamSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(speed, "answer_of", lambda module, words, what: asked.append((module, words)))
    speed.measure("efficientnet_lite0", Path("photo.png"), settings)
    (module, (network, photo, words)), = asked
    assert (module, network, photo) == ("lib.papers.rcam.speed", "efficientnet_lite0", "photo.png")
    assert build(RcamSettings, json.loads(words), "rcam") == settings


def test_every_time_is_measured(network, samples: list[Sample], settings: RcamSettings,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ROUNDS", 1)
    monkeypatch.setattr(tables, "open_network", lambda _name, _settings: network)
    measured = speed._measure_here("tiny", samples[0].folder / samples[0].image, settings)
    assert list(measured) == ["all rows", "peak_mb", "components", "components by full SVD"]
    assert all(value > 0 for value in measured.values())


def test_a_network_that_is_not_there_is_one_sentence(settings: RcamSettings, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="speed of typo could not be measured.*typo"):
        speed.measure("typo", tmp_path / "photo.png", settings)
