"""`segment iam`, `segment prm` and `evaluate iam` are the methods and the notebook's table."""
import json
from pathlib import Path

import numpy as np
import pytest
from iam_toys import CLASSES, toy_dataset, toy_fcn, toy_filling, toy_photo, toy_trunk
from PIL import Image

from lib.__main__ import main
from lib.nets import fcn as fcn_file
from lib.nets.fcn import save_fcn
from lib.papers.iam import use
from lib.papers.iam.filling import save_filling
from lib.papers.iam.instances import InstanceMasks, by_convcrf, iam_instances
from lib.papers.iam.method import activate, present, run_classifier
from lib.papers.iam.settings import filling_jobs, settings_of
from lib.params import load_params

NET = "efficientnet_lite0"
PLACE = f"smoke/iam_train/{NET}"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the smoke tier's stage would leave it, for a network of three colours."""
    monkeypatch.setattr(fcn_file, "load_network", toy_trunk)
    monkeypatch.setattr(use, "BUILD", tmp_path / "build")
    folder = tmp_path / "build" / PLACE
    fcn = toy_fcn()
    fcn.trunk.name = NET
    save_fcn(fcn, folder / "weights.safetensors")
    run = load_params().tier["smoke"].iam_train
    for job in filling_jobs(run.networks[NET], bool(run.unseen)):
        save_filling(toy_filling(), folder / job.name / "weights.safetensors", NET, 64, 32)
    return folder


def photo(folder: Path) -> Path:
    path = folder / "photo.png"
    toy_photo(("red", "blue"), 4, (90, 60))[0].save(path)
    return path


def by_hand(path: Path) -> InstanceMasks:
    """What IAM finds in a photograph with the networks of `build`."""
    params = load_params()
    settings = settings_of(params.iam_filling, params.iam)
    image = Image.open(path).convert("RGB")
    output = run_classifier(toy_fcn(), [image], 64, 32, present(settings.peaks))
    maps = activate(toy_filling(), output)
    return iam_instances(image, output, maps, settings, by_convcrf(settings.crf))


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_segment_iam_paints_what_the_method_finds(build: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    path = photo(tmp_path)
    out = tmp_path / "out"
    assert main(["segment", "iam", str(path), "--out", str(out), "--tier", "smoke"]) == 0
    found = by_hand(path)
    labels = read(out / "photo_classes.png")
    assert len(found.masks) and labels.shape == (60, 90)
    assert np.array_equal(labels > 0, found.masks.any(0))
    assert (labels[found.masks[0]] == found.classes[0] + 1).all()
    assert np.array_equal(read(out / "photo_mask.png") > 0, found.masks.any(0))
    name = CLASSES[found.classes[0]]
    assert f"photo.png: {name} {found.scores[0]:.2f}" in capsys.readouterr().out


def test_segment_prm_finds_its_own_proposals(build: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["segment", "prm", str(photo(tmp_path)), "--out", str(out), "--tier", "smoke"]) == 0
    assert "red" in capsys.readouterr().out and read(out / "photo_classes.png").any()


def test_nothing_is_found_in_grey(build: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.new("RGB", (50, 40), (10, 10, 10)).save(grey)
    for method in ("prm", "iam"):
        out = tmp_path / method
        assert main(["segment", method, str(grey), "--out", str(out), "--tier", "smoke"]) == 0
        assert not read(out / "grey_classes.png").any()


def test_evaluate_gives_rows_of_table_1(build: Path, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_dataset(tmp_path / "colours")
    words = ["evaluate", "iam", "--data", str(data.folder), "--tier", "smoke"]
    assert main([*words, "--json", str(tmp_path / "scores.json")]) == 0
    assert capsys.readouterr().out.startswith(f"{NET} on 4 images\nprm ")
    found = json.loads((tmp_path / "scores.json").read_text())["results"]
    assert list(found) == ["prm", "iam_s5"]
    assert all(set(row) == {"map25", "map50", "map75", "abo"} for row in found.values())
    assert found["prm"]["abo"]["mean"] > 30   # proposals of its own find rectangles on noise
    assert main([*words, "--images", "2"]) == 0
    assert capsys.readouterr().out.startswith(f"{NET} on 2 images\n")


@pytest.mark.parametrize("words, sentence", [
    ("segment iam photo.png --out o --tier smok", '--tier: there is no tier "smok"; did you mean "smoke"?'),
    ("segment prm photo.png --out o --tier smoke --network vgg",
     '--network: IAM is not trained with "vgg" in tier smoke'),
    ("segment iam photo.png --out o --tier smoke --weights none.safetensors",
     "none.safetensors: there are no such weights; train the network first")])
def test_what_cannot_start_is_one_sentence(build: Path, tmp_path: Path, words: str, sentence: str,
                                           monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    photo(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    error = capsys.readouterr().err.strip()
    assert sentence in error and "\n" not in error and not (tmp_path / "o").exists()


def test_other_classes_are_one_sentence(build: Path, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_dataset(tmp_path / "colours")
    manifest = json.loads((data.folder / "manifest.json").read_text())
    changed = manifest | {"classes": ["red", "blue", "green"]}
    (data.folder / "manifest.json").write_text(json.dumps(changed))
    assert main(["evaluate", "iam", "--data", str(data.folder), "--tier", "smoke"]) == 1
    assert "its classes are not those that the network was trained on" in capsys.readouterr().err
