"""`segment csoa` and `evaluate csoa` are the method and the notebook's table."""
import json
from pathlib import Path

import numpy as np
import pytest
from csoa_toys import CLASSES, toy_data, toy_trunk
from PIL import Image

from lib.__main__ import main
from lib.papers.csoa import (
    tables as csoa_tables,
    two_classifiers as two_classifiers_file,
    use as commands_csoa,
)
from lib.papers.csoa.batches import Squares
from lib.papers.csoa.locate import locate, segment
from lib.papers.csoa.method import network_of
from lib.papers.csoa.runs import POSITION, Job
from lib.papers.csoa.two_classifiers import load_two_classifiers, save_two_classifiers
from lib.params import load_params

PLACE = "smoke/csoa_train/collage_single/efficientnet_lite0"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the smoke tier's stage would leave it: small untrained networks."""
    import torch

    monkeypatch.setattr(two_classifiers_file, "load_network", lambda name, stride=None, pretrained=True: toy_trunk(1))
    monkeypatch.setattr(commands_csoa, "BUILD", tmp_path / "build")
    for seed in (0, 1):
        for row in ("base", "confseg", "coaug", "csoa"):
            torch.manual_seed(seed)
            net = network_of(row, POSITION, toy_trunk(1), CLASSES[:2], 6)
            torch.nn.init.normal_(net.w_l[-1].weight)
            save_two_classifiers(net, tmp_path / "build" / PLACE / Job(row, POSITION, seed).name / "weights.safetensors", 32)
    return tmp_path / "build" / PLACE


def test_evaluate_gives_the_rows_of_table_1(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, params = toy_data(tmp_path / "shapes"), load_params()
    assert main(["evaluate", "csoa", "--data", str(data.folder), "--tier", "smoke", "--json", str(tmp_path / "scores.json")]) == 0
    assert capsys.readouterr().out.startswith("efficientnet_lite0 on 4 images\nbase ")
    found = json.loads((tmp_path / "scores.json").read_text())["results"]
    assert list(found) == ["base", "confseg", "coaug", "csoa", "whole_image", "centred_box"]
    tried, chance = params.csoa_thresholds.tried, (params.bootstrap.samples, params.bootstrap.level, params.seed)
    rows = {split: {row: [locate(load_two_classifiers(build / Job(row, POSITION, seed).name / "weights.safetensors"), data.split(split), data.boxes, Squares(32),
                                 tried, 3, "") for seed in (0, 1)] for row in ("base", "csoa")} for split in ("val", "test")}
    expected, _ = csoa_tables.module_table(rows["val"], rows["test"], {}, tried, chance)
    assert all(found[row] == expected[row] for row in expected)


def test_one_network_of_ones_own(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_data(tmp_path / "shapes")
    weights = build / "csoa_4-5_seed1" / "weights.safetensors"
    assert main(["evaluate", "csoa", "--data", str(data.folder), "--tier", "smoke", "--weights", str(weights)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["given", "whole_image", "centred_box"]


def test_segment_is_the_method(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = toy_data(tmp_path / "shapes").split("val")[0]
    sample.photo().save(tmp_path / "a.png")
    out = tmp_path / "o"
    assert main(["segment", "csoa", str(tmp_path / "a.png"), "--out", str(out), "--tier", "smoke"]) == 0
    theta = load_params().csoa_thresholds.chosen
    one = segment(load_two_classifiers(build / "csoa_4-5_seed0" / "weights.safetensors"), [sample.photo()], 32, theta)[0]
    assert capsys.readouterr().out == f"a.png: {one.name}, box {one.box}\n"
    heat, mask = (np.asarray(Image.open(out / f"a_{kind}.png")) for kind in ("heat", "mask"))
    assert heat.shape == (40, 48) and np.abs(heat / 255 - np.asarray(Image.fromarray(one.heat[0].numpy()).resize((48, 40), 2))).max() < 0.01
    assert ((heat / 255 > theta + 0.01) <= (mask == 255)).all() and ((heat / 255 < theta - 0.01) <= (mask == 0)).all()


@pytest.mark.parametrize("words, says", [
    ("evaluate csoa --data {data} --tier smoek", '--tier: there is no tier "smoek"; did you mean "smoke"?'),
    ("evaluate csoa --data {data} --tier smoke --network vgg16_conv", '--network: CSoA is not trained with "vgg16_conv" in tier smoke'),
    ("segment csoa {data}/images --out o --weights no.safetensors", "no.safetensors: there are no such weights; train the network first (dvc repro csoa_train)."),
    ("evaluate csoa --data {data} --tier collage", "there are no such weights; train the network first (dvc repro csoa_train).")])
def test_what_it_cannot_start_from_is_one_sentence(words: str, says: str, build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_data(tmp_path / "shapes").folder
    assert main(words.format(data=data).split()) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0], lines
