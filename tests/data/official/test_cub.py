"""CUB-200-2011, in trees laid out as distributed."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Box, Dataset
from lib.data.official.cub import import_cub

ALBATROSS, WREN = "001.Black_footed_Albatross", "200.Common_Yellowthroat"
# sha256(id) % 10 is 1 for the first and 0 for the second: train and val
IMAGES = [(ALBATROSS, "Black_Footed_Albatross_0046_18"), (ALBATROSS, "Black_Footed_Albatross_0018_18"),
          (WREN, "Common_Yellowthroat_0003_190521")]
SIZE = (40, 30)


def segmentation() -> np.ndarray:
    values = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    values[5:20, 6:30], values[8:12, 8:20] = 102, 255
    return values


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    top = tmp_path / "CUB_200_2011"
    for place, name in IMAGES:
        (top / "images" / place).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (10, 80, 160)).save(top / "images" / place / f"{name}.jpg")
    write = {"images": [f"{place}/{name}.jpg" for place, name in IMAGES],
             "image_class_labels": ["1", "1", "200"],
             "train_test_split": ["1", "1", "0"],
             "bounding_boxes": ["6.0 5.0 24.0 15.0", "0.0 0.0 40.0 30.0", "1.0 2.0 60.0 4.0"]}
    for name, values in write.items():
        (top / f"{name}.txt").write_text("".join(f"{i} {v}\n" for i, v in enumerate(values, 1)))
    (top / "classes.txt").write_text(f"1 {ALBATROSS}\n200 {WREN}\n")
    return top


def add_segmentations(folder: Path) -> None:
    for place, name in IMAGES:
        (folder / place).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(segmentation())
        if place == WREN:
            image = image.convert("LA")
        image.save(folder / place / f"{name}.png")


@pytest.mark.parametrize("around", [False, True])
def test_splits_labels_boxes(cub: Path, tmp_path: Path, around: bool) -> None:
    import_cub(cub.parent if around else cub, tmp_path / "out")
    data = Dataset(tmp_path / "out")
    assert data.classes == [ALBATROSS, WREN]
    assert [(s.id, s.split, s.labels) for s in data.samples] == [
        (IMAGES[0][1], "train", (ALBATROSS,)), (IMAGES[1][1], "val", (ALBATROSS,)),
        (IMAGES[2][1], "test", (WREN,))]
    # x + width, y + height; the last reaches beyond the border
    assert [data.boxes[name] for _, name in IMAGES] == [
        [Box(ALBATROSS, 6, 5, 30, 20)], [Box(ALBATROSS, 0, 0, 40, 30)], [Box(WREN, 1, 2, 40, 6)]]
    assert not (tmp_path / "out" / "saliency").exists()
    assert data.samples[0].photo().size == SIZE


@pytest.mark.parametrize("place", ["CUB_200_2011/segmentations", "segmentations"])
def test_segmentations_stay_graded(cub: Path, tmp_path: Path, place: str) -> None:
    add_segmentations(tmp_path / place)
    import_cub(cub, tmp_path / "out")
    for sample in Dataset(tmp_path / "out").samples:
        assert np.array_equal(sample.mask("saliency"), segmentation())
        truth, valid = sample.foreground()
        assert truth.sum() == 4 * 12 and valid.all()   # 102 is two annotators of five: not foreground


def test_images_are_linked_not_doubled(cub: Path, tmp_path: Path) -> None:
    import_cub(cub, tmp_path / "out")
    place, name = IMAGES[0]
    linked = tmp_path / "out" / "images" / f"{name}.jpg"
    assert linked.stat().st_ino == (cub / "images" / place / f"{name}.jpg").stat().st_ino


def drop_image(top: Path) -> None:
    (top / "images" / WREN / f"{IMAGES[2][1]}.jpg").unlink()


def drop_box(top: Path) -> None:
    (top / "bounding_boxes.txt").write_text("1 6.0 5.0 24.0 15.0\n2 0.0 0.0 40.0 30.0\n")


def truncate_box(top: Path) -> None:
    (top / "bounding_boxes.txt").write_text("1 6.0 5.0 24.0 15.0\n2 0.0 0.0\n")


def flatten_box(top: Path) -> None:
    (top / "bounding_boxes.txt").write_text("1 6.0 5.0 24.0 15.0\n2 50.0 0.0 10.0 30.0\n3 0 0 1 1\n")


def drop_mask(top: Path) -> None:
    add_segmentations(top / "segmentations")
    (top / "segmentations" / WREN / f"{IMAGES[2][1]}.png").unlink()


def resize_mask(top: Path) -> None:
    add_segmentations(top / "segmentations")
    Image.new("L", (30, 40)).save(top / "segmentations" / WREN / f"{IMAGES[2][1]}.png")


def drop_list(top: Path) -> None:
    (top / "train_test_split.txt").unlink()


@pytest.mark.parametrize("harm, words", [
    (drop_image, r"190521.jpg: listed in .*images.txt but absent"),
    (drop_box, "image 3 of images.txt has no valid class, split or box"),
    (truncate_box, "bounding_boxes.txt: entry 2 has 3 words, expected 5"),
    (flatten_box, "the box of image 2 is empty or outside"),
    (drop_mask, "190521.png: listed in"), (resize_mask, "190521.png: the mask is 30x40, its image is 40x30"),
    (drop_list, "lacks train_test_split.txt; expected CUB_200_2011 with")])
def test_what_is_wrong_is_named_and_nothing_is_left(cub: Path, tmp_path: Path, harm: Callable[[Path], None],
                                                    words: str) -> None:
    harm(cub)
    with pytest.raises(Problem, match=words):
        import_cub(cub, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["CUB_200_2011"]
