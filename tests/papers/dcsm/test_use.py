"""DCSM by the command line: on photographs, on a data set, and what it cannot start from."""
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from dcsm_toys import CLASSES, MAPS, OURS, RUN, SETTINGS, SIDE, toy_fcn, toy_photo, toy_trunk
from PIL import Image
from sentences import is_one_sentence

from lib.__main__ import main
from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.data.writer import writing
from lib.metrics.bootstrap import Chance
from lib.nets import fcn as fcn_file
from lib.nets.fcn import save_fcn
from lib.papers.dcsm import use
from lib.papers.dcsm.method import dcsm
from lib.papers.dcsm.rows import main_rows
from lib.papers.dcsm.saliency import marginals
from lib.papers.dcsm.tables import Split, score_rows, table
from lib.papers.found import Request

TIER = SimpleNamespace(dcsm_maps=RUN, dcsm_train=SimpleNamespace(networks={"toy": None, "other": None}))
MAPS_OF_OURS = replace(MAPS, scales=(250, 500, 750), other_scales=(1000,))
CHANCE = Chance(50, 0.95, 0)
PARAMS = SimpleNamespace(dcsm=SETTINGS, dcsm_maps=MAPS, tier={"smoke": TIER}, chance=CHANCE)
EVALUATED = SimpleNamespace(dcsm=OURS, dcsm_maps=MAPS_OF_OURS, tier={"smoke": TIER}, chance=CHANCE)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the tier's first network; toy networks stand in for real ones."""
    monkeypatch.setattr(fcn_file, "load_network", toy_trunk)
    monkeypatch.setattr(use, "BUILD", tmp_path)
    path = tmp_path / "smoke" / "dcsm_train" / "toy" / "weights.safetensors"
    save_fcn(toy_fcn(7), path)
    return path


def test_a_photograph_is_segmented_by_the_method(weights: Path) -> None:
    photos = [toy_photo(2), toy_photo(3, 60, 80)]
    answers = use.segmenter(Request("dcsm", tier="smoke"), PARAMS)(photos)
    assert len(answers) == 2
    for photo, answer in zip(photos, answers, strict=True):
        whole = dcsm(toy_fcn(7), photo, SETTINGS, SIDE)
        probability, targets = marginals(toy_fcn(7), photo, SETTINGS, SIDE)
        assert np.array_equal(answer.labels, whole.labels)
        np.testing.assert_allclose(answer.heat.numpy(), 1 - probability[:1], atol=1e-6)
        assert tuple(answer.classes) == CLASSES
        assert answer.names == [CLASSES[target] for target in targets]


def test_weights_of_ones_own_go_before_the_tiers(weights: Path, tmp_path: Path) -> None:
    save_fcn(toy_fcn(2, "other"), tmp_path / "own.safetensors")
    fcn = use.open_fcn(Request("dcsm", tier="smoke", weights=tmp_path / "own.safetensors"), PARAMS)
    assert fcn.name == "other"
    assert use.open_fcn(Request("dcsm", tier="smoke"), PARAMS).name == "toy"
    with pytest.raises(Problem, match="dcsm_train/other/weights.safetensors: there are no such weights"):
        use.open_fcn(Request("dcsm", tier="smoke", network="other"), PARAMS)


def test_scores_are_those_of_the_notebook(weights: Path, dataset: Dataset, own_split: Split) -> None:
    """But for Simonyan's maps, which are another method."""
    samples = [sample for sample, _ in own_split.items]
    answer = use.evaluate(Request("dcsm", tier="smoke"), EVALUATED, dataset, samples)
    rows = main_rows(OURS)
    del rows["simonyan_crf"]
    confusions = score_rows(own_split.items, rows, own_split, "as in the notebook")
    expected, _ = table(confusions, own_split.items, CLASSES, [], CHANCE)
    assert (answer.network, answer.images, answer.rows) == ("toy", 3, expected)


def test_other_classes_are_a_problem(weights: Path, tmp_path: Path) -> None:
    with writing(tmp_path / "other", "other", "1", "made by a test", "CC0", ("ant", "bee")) as writer:
        toy_photo(0).save(writer.path("images", "a.png"))
        writer.mask("class_masks", "a", np.zeros((64, 96), np.uint8))
        writer.sample("a", "images/a.png", "test", ["ant"])
    dataset = Dataset(tmp_path / "other")
    request = Request("dcsm", tier="smoke")
    with pytest.raises(Problem, match="its classes are not those that the network was") as problem:
        use.evaluate(request, EVALUATED, dataset, dataset.split("test"))
    assert is_one_sentence(problem.value)


@pytest.mark.parametrize("tier, says", [
    ("typo", '--tier: there is no tier "typo" (known: '),
    ("smoke", "these are weights of efficientnet_lite0, not of vgg16_conv; name the file")])
def test_a_network_and_weights_that_do_not_go_together_are_one_sentence(
        tier: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    save_fcn(toy_fcn(0, "efficientnet_lite0"), tmp_path / "w.safetensors")
    words = ["segment", "dcsm", str(tmp_path / "photo.png"), "--out", str(tmp_path / "out"),
             "--network", "vgg16_conv", "--weights", str(tmp_path / "w.safetensors"), "--tier", tier]
    assert main(words) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0], lines
    assert not (tmp_path / "out").exists()
