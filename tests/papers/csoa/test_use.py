"""`segment csoa` and `evaluate csoa` are the method and the notebook's table."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from csoa_toys import CLASSES, load_toy, toy_data, toy_trunk
from PIL import Image

from lib.__main__ import main
from lib.data.dataset import Dataset
from lib.papers.csoa import tables, two_classifiers, use
from lib.papers.csoa.batches import Squares
from lib.papers.csoa.locate import Search, locate, segment
from lib.papers.csoa.method import network_of
from lib.papers.csoa.runs import POSITION, Job, Located
from lib.papers.csoa.settings import Variant
from lib.papers.csoa.two_classifiers import load_two_classifiers, save_two_classifiers
from lib.params import load_params

PLACE = "smoke/csoa_train/collage_single/efficientnet_lite0"
VARIANTS: tuple[Variant, ...] = ("base", "confseg", "coaug", "csoa")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the smoke tier's stage would leave it: small untrained networks."""
    monkeypatch.setattr(two_classifiers, "load_network", load_toy)
    monkeypatch.setattr(use, "BUILD", tmp_path / "build")
    folder = tmp_path / "build" / PLACE
    for seed in (0, 1):
        for variant in VARIANTS:
            torch.manual_seed(seed)
            net = network_of(variant, POSITION, toy_trunk(1), CLASSES[:2], 6)
            torch.nn.init.normal_(net.w_l[-1].weight)
            save_two_classifiers(net, weights_of(folder, variant, seed), 32)
    return folder


def weights_of(folder: Path, variant: Variant, seed: int) -> Path:
    return folder / Job(variant, POSITION, seed).name / "weights.safetensors"


def located_by_seeds(folder: Path, variant: Variant, data: Dataset, split: str,
                     tried: list[float]) -> list[Located]:
    search = Search(Squares(32), data.boxes, tried, batch=3)
    nets = [load_two_classifiers(weights_of(folder, variant, seed)) for seed in (0, 1)]
    return [locate(net, data.split(split), search, "") for net in nets]


def test_evaluate_gives_the_rows_of_table_1(build: Path, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    data, params = toy_data(tmp_path / "shapes"), load_params()
    target = tmp_path / "scores.json"
    words = ["evaluate", "csoa", "--data", str(data.folder), "--tier", "smoke", "--json", str(target)]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("efficientnet_lite0 on 4 images\nbase ")
    printed = json.loads(target.read_text())["results"]
    assert list(printed) == ["base", "confseg", "coaug", "csoa", "whole_image", "centred_box"]
    tried = params.csoa_thresholds.tried
    val = {row: located_by_seeds(build, row, data, "val", tried) for row in ("base", "csoa")}
    test = {row: located_by_seeds(build, row, data, "test", tried) for row in ("base", "csoa")}
    expected, _ = tables.module_table(val, test, {}, tried, params.chance)
    assert list(expected) == ["base", "csoa"]
    assert all(printed[row] == values for row, values in expected.items())


def test_the_batch_is_found(build: Path, tmp_path: Path) -> None:
    """The numbers do not depend on it."""
    data = toy_data(tmp_path / "shapes")
    results = []
    for batch in ("auto", "3"):
        target = tmp_path / f"{batch}.json"
        words = ["evaluate", "csoa", "--data", str(data.folder), "--tier", "smoke", "--json", str(target)]
        assert main([*words, "--batch", batch]) == 0
        results.append(json.loads(target.read_text())["results"])
    assert results[0] == results[1]


def test_one_network_of_ones_own(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_data(tmp_path / "shapes")
    weights = weights_of(build, "csoa", 1)
    words = ["evaluate", "csoa", "--data", str(data.folder), "--tier", "smoke", "--weights", str(weights)]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["given", "whole_image", "centred_box"]


def test_without_validation_images_the_threshold_is_that_of_the_parameters(
        build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_data(tmp_path / "shapes", ("train", "test"))
    target = tmp_path / "scores.json"
    words = ["evaluate", "csoa", "--data", str(data.folder), "--tier", "smoke", "--json", str(target)]
    assert main(words) == 0
    capsys.readouterr()
    params = load_params()
    theta = params.csoa_thresholds.chosen
    test = {"csoa": located_by_seeds(build, "csoa", data, "test", [theta])}
    expected, _ = tables.module_table(test, test, {}, [theta], params.chance)
    assert expected["csoa"]["theta"]["mean"] == theta
    assert json.loads(target.read_text())["results"]["csoa"] == expected["csoa"]


def test_segment_is_the_method(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = toy_data(tmp_path / "shapes").split("val")[0].photo()
    photo.save(tmp_path / "a.png")
    out = tmp_path / "o"
    assert main(["segment", "csoa", str(tmp_path / "a.png"), "--out", str(out), "--tier", "smoke"]) == 0
    theta = load_params().csoa_thresholds.chosen
    one = segment(load_two_classifiers(weights_of(build, "csoa", 0)), [photo], 32, theta)[0]
    assert capsys.readouterr().out == f"a.png: {one.name}, box {one.box}\n"
    heat = np.asarray(Image.open(out / "a_heat.png")) / 255
    mask = np.asarray(Image.open(out / "a_mask.png"))
    expected = Image.fromarray(one.heat[0].numpy()).resize((48, 40), Image.Resampling.BILINEAR)
    assert heat.shape == (40, 48)
    assert np.abs(heat - np.asarray(expected)).max() < 0.01
    assert (mask[heat > theta + 0.01] == 255).all()
    assert (mask[heat < theta - 0.01] == 0).all()


@pytest.mark.parametrize("words, says", [
    ("evaluate csoa --data {data} --tier smoek", '--tier: there is no tier "smoek"; did you mean "smoke"?'),
    ("evaluate csoa --data {data} --tier smoke --network vgg16_conv",
     '--network: CSoA is not trained with "vgg16_conv" in tier smoke'),
    ("segment csoa {data}/images --out o --weights no.safetensors",
     "no.safetensors: there are no such weights; train the network first (dvc repro csoa_train)."),
    ("evaluate csoa --data {data} --tier collage",
     "there are no such weights; train the network first (dvc repro csoa_train).")])
def test_what_it_cannot_start_from_is_one_sentence(words: str, says: str, build: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_data(tmp_path / "shapes").folder
    assert main(words.format(data=data).split()) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert says in lines[0], lines
