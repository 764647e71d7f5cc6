"""The command line, as a person would call it."""
import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.__main__ import main
from lib.base.paths import ROOT
from lib.data.writer import writing
from lib.methods import segments

SHAPES: tuple[str, ...] = ("bar", "cross", "disc")
TRAINED = Path("smoke/dcsm_train/efficientnet_lite0/weights.safetensors")   # below build/


@pytest.fixture
def dataset(tmp_path: Path) -> Path:   # its one class is not among SHAPES
    """Three images with a bright square as foreground, and one without any."""
    folder = tmp_path / "squares"
    with writing(folder, "squares", "1", "made by the test", "none", ["square"]) as writer:
        for i in range(4):
            pixels = np.full((90, 120, 3), 60, np.uint8)
            truth = np.zeros((90, 120), np.uint8)
            square = np.s_[20:60, 10 + 20 * i:60 + 20 * i]
            if i < 3:
                pixels[square] = (250, 200, 40)
                truth[square] = 255
            Image.fromarray(pixels).save(writer.path("images", f"{i}.png"))
            writer.mask("saliency", str(i), truth)
            writer.sample(str(i), f"images/{i}.png", "test", ["square"] if i < 3 else [])
    return folder


def test_segment_writes_maps_in_the_photographs_size_and_resumes(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    Image.effect_mandelbrot((70, 50), (-2, -1, 1, 1), 50).save(photos / "grey.png")
    Image.new("CMYK", (40, 80), (10, 200, 30, 0)).save(photos / "print.jpg")
    assert main(["segment", "rcam", str(photos), "--out", str(out)]) == 0
    kinds: tuple[str, ...] = ("heat.png", "mask.png", "overlay.jpg")
    expected = [f"{name}_{kind}" for name, kind in product(("grey", "print"), kinds)]
    assert sorted(path.name for path in out.iterdir()) == expected
    heat, mask = (np.asarray(Image.open(out / f"grey_{kind}.png")) for kind in ("heat", "mask"))
    assert heat.shape == (50, 70) and set(np.unique(mask)) <= {0, 255}
    assert ((mask == 255) == (heat >= 127.5)).mean() > 0.99   # heat is rounded
    before = (out / "grey_heat.png").stat().st_mtime_ns
    assert main(["segment", "rcam", str(photos), "--out", str(out)]) == 0
    assert (out / "grey_heat.png").stat().st_mtime_ns == before


def test_segment_finds_the_batch_and_halves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    """A method that is faster with more photographs, up to four; then memory is scarcer than it was."""
    import torch

    from lib.papers.found import Found
    from lib.papers.rcam import use

    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for i in range(9):
        Image.new("RGB", (12, 10), (20 * i, 0, 0)).save(photos / f"{i}.png")
    sizes: list[int] = []

    def find(images: list[Image.Image]) -> list[Found]:
        sizes.append(len(images))
        time.sleep(0.03)
        if len(images) > (4 if len(sizes) < 6 else 3):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [Found(torch.full((1, 4, 4), image.getpixel((0, 0))[0] / 255)) for image in images]

    monkeypatch.setattr(use, "segmenter", lambda *_: find)
    assert main(["segment", "rcam", str(photos), "--out", str(out), "--batch", "auto"]) == 0
    trying = [1, 1, 2, 4, 8]
    assert sizes == [*trying, 4, 2, 2, 2, 2, 1]
    assert capsys.readouterr().err == "Memory ran out with 4 at a time; going on with 2.\n"
    greys = [int(np.asarray(Image.open(out / f"{i}_heat.png")).max()) for i in range(9)]
    assert greys == [20 * i for i in range(9)]


@pytest.mark.parametrize("given, says", [
    ("0", "0 must be at least 1"), ("many", '"many" is no whole number')])
def test_a_batch_is_a_number_or_auto(given: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "rcam", "photo.jpg", "--out", "o", "--batch", given])
    assert says in capsys.readouterr().err


