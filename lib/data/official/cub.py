"""CUB-200-2011: 200 bird species, one box an image, and (in an archive of its own) graded segmentations.

Splits: the authors' test images are `test`; of their training images, the tenth that `set_aside` picks is
`val`. Boxes are x, y, width, height in pixels counted from 0. Segmentations (grey = share of annotators)
become saliency/.
"""
from pathlib import Path
from typing import NamedTuple

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
from lib.data.writer import DatasetWriter, writing

# words a line of every list
TABLES = {"images": 2, "image_class_labels": 2, "train_test_split": 2, "bounding_boxes": 5, "classes": 2}
LAYOUT = Layout(
    "CUB_200_2011 with images/, images.txt, image_class_labels.txt, classes.txt, train_test_split.txt and "
    "bounding_boxes.txt (and segmentations/ in it or beside it, if masks are wanted), from the archives "
    "CUB_200_2011 and segmentations of Caltech's data repository (no log-in; non-commercial research)",
    ("", "CUB_200_2011"), ("images", *(f"{name}.txt" for name in TABLES)))


class _Row(NamedTuple):
    """One image of the lists: its class, whether the authors train on it, its box, and its path."""
    label: str
    training: bool
    box: tuple[float, float, float, float]   # x, y, width, height
    path: Path   # below images/, and with another ending below segmentations/


def import_cub(source: Path, folder: Path) -> None:
    """Convert CUB_200_2011 (or the folder around it) to a dataset folder."""
    top = LAYOUT.find(source)
    rows = _read_lists(top)
    masks = _masks_folder(top)
    require_files((top / "images" / row.path for row in rows.values()), top / "images.txt")
    if masks:
        require_files((masks / _png(row.path) for row in rows.values()), top / "images.txt")
    classes = [name for _, name in read_table(top / "classes.txt")]
    origin, licence = "Caltech-UCSD Birds-200-2011", "non-commercial research and education"
    with writing(folder, "cub", "2011", origin, licence, classes) as writer:
        for number, row in progress(rows.items(), "CUB-200-2011"):
            _add(writer, top, masks, number, row)


def _read_lists(top: Path) -> dict[str, _Row]:
    """Rows by the images' numbers, in the order of images.txt."""
    tables: dict[str, dict[str, list[str]]] = {}
    for name, width in TABLES.items():
        tables[name] = {number: words for number, *words in read_table(top / f"{name}.txt", width)}
    rows = {}
    for number, (path,) in tables["images"].items():
        try:
            label = tables["classes"][tables["image_class_labels"][number][0]][0]
            training = tables["train_test_split"][number][0] == "1"
            x, y, width, height = (float(word) for word in tables["bounding_boxes"][number])
        except (KeyError, ValueError):
            raise Problem(f"{top}: image {number} of images.txt has no valid class, split or box in "
                          "the other lists; unpack the dataset again.") from None
        rows[number] = _Row(label, training, (x, y, width, height), Path(path))
    return rows


def _masks_folder(top: Path) -> Path | None:
    for place in (top / "segmentations", top.parent / "segmentations"):
        if place.is_dir():
            return place
    return None


def _png(path: Path) -> Path:
    return path.with_suffix(".png")


def _add(writer: DatasetWriter, top: Path, masks: Path | None, number: str, row: _Row) -> None:
    id = row.path.stem
    image, size = place_image(writer, top / "images" / row.path, id)
    x, y, width, height = row.box
    box = half_open(row.label, (x, y, x + width, y + height), size)
    if box is None:
        raise Problem(f"{top / 'bounding_boxes.txt'}: the box of image {number} is empty or outside it; "
                      "unpack the dataset again.")
    if masks:
        writer.mask("saliency", id, read_grey(masks / _png(row.path), size))
    writer.sample(id, image, _split(id, row.training), [row.label], [box])


def _split(id: str, training: bool) -> str:
    if not training:
        return "test"
    return "val" if set_aside(id) else "train"
