"""`segment`: results follow from what is asked for now; a bad photograph keeps no other from being done."""
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.__main__ import main
from lib.base.paths import ROOT
from lib.papers.found import Found
from lib.papers.rcam import use
from lib.segment import photographs

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def tones(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A method that is quick: the heat of a photograph is its red; how many were given at a time."""
    given: list[int] = []

    def find(photos: Sequence[Image.Image]) -> list[Found]:
        given.append(len(photos))
        heats = [photo.getpixel((0, 0))[0] / 255 for photo in photos]
        return [Found(torch.full((1, 4, 4), heat)) for heat in heats]

    monkeypatch.setattr(use, "segmenter", lambda *_: find)
    return given


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (12, 10), (40 * number, 0, 0)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Run:
    def of(*more: str, method: str = "rcam") -> int:
        return main(["segment", method, str(photos), "--out", str(tmp_path / "out"), *more])
    return of


def heat(folder: Path, name: str) -> int:
    return int(np.asarray(Image.open(folder / f"{name}_heat.png")).max())


# What is there is compared

def test_what_is_there_is_kept(run: Run, tones: list[int]) -> None:
    assert run() == 0 and tones == [4, 2]
    assert run() == 0 and tones == [4, 2]


def test_another_photograph_of_the_same_name(run: Run, photos: Path, tmp_path: Path,
                                             tones: list[int]) -> None:
    run()
    Image.new("RGB", (12, 10), (255, 0, 0)).save(photos / "1.png")
    assert run() == 0 and heat(tmp_path / "out", "1") == 255
    assert tones == [4, 2, 4]


@pytest.mark.parametrize("more, method", [
    (["--threshold", "0.2"], "rcam"), ([], "cam1"), (["--network", "googlenet_bvlc"], "rcam"),
    (["--tier", "smoke"], "rcam")])
def test_whatever_else_is_asked_for(run: Run, tones: list[int], more: list[str], method: str) -> None:
    run()
    assert run(*more, method=method) == 0 and tones == [4, 2, 4, 2]
    assert run(*more, method=method) == 0 and tones == [4, 2, 4, 2]


def test_other_weights_of_the_same_name(run: Run, tmp_path: Path, tones: list[int]) -> None:
    weights = tmp_path / "w.pth"
    for content, calls in ((b"one", 2), (b"one", 2), (b"other", 4)):
        weights.write_bytes(content)
        assert run("--weights", str(weights)) == 0 and len(tones) == calls


@pytest.mark.parametrize("ending", ["heat.png", "mask.png", "overlay.jpg"])
@pytest.mark.parametrize("damage", [None, lambda content: content[:-5], lambda content: content + b"more"])
def test_results_that_are_damaged_or_gone_are_made_again(
        run: Run, tmp_path: Path, tones: list[int], ending: str,
        damage: Callable[[bytes], bytes] | None) -> None:
    run()
    path = tmp_path / "out" / f"5_{ending}"
    whole = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(whole))
    assert run() == 0 and path.read_bytes() == whole and tones == [4, 2, 2]


def test_classes_of_another_method_go(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.ones((10, 12), np.uint8)
    with monkeypatch.context() as patch:
        patch.setattr(use, "segmenter", lambda *_: lambda photos: [
            Found(torch.zeros(1, 4, 4), labels, ["a"]) for _ in photos])
        run()
    assert (tmp_path / "out" / "0_classes.png").is_file()
    run(method="cam1")
    assert not list((tmp_path / "out").glob("*_classes.png"))


def test_a_folder_in_the_way_is_named_and_the_rest_is_done(
        run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out" / "2_overlay.jpg").mkdir(parents=True)
    assert run() == 1
    said = capsys.readouterr().err
    assert "1 of 6 failed, all others are done" in said and "2_overlay.jpg: a folder lies where" in said
    assert len(list((tmp_path / "out").glob("*_heat.png"))) == 5


# One bad photograph

@pytest.mark.parametrize("batch", [(), ("--batch", "1"), ("--batch", "auto")])
def test_bad_ones_are_listed_and_the_rest_is_done(
        run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        batch: tuple[str, ...]) -> None:
    for name in ("0.png", "3.png", "5.png"):   # the first, one between, the last
        (photos / name).write_bytes((photos / name).read_bytes()[:40])
    (photos / "folder.jpg").mkdir()
    (photos / "loop.jpg").symlink_to(photos / "loop.jpg")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "._1.png").write_bytes(b"what a Mac leaves beside 1.png")
    for _ in range(2):   # another call comes as far
        assert run(*batch) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith("segmenting: 6 of 9 failed, all others are done (")
        assert len(list((tmp_path / "out").glob("*_overlay.jpg"))) == 3


def test_every_failure_is_listed(run: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        (photos / f"{number}.png").write_bytes(b"")
    assert run() == 1
    said = capsys.readouterr().err
    assert all(f"{number}.png" in said for number in range(5))


def test_the_input_is_no_place_for_results(
        photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to(photos)
    for out in (photos, tmp_path / "link", photos / ".." / "photos"):
        assert main(["segment", "rcam", str(photos), "--out", str(out)]) == 1
        assert "is the folder of the photographs" in capsys.readouterr().err
    assert len(list(photos.iterdir())) == 6


@pytest.mark.parametrize("size", [(65_501, 1), (1, 65_501)])
def test_what_is_too_long_for_an_overlay_leaves_nothing(
        run: Run, photos: Path, tmp_path: Path, size: tuple[int, int],
        capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", size).save(photos / "long.png")
    assert run() == 1
    assert "an overlay is a JPEG of at most 65,500 a side" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("long_*"))
    assert len(list((tmp_path / "out").glob("*_overlay.jpg"))) == 6


def test_a_file_that_cannot_be_written_leaves_none_of_the_others(
        run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib.segment.results.Results._marked", full)
    assert run() == 1
    assert list((tmp_path / "out").iterdir()) == []


# Large photographs

def test_large_photographs_are_fewer_at_a_time(tmp_path: Path) -> None:
    paths = []
    for number, side in enumerate([10, 10, 30, 10, 10, 10, 10]):
        paths.append(tmp_path / f"{number}.png")
        Image.new("L", (side, side)).save(paths[-1])
    paths[3].write_bytes(b"")   # nobody knows its size
    batches = photographs.batches_of(paths, 4, most_pixels=1000)
    assert [len(batch.paths) for batch in batches] == [2, 3, 2]
    assert [path for batch in batches for path in batch.paths] == paths
    assert [len(batch.paths) for batch in photographs.batches_of(paths, 4)] == [4, 3]


def test_bands_of_rows_are_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.segment import pictures

    photo = Image.effect_mandelbrot((70, 50), (-2, -1, 1, 1), 50).convert("RGB")
    found = Found(torch.rand(1, 24, 24))
    whole, overlay = pictures.pictures_of(photo, found, 0.5)
    monkeypatch.setattr(pictures, "BAND_PIXELS", 300)
    parts, overlay_of_parts = pictures.pictures_of(photo, found, 0.5)
    for one, other in ((whole["heat.png"], parts["heat.png"]), (overlay, overlay_of_parts)):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 2
    assert (np.asarray(whole["mask.png"]) != np.asarray(parts["mask.png"])).mean() < 0.001


def test_a_large_photograph_takes_little_beside_itself() -> None:
    """In floating-point colours it would take 32 bytes for each of its 12 million pixels."""
    from lib.segment import pictures

    photo = Image.new("RGB", (4000, 3000), (90, 60, 30))
    found = Found(torch.rand(1, 24, 24))
    pictures.pictures_of(photo.resize((40, 30)), found, 0.5)   # what is imported is not counted
    tracemalloc.start()
    pictures.pictures_of(photo, found, 0.5)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 150e6


# Names

@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_the_terminal_cannot_show(tmp_path: Path, encoding: str) -> None:
    """Umlauts where there are only ASCII letters, and bytes that are no letters at all."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("größe.png".encode(), b"caf\xe9.png"):
        Image.new("RGB", (12, 10)).save(os.fsdecode(bytes(folder) + b"/" + name))
    program = (
        "import sys, torch, numpy\n"
        "from lib.papers.rcam import use\n"
        "from lib.papers.found import Found\n"
        "found = Found(torch.ones(1, 4, 4), numpy.ones((10, 12), numpy.uint8), ['a'], ['a'])\n"
        "use.segmenter = lambda *_: lambda photos: [found for _ in photos]\n"
        "from lib.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n")
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding, "JOBS": "1"}
    words = ["segment", "rcam", str(folder), "--out", str(tmp_path / "out"), "--shard", "1/2", "--batch", "2"]
    (folder / os.fsdecode(b"bad\xe9.png")).write_bytes(b"")
    ended = subprocess.run([sys.executable, "-c", program, *words], env=variables, capture_output=True)
    assert b"Traceback" not in ended.stderr and ended.returncode == 1, ended.stderr
    assert ended.stdout.count(b".png: a") == 1
    assert b"1 of 3 failed" in ended.stderr
