"""Dataset folders are written whole or not at all, and read back as they were written."""
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Box, Dataset
from lib.data.writer import DatasetWriter, writing


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def fill(writer: DatasetWriter, seed: int = 0) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    for id in ("a", "b"):
        Image.fromarray(values).save(writer.path("images", f"{id}.png"))
        writer.mask("class_masks", id, np.uint8([[0, 1, 2, 255]] * 3))
        writer.mask("saliency", id, np.uint8([[0, 20, 200, 255]] * 3))
    boxes = [Box("cat", 0, 0, 2, 3), Box("dog", 2, 0, 4, 3)]
    writer.sample("a", "images/a.png", "train", ["cat", "dog"], boxes, single=0)
    writer.sample("b", "images/b.png", "test", [], single=1)


def made(folder: Path, seed: int = 0) -> Dataset:
    with writing(folder, "tiny", "1", "here", "none", ["cat", "dog"]) as writer:
        fill(writer, seed)
    return Dataset(folder)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    dataset = made(tmp_path / "deep" / "tiny")
    assert dataset.classes == ["cat", "dog"]
    named = {key: dataset.manifest[key] for key in ("name", "version", "source", "licence")}
    assert named == {"name": "tiny", "version": "1", "source": "here", "licence": "none"}
    assert [(s.id, s.labels, s.extra) for s in dataset.samples] == [
        ("a", ("cat", "dog"), {"single": "0"}), ("b", (), {"single": "1"})]
    assert dataset.boxes == {"a": [Box("cat", 0, 0, 2, 3), Box("dog", 2, 0, 4, 3)], "b": []}
    assert dataset.samples[0].mask("class_masks")[0].tolist() == [0, 1, 2, 255]
    assert dataset.samples[0].mask("saliency")[0].tolist() == [0, 20, 200, 255]
    with Image.open(dataset.folder / "saliency" / "a.png") as saliency:
        assert saliency.mode == "L"
    with Image.open(dataset.folder / "class_masks" / "a.png") as classes:
        assert classes.mode == "P"
        colours = np.asarray(classes.convert("RGB"))[0].tolist()
    # VOC's colours: background black, first class dark red, second dark green, void nearly white
    assert colours == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [224, 224, 192]]


def test_the_manifest_lists_every_file(tmp_path: Path) -> None:
    dataset = made(tmp_path / "tiny")
    listed = ["boxes.csv", "class_masks/a.png", "class_masks/b.png", "images/a.png", "images/b.png",
              "saliency/a.png", "saliency/b.png", "samples.csv"]
    assert sorted(dataset.manifest["files"]) == listed
    folders = ["tiny/images", "tiny/class_masks", "tiny/saliency"]
    files = [f"tiny/{name}" for name in listed]
    assert names(tmp_path) == sorted(["tiny", "tiny/manifest.json", *folders, *files])


def test_the_same_content_has_the_same_hash(tmp_path: Path) -> None:
    assert made(tmp_path / "x").hash == made(tmp_path / "y").hash != made(tmp_path / "z", seed=1).hash


def test_without_boxes_there_is_no_file_of_them(tmp_path: Path) -> None:
    with writing(tmp_path / "tiny", "tiny", "1", "here", "none", ["cat"]) as writer:
        Image.new("RGB", (2, 2)).save(writer.path("images", "a.png"))
        writer.sample("a", "images/a.png", "test", ["cat"])
    assert names(tmp_path / "tiny") == ["images", "images/a.png", "manifest.json", "samples.csv"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit, Problem])
@pytest.mark.parametrize("before", [True, False])
def test_an_interrupted_writing_leaves_nothing(tmp_path: Path, stop: type[BaseException],
                                               before: bool) -> None:
    old = made(tmp_path / "tiny", seed=5).hash if before else None
    there = names(tmp_path)
    interrupted = writing(tmp_path / "tiny", "tiny", "1", "here", "none", ["cat"])
    with pytest.raises(stop), interrupted as writer:
        fill(writer)
        raise stop
    assert names(tmp_path) == there
    assert not before or Dataset(tmp_path / "tiny").hash == old


def test_an_empty_source_is_named(tmp_path: Path) -> None:
    words = "somewhere: no image found; is this the right folder for tiny?"
    empty = writing(tmp_path / "tiny", "tiny", "1", "somewhere", "none", ["cat"])
    with pytest.raises(Problem, match=words), empty:
        pass
    assert names(tmp_path) == []


def test_a_class_name_with_a_space_is_refused_at_once(tmp_path: Path) -> None:
    spaced = writing(tmp_path / "tiny", "tiny", "1", "here", "none", ["cat", "small mammal"])
    with pytest.raises(Problem, match='class name "small mammal" holds a space'), spaced:
        raise AssertionError("not to be reached")
    assert names(tmp_path) == []
