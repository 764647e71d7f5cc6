"""The command line, as a person would call it."""
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.__main__ import main
from lib.data.writer import writing


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three images with a bright square as foreground, and one without any."""
    folder = tmp_path / "squares"
    with writing(folder, "squares", "1", "made by the test", "none", ["square"]) as writer:
        for i in range(4):
            pixels, truth = np.full((90, 120, 3), 60, np.uint8), np.zeros((90, 120), np.uint8)
            if i < 3:
                pixels[20:60, 10 + 20 * i:60 + 20 * i], truth[20:60, 10 + 20 * i:60 + 20 * i] = (250, 200, 40), 255
            Image.fromarray(pixels).save(writer.path("images", f"{i}.png"))
            writer.mask("saliency", str(i), truth)
            writer.sample(str(i), f"images/{i}.png", "test", ["square"] * (i < 3))
    return folder


def test_segment_writes_maps_in_the_photographs_size_and_resumes(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    Image.effect_mandelbrot((70, 50), (-2, -1, 1, 1), 50).save(photos / "grey.png")
    Image.new("CMYK", (40, 80), (10, 200, 30, 0)).save(photos / "print.jpg")
    assert main(["segment", "rcam", str(photos), "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [f"{n}_{e}" for n in ("grey", "print") for e in ("heat.png", "mask.png", "overlay.jpg")]
    heat, mask = (np.asarray(Image.open(out / f"grey_{kind}.png")) for kind in ("heat", "mask"))
    assert heat.shape == (50, 70) and set(np.unique(mask)) <= {0, 255}
    assert ((mask == 255) == (heat >= 127.5)).mean() > 0.99   # heat is rounded
    before = (out / "grey_heat.png").stat().st_mtime_ns
    assert main(["segment", "rcam", str(photos), "--out", str(out)]) == 0
    assert (out / "grey_heat.png").stat().st_mtime_ns == before


def test_evaluate_is_the_notebooks_code_path(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lib.papers.rcam_tables import open_network, table1
    from lib.data.dataset import Dataset
    from lib.params import load_params

    assert main(["evaluate", "rcam", "--data", str(dataset), "--json", str(tmp_path / "scores.json"), "--batch", "2"]) == 0
    assert "3 images (1 without foreground left out)" in capsys.readouterr().out
    found = json.loads((tmp_path / "scores.json").read_text())["results"]
    params = load_params()
    scored, _ = table1(open_network("efficientnet_lite0", params.rcam), Dataset(dataset).split("test"), params.rcam, 2)
    rows, _ = scored.table([], params.bootstrap.samples, params.bootstrap.level, params.seed)
    assert found == rows and 0 < found["rcam"]["ods"]["mean"] <= 1


@pytest.mark.parametrize("words, says", [
    ("segment rcamm nowhere.jpg --out o", 'did you mean "rcam"'),
    ("segment rcam nowhere.jpg --out o", "nowhere.jpg: there is no such file or folder"),
    ("segment rcam . --out o --threshold 2", "must be above 0 and at most 1"),
    ("evaluate dcms --data x", "there is no method"),
    ("evaluate rcam --data x --tier colage", 'did you mean "collage"'),
    ("evaluate rcam --data x", "not a dataset folder"),
    ("data mirror vocc x --source y", 'did you mean "voc"'),
    ("data check x", "not a dataset folder"),
])
def test_one_sentence_and_exit_status_1(words: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0]


def test_a_flipped_byte_is_named_and_nothing_computed(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = dataset / "images" / "1.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert main(["evaluate", "rcam", "--data", str(dataset)]) == 1
    error = capsys.readouterr().err
    assert "images/1.png" in error and "damaged" in error


def test_an_empty_folder_and_two_photographs_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "rcam", str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "holds no image" in capsys.readouterr().err
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    assert main(["segment", "rcam", str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "share a name" in capsys.readouterr().err
