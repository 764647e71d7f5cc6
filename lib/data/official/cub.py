"""CUB-200-2011: 200 bird species, one box an image, and (in an archive of its own) graded segmentations.

Splits: the authors' test images are `test`; of their training images, the tenth that `set_aside` picks is `val`.
Boxes are x, y, width, height in pixels counted from 0. Segmentations (grey = share of annotators) become saliency/.
"""
from pathlib import Path

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.official.common import (
    Layout,
    half_open,
    place_image,
    read_grey,
    read_table,
    require_files,
    set_aside,
)
from lib.data.writer import writing

TABLES = {"images": 2, "image_class_labels": 2, "train_test_split": 2, "bounding_boxes": 5, "classes": 2}
LAYOUT = Layout(
    "CUB_200_2011 with images/, images.txt, image_class_labels.txt, classes.txt, train_test_split.txt and bounding_boxes.txt "
    "(and segmentations/ in it or beside it, if masks are wanted), from the archives CUB_200_2011 and segmentations "
    "of Caltech's data repository (no log-in; non-commercial research)",
    ("", "CUB_200_2011"), ("images", *(f"{name}.txt" for name in TABLES)))


def import_cub(source: Path, folder: Path) -> None:
    """Convert CUB_200_2011 (or the folder around it) to a dataset folder."""
    top = LAYOUT.find(source)
    tables = {name: {row[0]: row[1:] for row in read_table(top / f"{name}.txt", width)} for name, width in TABLES.items()}
    classes = {number: name for number, (name,) in tables["classes"].items()}
    masks = next((place for place in (top / "segmentations", top.parent / "segmentations") if place.is_dir()), None)
    images = {number: Path(name) for number, (name,) in tables["images"].items()}
    require_files((top / "images" / name for name in images.values()), top / "images.txt")
    if masks:
        require_files((masks / name.with_suffix(".png") for name in images.values()), top / "images.txt")
    licence = "non-commercial research and education"
    with writing(folder, "cub", "2011", "Caltech-UCSD Birds-200-2011", licence, list(classes.values())) as writer:
        for number, name in progress(images.items(), "CUB-200-2011"):
            label, training, (x, y, width, height) = _row(top, tables, classes, number)
            image, size = place_image(writer, top / "images" / name, name.stem)
            box = half_open(label, (x, y, x + width, y + height), size)
            if box is None:
                raise Problem(f"{top / 'bounding_boxes.txt'}: the box of image {number} is empty or outside it; unpack the dataset again.")
            if masks:
                writer.mask("saliency", name.stem, read_grey(masks / name.with_suffix(".png"), size))
            split = "test" if not training else "val" if set_aside(name.stem) else "train"
            writer.sample(name.stem, image, split, [label], [box])


def _row(top: Path, tables: dict[str, dict[str, list[str]]], classes: dict[str, str], number: str) -> tuple[str, bool, list[float]]:
    """Class, whether the authors train on it, and box of one image."""
    try:
        label = classes[tables["image_class_labels"][number][0]]
        return label, tables["train_test_split"][number][0] == "1", [float(v) for v in tables["bounding_boxes"][number]]
    except (KeyError, ValueError):
        raise Problem(f"{top}: image {number} of images.txt has no valid class, split or box in the other lists; "
                      "unpack the dataset again.") from None
