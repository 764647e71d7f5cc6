"""ILSVRC CLS-LOC, in trees laid out as distributed."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Box, Dataset
from lib.data.official import find_official, import_official
from lib.data.official.ilsvrc import import_ilsvrc

FIRST, SECOND = "ILSVRC2012_val_00000001", "ILSVRC2012_val_00000031"   # the second is set aside
TENCH, SHARK = "n01440764", "n01484850"
NAMED = {TENCH: "n01440764_tench", SHARK: "n01484850_great_white_shark"}


def photo(path: Path, size: tuple[int, int], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 100, 50)).save(path, "JPEG", **options)


def xml(path: Path, size: tuple[int, int], *objects: tuple[str, tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = ""
    for name, (xmin, ymin, xmax, ymax) in objects:
        bounds = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
        entries += (f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>"
                    f"<difficult>0</difficult><bndbox>{bounds}</bndbox></object>")
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    path.write_text(f"<annotation><folder>val</folder>{shape}{entries}</annotation>")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "challenge" / "ILSVRC"
    for id in (FIRST, SECOND):
        photo(top / "Data" / "CLS-LOC" / "val" / f"{id}.JPEG", (50, 40))
    notes = top / "Annotations" / "CLS-LOC" / "val"
    xml(notes / f"{FIRST}.xml", (50, 40), (SHARK, (13, 0, 49, 25)), (SHARK, (0, 0, 0, 0)))
    xml(notes / f"{SECOND}.xml", (100, 80), (TENCH, (20, 10, 59, 39)))   # drawn on a copy twice as large
    lists = top / "ImageSets" / "CLS-LOC"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(f"{FIRST} 1\n{SECOND} 2\n")
    (lists / "train_cls.txt").write_text(
        f"{TENCH}/{TENCH}_10026 1\n{TENCH}/{TENCH}_10027 2\n{SHARK}/{SHARK}_7 3\n")
    for entry in (f"{TENCH}/{TENCH}_10026", f"{SHARK}/{SHARK}_7"):
        photo(top / "Data" / "CLS-LOC" / "train" / f"{entry}.JPEG", (20, 20))
    (tmp_path / "challenge" / "LOC_synset_mapping.txt").write_text(
        f"{SHARK} great white shark, white shark, man-eater\n{TENCH} tench, Tinca tinca\n")
    return top


@pytest.mark.parametrize("around", [False, True])
def test_validation_is_test_and_val_with_its_boxes(top: Path, tmp_path: Path, around: bool) -> None:
    import_ilsvrc(top.parent if around else top, tmp_path / "out", train=False)
    data = Dataset(tmp_path / "out")
    assert data.classes == [NAMED[TENCH], NAMED[SHARK]]   # by synset
    assert [(s.id, s.split, s.labels) for s in data.samples] == [
        (FIRST, "test", (NAMED[SHARK],)), (SECOND, "val", (NAMED[TENCH],))]
    # counted from 0, last pixel included: 13..49 of 50 columns reaches the border
    assert data.boxes[FIRST] == [Box(NAMED[SHARK], 13, 0, 50, 26), Box(NAMED[SHARK], 0, 0, 1, 1)]
    assert data.boxes[SECOND] == [Box(NAMED[TENCH], 10, 5, 30, 20)]


def test_without_the_mapping_classes_are_synsets(top: Path, tmp_path: Path) -> None:
    (top.parent / "LOC_synset_mapping.txt").unlink()
    import_ilsvrc(top, tmp_path / "out")
    assert Dataset(tmp_path / "out").classes == [TENCH, SHARK]


def test_training_images_join_where_present(top: Path, tmp_path: Path) -> None:
    import_ilsvrc(top, tmp_path / "out")
    data = Dataset(tmp_path / "out")
    assert [(s.id, s.labels) for s in data.split("train")] == [
        (f"{TENCH}_10026", (NAMED[TENCH],)), (f"{SHARK}_7", (NAMED[SHARK],))]
    assert "2 of 3 training images" in data.manifest["source"]
    assert len(data.split("test")) == len(data.split("val")) == 1
    linked = tmp_path / "out" / "images" / f"{SHARK}_7.JPEG"
    original = top / "Data" / "CLS-LOC" / "train" / SHARK / f"{SHARK}_7.JPEG"
    assert linked.stat().st_ino == original.stat().st_ino


def test_the_solution_table_stands_in_for_absent_annotations(top: Path, tmp_path: Path) -> None:
    for path in (top / "Annotations" / "CLS-LOC" / "val").iterdir():
        path.unlink()
    path.parent.rmdir()
    table = top.parent / "LOC_val_solution.csv"
    table.write_text("ImageId,PredictionString\n"
                     f"{SECOND},{TENCH} 5 6 9 10 \n{FIRST},{SHARK} 13 0 49 25 {SHARK} 0 0 0 0 \n")
    import_ilsvrc(top, tmp_path / "out")
    data = Dataset(tmp_path / "out")
    assert data.boxes[FIRST] == [Box(NAMED[SHARK], 13, 0, 50, 26), Box(NAMED[SHARK], 0, 0, 1, 1)]
    assert data.boxes[SECOND] == [Box(NAMED[TENCH], 5, 6, 10, 11)]
    table.write_text(f"ImageId,PredictionString\n{SECOND},{TENCH} 5 6 9\n")
    with pytest.raises(Problem, match="LOC_val_solution.csv: damaged"):
        import_ilsvrc(top, tmp_path / "out")
    table.write_text(f"ImageId,PredictionString\n{SECOND},{TENCH} 5 6 9 10\n")
    with pytest.raises(Problem, match=f"no entry for {FIRST}"):
        import_ilsvrc(top, tmp_path / "out")
    table.unlink()
    with pytest.raises(Problem, match="lacks Annotations/CLS-LOC/val; expected ILSVRC with"):
        import_ilsvrc(top, tmp_path / "out")


def test_a_photograph_is_not_turned_away_from_its_boxes(top: Path, tmp_path: Path) -> None:
    path = top / "Data" / "CLS-LOC" / "val" / f"{FIRST}.JPEG"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6   # "turn me by 90 degrees"
    noise.save(path, "JPEG", exif=exif)
    before = path.read_bytes()
    import_ilsvrc(top, tmp_path / "out")
    stored = Dataset(tmp_path / "out").samples[0].photo()
    assert stored.size == (50, 40)
    with Image.open(path) as original:
        assert np.array_equal(np.asarray(stored), np.asarray(original))   # the same coded pixels
    assert path.read_bytes() == before


def drop_image(top: Path) -> None:
    (top / "Data" / "CLS-LOC" / "val" / f"{SECOND}.JPEG").unlink()


def drop_xml(top: Path) -> None:
    (top / "Annotations" / "CLS-LOC" / "val" / f"{SECOND}.xml").unlink()


def damage_xml(top: Path) -> None:
    (top / "Annotations" / "CLS-LOC" / "val" / f"{SECOND}.xml").write_text("<annotation><size>")


def move_box(top: Path) -> None:
    xml(top / "Annotations" / "CLS-LOC" / "val" / f"{SECOND}.xml", (50, 40), (TENCH, (60, 0, 70, 10)))


def turn_box(top: Path) -> None:
    xml(top / "Annotations" / "CLS-LOC" / "val" / f"{SECOND}.xml", (40, 50), (TENCH, (1, 0, 20, 10)))


def unknown_synset(top: Path) -> None:
    xml(top / "Annotations" / "CLS-LOC" / "val" / f"{SECOND}.xml", (50, 40), ("n01440765", (1, 0, 20, 10)))


@pytest.mark.parametrize("harm, words", [
    (drop_image, f"{SECOND}.JPEG: listed in .*val.txt but absent"), (drop_xml, f"{SECOND}.xml: missing"),
    (damage_xml, f"{SECOND}.xml: damaged annotation"), (move_box, f"{SECOND}: no box lies inside"),
    (turn_box, f"{SECOND}: its boxes were drawn on the image turned"),
    (unknown_synset, f'did you mean "{TENCH}"')])
def test_what_is_wrong_is_named_and_nothing_is_left(top: Path, tmp_path: Path, harm: Callable[[Path], None],
                                                    words: str) -> None:
    harm(top)
    with pytest.raises(Problem, match=words):
        import_ilsvrc(top, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["challenge"]


def test_absent_training_images_are_named(top: Path, tmp_path: Path) -> None:
    (top / "ImageSets" / "CLS-LOC" / "train_cls.txt").write_text(f"{TENCH}/{TENCH}_99 1\n")
    with pytest.raises(Problem, match=r"unpack the training images or leave them out \(train: false\)"):
        import_ilsvrc(top, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def drop_training_list(top: Path) -> None:
    (top / "ImageSets" / "CLS-LOC" / "train_cls.txt").unlink()


def drop_training_images(top: Path) -> None:
    (top / "Data" / "CLS-LOC" / "train").rename(top / "elsewhere")


@pytest.mark.parametrize("harm, lacking", [
    (drop_training_list, "ImageSets/CLS-LOC/train_cls.txt"), (drop_training_images, "Data/CLS-LOC/train")])
def test_training_images_are_missed_before_anything_starts(top: Path, tmp_path: Path, lacking: str,
                                                           harm: Callable[[Path], None]) -> None:
    """Unless they are left out: then their absence does not matter."""
    assert find_official("ilsvrc", top.parent) == find_official("ilsvrc", top, train=True) == top
    harm(top)
    with pytest.raises(Problem, match=rf"ILSVRC: lacks {lacking}; .*\(train: false\)"):
        find_official("ilsvrc", top.parent)
    assert find_official("ilsvrc", top.parent, train=False) == top
    import_official("ilsvrc", top, tmp_path / "out", train=False)
    assert {sample.split for sample in Dataset(tmp_path / "out").samples} == {"val", "test"}