def test_evaluate_is_the_notebooks_code_path(dataset: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    from lib.data.dataset import Dataset
    from lib.papers.rcam.tables import open_network, table1
    from lib.params import load_params

    options = ["--data", str(dataset), "--json", str(tmp_path / "scores.json"), "--batch", "2"]
    assert main(["evaluate", "rcam", *options]) == 0
    assert "3 images (1 without foreground left out)" in capsys.readouterr().out
    found = json.loads((tmp_path / "scores.json").read_text())["results"]
    params = load_params()
    network = open_network("efficientnet_lite0", params.rcam)
    scored, _ = table1(network, Dataset(dataset).split("test"), params.rcam, 2)
    rows, _ = scored.table([], params.chance)
    assert found == rows and 0 < found["rcam"]["ods"]["mean"] <= 1


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright rectangles that go by three names; one image to validate on, void pixels in every class mask."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    with writing(folder, "shapes", "1", "made by the test", "none", list(SHAPES)) as writer:
        for i, name in enumerate(["disc", "bar", "cross", "bar"]):
            pixels = np.full((64, 96, 3), 60, np.uint8)
            truth = np.zeros((64, 96), np.uint8)
            rectangle = np.s_[20:44, 10 + 8 * i:50 + 8 * i]
            pixels[rectangle] = (250, 200, 40 * i)
            truth[rectangle] = 1 + SHAPES.index(name)
            truth[:2] = 255
            Image.fromarray(pixels).save(writer.path("images", f"{i}.png"))
            writer.mask("class_masks", str(i), truth)
            writer.sample(str(i), f"images/{i}.png", "test" if i else "val", [name])
    return folder


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the smoke tier's training leaves its network: random weights, for the classes of `shapes`."""
    import torch

    from lib.nets import load_network
    from lib.nets.fcn import fully_convolutional, save_fcn

    folder = tmp_path_factory.mktemp("build")
    torch.manual_seed(0)
    network = load_network("efficientnet_lite0", pretrained=False)
    save_fcn(fully_convolutional(network, SHAPES), folder / TRAINED)
    return folder


def test_segment_dcsm_is_the_method(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its foreground after the CRF, in the photograph's own size, and its classes in VOC's colours."""
    from lib.nets.fcn import load_fcn
    from lib.nets.fold import fold_normalisation
    from lib.papers.dcsm.method import dcsm
    from lib.papers.dcsm.saliency import marginals
    from lib.params import load_params

    params = load_params()
    photo = Image.effect_mandelbrot((70, 50), (-2, -1, 1, 1), 50).convert("RGB")
    photo.save(tmp_path / "a.png")
    out = tmp_path / "o"
    options = ["--out", str(out), "--tier", "smoke", "--weights", str(build / TRAINED)]
    assert main(["segment", "dcsm", str(tmp_path / "a.png"), *options]) == 0
    written = sorted(path.name for path in out.iterdir())
    assert written == ["a_classes.png", "a_heat.png", "a_mask.png", "a_overlay.jpg"]
    heat = np.asarray(Image.open(out / "a_heat.png"))
    fcn = fold_normalisation(load_fcn(build / TRAINED))
    side = params.tier["smoke"].dcsm_maps.side
    expected = 255 * (1 - marginals(fcn, photo, params.dcsm, side)[0][0])
    assert heat.shape == (50, 70) and np.abs(heat - expected).max() < 1 and heat.max() > heat.min()
    found = dcsm(fcn, photo, params.dcsm, side)
    classes = Image.open(out / "a_classes.png")
    assert np.array_equal(np.asarray(classes), found.labels)
    assert classes.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
    names = [fcn.classes[target] for target in found.targets]
    assert capsys.readouterr().out == f"a.png: {', '.join(names)}\n"


def test_files_in_the_way_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (tmp_path / "o").write_text("not a folder")
    assert main(["segment", "cam1", str(tmp_path / "a.png"), "--out", str(tmp_path / "o")]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"{tmp_path / 'o'}"), lines


TOO_FEW = ["segment cam1 a.png --out o --batch 0", "evaluate rcam --data d --images -3"]


@pytest.mark.parametrize("words", TOO_FEW)
def test_counts_start_at_one(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words.split())
    assert "must be at least 1" in capsys.readouterr().err


def test_evaluate_dcsm_gives_the_scores_of_the_notebook(
        shapes: Path, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """The notebook starts from the raw maps of the stage dcsm_maps, the command from a photograph."""
    from lib.data.dataset import Dataset
    from lib.papers.dcsm import maps, rows as dcsm_rows, tables
    from lib.papers.dcsm.settings import MapsImages, MapsRun
    from lib.params import load_params

    monkeypatch.setattr("lib.papers.dcsm.use.BUILD", build)
    scores = tmp_path / "scores.json"
    options = ["--tier", "smoke", "--images", "2", "--json", str(scores)]
    assert main(["evaluate", "dcsm", "--data", str(shapes), *options]) == 0
    assert capsys.readouterr().out.startswith("efficientnet_lite0 on 2 images\ndcsm_no_crf ")
    found = json.loads(scores.read_text())
    assert (found["method"], found["network"], found["images"]) == ("dcsm", "efficientnet_lite0", 2)

    params = load_params()
    dataset = Dataset(shapes)
    folder = tmp_path / "maps"
    images = {"efficientnet_lite0": MapsImages(val=1, test=2, ablations=0)}
    run = MapsRun(side=params.tier["smoke"].dcsm_maps.side, networks=images, dataset="shapes")
    maps.compute(dataset, run, params.dcsm_maps, maps.MapFolders((build / TRAINED).parents[1], folder), {})
    split = tables.open_split(dataset, folder / "efficientnet_lite0")
    scored = tables.score_rows(split.items, dcsm_rows.main_rows(params.dcsm), split, "as in the notebook")
    rows, _ = tables.table(scored, split.items, dataset.classes, [], params.chance)
    # Simonyan's maps are another method.
    assert list(found["results"]) == ["dcsm_no_crf", "dcsm_crf", "dcsm_paper_crf"]
    assert all(found["results"][row] == rows[row] for row in found["results"])


@pytest.mark.parametrize("words, says", [
    ("segment dcsm photo.png --out o --tier smoek",
     '--tier: there is no tier "smoek"; did you mean "smoke"?'),
    ("evaluate dcsm --data {data} --tier smoek", '--tier: there is no tier "smoek"; did you mean "smoke"?'),
    ("segment dcsm photo.png --out o --tier smoke",
     "smoke/dcsm_train/efficientnet_lite0/weights.safetensors: there are no such weights; train"),
    ("segment dcsm photo.png --out o --network vgg16_conv",
     "collage/dcsm_train/vgg16_conv/weights.safetensors: there are no such weights"),
    ("segment dcsm photo.png --out o --weights w.safetensors", "w.safetensors: there are no such weights"),
    ("evaluate dcsm --data {data} --weights photo.png",
     "photo.png: damaged, or not the weights of a multi-label network"),
    ("evaluate dcsm --data {data} --weights {weights}",
     "/squares: its classes are not those that the network was trained on; give --weights"),
    ("evaluate dcsm --data {data} --split val", "val"),
    ("evaluate dcsn --data {data}", 'evaluate: there is no method "dcsn"; did you mean "dcsm"?')])
def test_what_dcsm_cannot_start_from_is_one_sentence(
        words: str, says: str, dataset: Path, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lib.papers.dcsm.use.BUILD", tmp_path / "nothing is trained")
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    assert main(words.format(data=dataset, weights=build / TRAINED).split()) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0], lines
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("words, shown", [
    ([], ["segment dcsm photos/", "evaluate rcam --data", "data check", "examples:"]),
    (["segment"], ["rcam, rcam_box, dcsm, csoa, prm, iam", "--tier TIER", "--weights WEIGHTS",
                   "--network NETWORK", "--threshold THRESHOLD", "--batch BATCH"]),
    (["evaluate"], ["rcam, rcam_box, dcsm, csoa, iam", "--tier TIER", "--weights WEIGHTS", "--json JSON",
                    "--split SPLIT", "95 % interval"]),
    (["data"], ["check", "collage", "mirror", "official"]),
    (["data", "collage"], ["--train TRAIN", "--seed SEED", "--single", "15 to 60 % of it"])])
def test_help_names_every_option(words: list[str], shown: list[str], monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")   # no line is broken
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and all(part in text for part in shown), text
    assert all(method in text for method in segments()) or words != ["segment"]


@pytest.mark.parametrize("words, single", [("", False), (" --single", True)])
def test_collages_are_composed_as_asked_for(words: str, single: bool, dataset: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr("lib.data.collage.compose.build_collage", lambda *args: calls.append(args))
    assert main(f"data collage {dataset} --train 3 --val 2 --test 1 --seed 5{words}".split()) == 0
    (folder, _, seed, images, composed_single), = calls
    assert (folder, seed, composed_single) == (dataset, 5, single)
    assert images == {"train": 3, "val": 2, "test": 1}


@pytest.mark.parametrize("words, says", [
    ("segment rcamm nowhere.jpg --out o", 'did you mean "rcam"'),
    ("segment rcam nowhere.jpg --out o", "nowhere.jpg: there is no such file or folder"),
    ("segment rcam . --out o --threshold 2", "must be above 0 and at most 1"),
    ("evaluate dcms --data x", "there is no method"),
    ("evaluate rcam --data x --tier colage", 'did you mean "collage"'),
    ("evaluate rcam --data x", "not a dataset folder"),
    ("segment rcam {photo} --out o --weights /nonexistent",
     'efficientnet_lite0 has no option "weights"'),
    ("segment rcam {photo} --out o --network torchvision_resnet50 --weights /nonexistent",
     "/nonexistent: there is no such weight file"),
    ("segment rcam {photo} --out o --tier colage", 'did you mean "collage"'),
    ("evaluate iam --data {data} --weights /nonexistent", "--weights: IAM is evaluated with all networks"),
    ("data mirror vocc x --source y", 'did you mean "voc"'),
    ("data check x", "not a dataset folder"),
])
def test_one_sentence_and_exit_status_1(
        words: str, says: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    assert main(words.format(photo="photo.png", data=dataset).split()) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0]


def test_a_flipped_byte_is_named_and_nothing_computed(dataset: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    path = dataset / "images" / "1.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert main(["evaluate", "rcam", "--data", str(dataset)]) == 1
    error = capsys.readouterr().err
    assert "images/1.png" in error and "damaged" in error


@pytest.mark.mirror
def test_a_network_with_random_layers_makes_no_maps(tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    words = ["segment", "rcam", str(tmp_path / "a.png"), "--out", str(tmp_path / "o")]
    assert main([*words, "--network", "googlenet_gap"]) == 1
    assert "its layers CAM_conv and CAM_fc have no published weights" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_an_empty_folder_and_two_photographs_of_one_name(tmp_path: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "rcam", str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "holds no image" in capsys.readouterr().err
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    assert main(["segment", "rcam", str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "share a name" in capsys.readouterr().err


def test_processes_and_shares_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, two, and two machines' shares put together; a photograph that is damaged stops nobody."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(7):
        photo = Image.effect_mandelbrot((60 + i, 50), (-2, -1, 1, 1 + i / 9), 50)
        photo.convert("RGB").save(photos / f"{i}.png")
    (photos / "damaged.png").write_bytes((photos / "3.png").read_bytes()[:200])
    words = ["segment", "cam1", str(photos), "--batch", "2"]

    def run(folder: str, *more: str) -> int:
        status = main([*words, "--out", str(tmp_path / folder), *more])
        monkeypatch.setenv("JOBS", "1")
        return status

    def written(folder: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((tmp_path / folder).glob("*_*"))}

    assert run("one", "--jobs", "1") == 1   # the damaged photograph
    assert len(written("one")) == 3 * 7
    assert run("two", "--jobs", "2") == 1
    assert [run("shares", "--shard", share) for share in ("2/2", "1/2")] == [1, 0]
    assert written("two") == written("shares") == written("one")
    note = json.loads((tmp_path / "shares" / "shards" / "2-of-2.json").read_text())["segment"]
    assert list(note["failures"]) == ["damaged.png"] and note["count"] == 4
    assert run("shares", "--shard", "3/3") == 1   # it was divided by two
    assert run("other", "--shard", "3/2") == 1


def test_a_shard_has_a_batch_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    words = ["segment", "cam1", str(tmp_path), "--out", str(tmp_path / "o")]
    assert main([*words, "--shard", "1/2", "--batch", "auto"]) == 1
    assert "give a number with --shard" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["0", "some"])
def test_a_number_of_jobs_starts_at_one(word: str, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert main(["segment", "cam1", str(tmp_path), "--out", str(tmp_path / "o"), "--jobs", word]) == 1
    assert "JOBS: must be a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("words, says", [
    (["data", "collage", "c", "--seed", "-1"], "argument --seed: -1 must be between 0 and"),
    (["data", "collage", "c", "--train", "-5"], "argument --train: -5 must be between 0 and"),
    (["data", "collage", "c", "--train", "x"], 'argument --train: "x" is no whole number'),
    (["data", "collage", "c", "--seed", "9" * 5000], "is no whole number"),
    (["data", "check", "a\0b"], 'argument folder: "a\\x00b" is no name that a file can have'),
    (["segment", "rcam", "", "--out", "o"], 'argument input: "" is no name that a file can have'),
])
def test_words_that_cannot_be_meant_are_named(words: list[str], says: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert says in capsys.readouterr().err


def test_nobody_reads_on_what_is_printed() -> None:
    """As of `python -m lib ... | head -1`: it ends in silence."""
    program = [sys.executable, "-m", "lib", "params"]
    reading, writing_end = os.pipe()
    os.close(reading)
    done = subprocess.run(program, cwd=ROOT, stdout=writing_end, stderr=subprocess.PIPE, text=True)
    os.close(writing_end)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("module", ["lib.__main__", "lib.pipeline.__main__"])
def test_figures_go_to_files_whatever_shows_them_here(module: str) -> None:
    program = f"import {module}; from matplotlib import pyplot; print(pyplot.get_backend().lower())"
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == "agg\n", done.stderr
