"""How long DCSM's maps take: what is timed, and that the process is handed what it needs."""
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from dcsm_toys import SETTINGS, SIDE, toy_fcn, toy_photo, toy_trunk

from lib.base.problem import Problem
from lib.base.strict import build
from lib.nets import fcn as fcn_file
from lib.nets.fcn import save_fcn
from lib.papers.dcsm import speed
from lib.papers.dcsm.settings import DcsmSettings


def test_maps_and_both_ways_to_many_classes_are_timed(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcn_file, "load_network", toy_trunk)
    save_fcn(toy_fcn(7), tmp_path / "weights.safetensors")
    toy_photo(1).save(tmp_path / "photo.png")
    times = speed.measure_here(tmp_path / "weights.safetensors", tmp_path / "photo.png", SETTINGS, SIDE)
    assert list(times) == [
        "maps, all scales and candidates", "subtraction, aggregation and CRF", "4 classes together",
        "4 classes, a loop that runs forward and back", "4 classes, the same loop with folded normalisation"]
    assert all(value > 0 for value in times.values())


def test_a_process_of_its_own_is_handed_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def answer_of(module: str, words: list[str], failure: str) -> dict[str, float]:
        assert (module, failure) == ("lib.papers.dcsm.speed", "the speed of net could not be measured")
        asked.append(words)
        return {"maps": 1.0}

    monkeypatch.setattr(speed, "answer_of", answer_of)
    assert speed.measure(Path("net/weights.safetensors"), Path("a.png"), SETTINGS, 320) == {"maps": 1.0}
    (weights, photo, settings, side), = asked
    assert (weights, photo, side) == ("net/weights.safetensors", "a.png", "320")
    assert build(DcsmSettings, json.loads(settings), "settings") == SETTINGS
    assert json.loads(settings) == json.loads(json.dumps(asdict(SETTINGS)))


def test_a_process_that_fails_is_one_sentence(tmp_path: Path) -> None:
    toy_photo(1).save(tmp_path / "photo.png")
    with pytest.raises(Problem, match="the speed of net could not be measured: .*no such weights"):
        speed.measure(tmp_path / "net" / "weights.safetensors", tmp_path / "photo.png", SETTINGS, SIDE)
