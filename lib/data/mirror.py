"""The mirror's folders (real photographs, see its README) converted into dataset folders."""
import csv
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.base.files import check_apart, check_place, sha256
from lib.base.paths import mirror_folder
from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.dataset import VOID, Box
from lib.data.images import read_labels
from lib.data.official.common import set_aside
from lib.data.official.voc import VOC_CLASSES
from lib.data.writer import DatasetWriter, check_is_ours, writing

VERSION = "1"


@dataclass(frozen=True)
class Conversion:
    """How one data set of the mirror is converted, and which of the mirror's folders that reads."""
    convert: Callable[[Path, Path], None]
    folders: tuple[str, ...]


def import_mirror(name: str, folder: Path, mirror: Path | None = None) -> None:
    """Convert one of the mirror's data sets into a dataset folder.

    Every file that is read is compared with the mirror's own manifest first.
    """
    if name not in MIRROR:
        raise Problem(f'There is no data set "{name}" in the mirror{nearest(name, MIRROR)}')
    source = mirror_folder(mirror)
    check_apart(source, folder)
    check_place(folder, check_is_ours)   # before every file of the mirror is read
    _check(source, MIRROR[name].folders)
    MIRROR[name].convert(source, folder)


def _check(mirror: Path, folders: tuple[str, ...]) -> None:
    manifest = mirror / "manifest.json"
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        wanted = {}
        for name, entry in entries.items():
            if name.startswith(folders):
                wanted[name] = (entry["bytes"], entry["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(f"{manifest}: damaged ({error!r}); copy the mirror again.") from None
    for folder in folders:
        if not any(name.startswith(folder) for name in wanted):
            raise Problem(f"{mirror}: its manifest lists nothing below {folder}; is this the mirror?")
    for name, (size, sha) in progress(wanted.items(), "checking the mirror"):
        path = mirror / name
        if not path.is_file():
            raise Problem(f"{path}: listed in the mirror's manifest but missing; copy the mirror again.")
        if path.stat().st_size != size or sha256(path) != sha:
            raise Problem(f"{path}: damaged, its content differs from the mirror's manifest; "
                          "copy the mirror again.")


def _voc(mirror: Path, folder: Path) -> None:
    source = mirror / "voc"
    boxes = _boxes(source / "boxes.csv", first=-1)   # VOC counts from 1, inclusive
    licence = "VOC 2012 (flickr terms)"
    with writing(folder, "voc", VERSION, "the mirror's voc/", licence, VOC_CLASSES) as writer:
        for row in progress(_rows(source / "samples.csv"), "converting voc"):
            if row["split"] not in ("train", "val", "test"):
                continue   # serves pascal_s only
            image = _copy(source / "images" / f"{row['id']}.jpg", writer, "images")
            if row["split"] != "train":
                _copy(source / "class_masks" / f"{row['id']}.png", writer, "class_masks")
                _copy(source / "instance_masks" / f"{row['id']}.png", writer, "instance_masks")
            extra = {column: row[column] for column in ("single_object", "instances_clean")}
            labels = row["labels"].split()
            writer.sample(row["id"], image, row["split"], labels, boxes.get(row["id"], ()), **extra)


def _pascal_s(mirror: Path, folder: Path) -> None:
    source, licence = "the mirror's pascal_s/", "PASCAL-S on VOC 2010 photographs"
    with writing(folder, "pascal_s", VERSION, source, licence, ["object"]) as writer:
        for row in progress(_rows(mirror / "pascal_s" / "samples.csv"), "converting pascal_s"):
            image = _copy(mirror / row["image"], writer, "images")
            _copy(mirror / "pascal_s" / "masks" / f"{row['id']}.png", writer, "saliency")
            labels = ["object"] if row["has_foreground"] == "1" else []
            extra = {"has_foreground": row["has_foreground"], "photograph": Path(row["image"]).stem}
            writer.sample(row["id"], image, "test", labels, **extra)


def _pets(mirror: Path, folder: Path) -> None:
    """Convert pets; trimaps become masks: body 1, background 0, border void.

    In the mirror all of them are for tests. To train on breeds, one half becomes training images, and a fifth
    of that half `val`.
    """
    source = mirror / "pets"
    rows, boxes = _rows(source / "samples.csv"), _boxes(source / "boxes.csv")
    breeds = sorted({row["labels"] for row in rows})
    licence = "Oxford-IIIT Pets, CC BY-SA 4.0"
    with writing(folder, "pets", VERSION, "the mirror's pets/", licence, breeds) as writer:
        for row in progress(rows, "converting pets"):
            id, breed = row["id"], row["labels"]
            image = _copy(source / "images" / f"{id}.jpg", writer, "images")
            trimap = read_labels(source / "trimaps" / f"{id}.png")
            values = np.select([trimap == 1, trimap == 3], [1 + breeds.index(breed), VOID], 0)
            writer.mask("class_masks", id, values)
            writer.sample(id, image, _split_of_pet(id), [breed], boxes.get(id, ()))


def _split_of_pet(id: str) -> str:
    if set_aside(id):
        return "val"
    if set_aside(id, 2):
        return "train"
    return "test"


def _tiny_imagenet(mirror: Path, folder: Path) -> None:
    """Convert Tiny-ImageNet; a tenth of the training images becomes `val`, which the mirror lacks."""
    source = mirror / "tiny_imagenet"
    boxes = _boxes(source / "boxes.csv", last=1)   # 0-based, inclusive
    names = [row["wnid"] for row in _rows(source / "classes.csv")]
    origin, licence = "the mirror's tiny_imagenet/", "Tiny-ImageNet-200 (ImageNet terms)"
    with writing(folder, "tiny_imagenet", VERSION, origin, licence, names) as writer:
        images = _unpack(writer, [source / "train.tar", source / "test.tar"])
        for row in _rows(source / "samples.csv"):
            id, split = row["id"], row["split"]
            if split == "train" and set_aside(id):
                split = "val"
            writer.sample(id, images[id], split, [row["labels"]], boxes.get(id, ()))


def _unpack(writer: DatasetWriter, archives: Iterable[Path]) -> dict[str, str]:
    """Write the files of archives as images; returns their paths in the dataset folder, by id.

    Only contents are taken over, under their own last name: nothing can leave the folder.
    """
    images = {}
    for archive in archives:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile():
                    name = Path(member.name).name
                    writer.path("images", name).write_bytes(tar.extractfile(member).read())
                    images[Path(name).stem] = f"images/{name}"
    return images


def _imagenet_sample(mirror: Path, folder: Path) -> None:
    source = mirror / "imagenet_sample"
    names = [row["wnid"] for row in _rows(source / "classes.csv")]
    origin = "the mirror's imagenet_sample/"
    with writing(folder, "imagenet_sample", VERSION, origin, "ImageNet terms", names) as writer:
        for row in _rows(source / "samples.csv"):
            image = _copy(source / "images" / f"{row['id']}.jpg", writer, "images")
            index = row["class_index"]
            writer.sample(row["id"], image, "test", [names[int(index)]], class_index=index)


MIRROR: dict[str, Conversion] = {
    "voc": Conversion(_voc, ("voc/",)),
    "pascal_s": Conversion(_pascal_s, ("pascal_s/", "voc/images/")),
    "pets": Conversion(_pets, ("pets/",)),
    "tiny_imagenet": Conversion(_tiny_imagenet, ("tiny_imagenet/",)),
    "imagenet_sample": Conversion(_imagenet_sample, ("imagenet_sample/",)),
}


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _boxes(path: Path, first: int = 0, last: int = 0) -> dict[str, list[Box]]:
    """Boxes by sample id; `first` and `last` are added to the corners to make them 0-based and half-open."""
    by_id: dict[str, list[Box]] = {}
    for row in _rows(path):
        xmin, ymin = int(row["xmin"]) + first, int(row["ymin"]) + first
        xmax, ymax = int(row["xmax"]) + last, int(row["ymax"]) + last
        by_id.setdefault(row["id"], []).append(Box(row["class"], xmin, ymin, xmax, ymax))
    return by_id


def _copy(source: Path, writer: DatasetWriter, kind: str) -> str:
    """Copy a file as it is; returns its path in the dataset folder."""
    shutil.copyfile(source, writer.path(kind, source.name))
    return os.path.join(kind, source.name)
