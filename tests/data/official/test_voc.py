"""VOC 2012 and SBD, in trees laid out as distributed."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from lib.base.problem import Problem
from lib.data.dataset import Box, Dataset
from lib.data.official import find_official
from lib.data.official.common import set_aside
from lib.data.official.voc import VOC_CLASSES, import_voc
from lib.data.writer import PALETTE

WIDTH, HEIGHT = 12, 8
# By sha256(id) % 10, computed apart from the importer, the second is set aside and the first is not.
TRAIN = "2007_000032"
TUNING = "2007_000123"
HELD = "2007_000033"
BOUNDARY = "2008_000002"


def photo(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)


def mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    image.putpalette(PALETTE)
    image.save(path)


def xml(path: Path, *objects: tuple[str, tuple, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    entries = ""
    for name, (xmin, ymin, xmax, ymax), difficult in objects:
        bounds = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
        entries += (f"<object><name>{name}</name><pose>Left</pose><difficult>{difficult}</difficult>"
                    f"<bndbox>{bounds}</bndbox><part><name>head</name>{part}</part></object>")
    shape = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    path.write_text(f"<annotation><folder>VOC2012</folder>{shape}{entries}</annotation>")


def classes() -> np.ndarray:
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    values[2:6, 1:5] = 12     # dog
    values[1:3, 8:11] = 15    # person
    values[0] = 255           # void
    return values


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    for id in (TRAIN, TUNING, HELD):
        photo(voc / "JPEGImages" / f"{id}.jpg")
        mask(voc / "SegmentationClass" / f"{id}.png", classes())
        numbers = classes()
        numbers[numbers == 12] = 1
        numbers[numbers == 15] = 2
        mask(voc / "SegmentationObject" / f"{id}.png", numbers)
        xml(voc / "Annotations" / f"{id}.xml", ("person", (9, 2, 11, 3), 1), ("dog", (2, 3, 5, 6), 0))
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(f"{TRAIN}\n{TUNING}\n")
    (lists / "val.txt").write_text(f"{HELD}\n")
    (lists / "trainval.txt").write_text(f"{TRAIN}\n{HELD}\n{TUNING}\n")
    return tmp_path / "VOCdevkit"


@pytest.fixture
def boundaries(tmp_path: Path) -> Path:
    """SBD: an image of its own, one that VOC holds out, and one that VOC trains on."""
    sbd = tmp_path / "benchmark_RELEASE" / "dataset"
    for id in (BOUNDARY, HELD, TRAIN):
        photo(sbd / "img" / f"{id}.jpg")
        for place, variable, value in (("cls", "GTcls", 8), ("inst", "GTinst", 1)):
            (sbd / place).mkdir(exist_ok=True)
            values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
            values[3:7, 4:9] = value
            content = {"Segmentation": values, "Boundaries": np.zeros((2, 2)), "Categories": 8}
            savemat(sbd / place / f"{id}.mat", {variable: content})
    (sbd / "train.txt").write_text(f"{BOUNDARY}\n{HELD}\n")
    (sbd / "val.txt").write_text(f"{TRAIN}\n")
    return tmp_path / "benchmark_RELEASE"


def test_the_chosen_ids_fall_where_the_tests_need_them() -> None:
    assert not set_aside(TRAIN) and set_aside(TUNING)


@pytest.mark.parametrize("inner", ["", "VOC2012", None])
def test_splits_labels_boxes_masks(devkit: Path, tmp_path: Path, inner: str | None) -> None:
    import_voc(devkit.parent if inner is None else devkit / inner, tmp_path / "out")
    data = Dataset(tmp_path / "out")
    assert {s.id: s.split for s in data.samples} == {TRAIN: "train", TUNING: "val", HELD: "test"}
    assert data.classes == list(VOC_CLASSES) and data.classes[11] == "dog" and data.classes[14] == "person"
    sample = data.split("test")[0]
    assert sample.labels == ("dog", "person")
    # written from 1, last pixel included: x 9..11 is columns 8, 9, 10
    assert data.boxes[HELD] == [Box("person", 8, 1, 11, 3), Box("dog", 1, 2, 5, 6)]
    assert sample.extra == {"difficult": "0", "masks": "voc2012"}
    assert np.array_equal(sample.mask("class_masks"), classes())
    instances = sample.mask("instance_masks")
    assert (instances == 255).sum() == WIDTH and (instances == 1).sum() == 16 and (instances == 2).sum() == 6
    for name, (ymin, ymax, xmin, xmax), value in (("person", (1, 3, 8, 11), 15), ("dog", (2, 6, 1, 5), 12)):
        assert (classes()[ymin:ymax, xmin:xmax] == value).all(), name   # box and mask agree


def test_fractional_corners_are_rounded_and_the_border_kept(devkit: Path, tmp_path: Path) -> None:
    annotation = devkit / "VOC2012" / "Annotations" / f"{HELD}.xml"
    xml(annotation, ("cat", (1, 1, WIDTH, HEIGHT), 0), ("cat", (3.7, 2.2, 6.4, 5.6), 0))
    import_voc(devkit, tmp_path / "out")
    data = Dataset(tmp_path / "out")
    assert data.boxes[HELD] == [Box("cat", 0, 0, WIDTH, HEIGHT), Box("cat", 3, 1, 6, 6)]
    assert data.split("test")[0].extra["difficult"] == ""


@pytest.mark.parametrize("inner", ["", "dataset"])
def test_sbd_adds_only_images_that_voc_does_not_list(devkit: Path, boundaries: Path, tmp_path: Path,
                                                     inner: str) -> None:
    import_voc(devkit, tmp_path / "out", sbd=boundaries / inner)
    data = Dataset(tmp_path / "out")
    assert {s.id: (s.split, s.extra["masks"]) for s in data.samples} == {
        TRAIN: ("train", "voc2012"), TUNING: ("val", "voc2012"), HELD: ("test", "voc2012"),
        BOUNDARY: ("train", "sbd")}
    added = data.samples[-1]
    assert added.labels == ("cat",) and data.boxes[BOUNDARY] == []   # cat is the 8th class, in SBD as in VOC


def test_sbd_masks_and_labels(devkit: Path, boundaries: Path, tmp_path: Path) -> None:
    import_voc(devkit, tmp_path / "out", sbd=boundaries)
    added = Dataset(tmp_path / "out").samples[-1]
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[3:7, 4:9] = 8
    assert np.array_equal(added.mask("class_masks"), expected)
    assert np.array_equal(added.mask("instance_masks"), expected // 8)


def test_sbd_images_take_labels_and_boxes_from_voc_annotations(devkit: Path, boundaries: Path,
                                                               tmp_path: Path) -> None:
    """Where these exist."""
    xml(devkit / "VOC2012" / "Annotations" / f"{BOUNDARY}.xml", ("sofa", (5, 4, 9, 7), 0))
    import_voc(devkit, tmp_path / "out", sbd=boundaries)
    data = Dataset(tmp_path / "out")
    assert data.samples[-1].labels == ("sofa",) and data.boxes[BOUNDARY] == [Box("sofa", 4, 3, 9, 7)]


def damage_xml(voc: Path) -> None:
    (voc / "Annotations" / f"{HELD}.xml").write_text("<annotation><object><name>dog</name>")


def damage_box(voc: Path) -> None:
    xml(voc / "Annotations" / f"{HELD}.xml", ("dog", ("one", 1, 2, 2), 0))


def empty_box(voc: Path) -> None:
    xml(voc / "Annotations" / f"{HELD}.xml", ("dog", (5, 1, 3, 2), 0))


def mistype_class(voc: Path) -> None:
    xml(voc / "Annotations" / f"{HELD}.xml", ("dogg", (1, 1, 2, 2), 0))


def resize_mask(voc: Path) -> None:
    mask(voc / "SegmentationObject" / f"{HELD}.png", np.zeros((HEIGHT, WIDTH + 1), dtype=np.uint8))


def colour_mask(voc: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(voc / "SegmentationClass" / f"{HELD}.png")


def drop_image(voc: Path) -> None:
    (voc / "JPEGImages" / f"{HELD}.jpg").unlink()


def garble_image(voc: Path) -> None:
    (voc / "JPEGImages" / f"{HELD}.jpg").write_bytes(b"not a photograph")


@pytest.mark.parametrize("harm, words", [
    (damage_xml, f"{HELD}.xml: damaged annotation"), (damage_box, f"{HELD}.xml: damaged annotation"),
    (empty_box, f"{HELD}.xml: the box of a dog is empty"),
    (mistype_class, 'did you mean "dog"'), (resize_mask, f"{HELD}.png: the mask is 13x8, its image is 12x8"),
    (colour_mask, "this one is RGB"), (drop_image, f"{HELD}.jpg: listed in"),
    (garble_image, f"{HELD}.jpg: cannot be decoded")])
def test_what_is_wrong_is_named_and_nothing_is_left(devkit: Path, tmp_path: Path, harm: Callable[[Path],
                                                    None], words: str) -> None:
    harm(devkit / "VOC2012")
    with pytest.raises(Problem, match=words):
        import_voc(devkit, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["VOCdevkit"]


def test_a_folder_that_is_not_voc_names_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="lacks JPEGImages; expected VOCdevkit/VOC2012 with"):
        import_voc(tmp_path, tmp_path / "out")
    with pytest.raises(Problem, match="there is no such folder; expected VOCdevkit"):
        import_voc(tmp_path / "nowhere", tmp_path / "out")


def test_sbd_problems_are_named(devkit: Path, boundaries: Path, tmp_path: Path) -> None:
    annotation = boundaries / "dataset" / "cls" / f"{BOUNDARY}.mat"
    savemat(annotation, {"GTcls": {"Segmentation": np.zeros((3, 5), dtype=np.uint8)}})
    with pytest.raises(Problem, match=f"{BOUNDARY}.mat: the mask is 5x3, its image is 12x8"):
        import_voc(devkit, tmp_path / "out", sbd=boundaries)
    whole = annotation.read_bytes()
    for length in (0, 100, 128, 200, len(whole) - 20):
        annotation.write_bytes(whole[:length])
        with pytest.raises(Problem, match=f"{BOUNDARY}.mat: cannot be read as an SBD annotation"):
            import_voc(devkit, tmp_path / "out", sbd=boundaries)
    annotation.write_bytes(b"MATLAB?")
    with pytest.raises(Problem, match=f"{BOUNDARY}.mat: cannot be read as an SBD annotation"):
        import_voc(devkit, tmp_path / "out", sbd=boundaries)
    savemat(annotation, {"other": 1})
    with pytest.raises(Problem, match=f"{BOUNDARY}.mat: cannot be read as an SBD annotation"):
        import_voc(devkit, tmp_path / "out", sbd=boundaries)
    annotation.unlink()
    with pytest.raises(Problem, match=f"{BOUNDARY}.mat: listed in train.txt or val.txt"):
        import_voc(devkit, tmp_path / "out", sbd=boundaries)
    with pytest.raises(Problem, match="expected benchmark_RELEASE/dataset"):
        import_voc(devkit, tmp_path / "out", sbd=devkit)


def test_sbd_is_missed_before_anything_starts(devkit: Path, boundaries: Path) -> None:
    assert find_official("voc2012", devkit) == devkit / "VOC2012"
    assert find_official("voc2012", devkit, sbd=boundaries) == devkit / "VOC2012"
    with pytest.raises(Problem, match="expected benchmark_RELEASE/dataset"):
        find_official("voc2012", devkit, sbd=devkit)
