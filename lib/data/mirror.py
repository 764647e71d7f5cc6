"""The mirror's folders (real photographs, see its README) converted into dataset folders."""
import csv
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.base.files import sha256
from lib.base.paths import mirror_folder
from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.dataset import VOID, Box
from lib.data.images import read_labels
from lib.data.official.common import set_aside
from lib.data.writer import DatasetWriter, writing

VERSION = "1"
VOC_CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
               "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")


def import_mirror(name: str, folder: Path, mirror: Path | None = None) -> None:
    """Convert one of the mirror's data sets; every source file is compared with the mirror's own manifest first."""
    if name not in MIRROR:
        raise Problem(f'There is no data set "{name}" in the mirror{nearest(name, MIRROR)}')
    source = mirror_folder(mirror)
    convert, folders = MIRROR[name]
    _check(source, folders)
    convert(source, folder)


def _check(mirror: Path, folders: tuple[str, ...]) -> None:
    try:
        listed = json.loads((mirror / "manifest.json").read_text(encoding="utf-8"))
        wanted = {k: (v["bytes"], v["sha256"]) for k, v in listed.items() if k.startswith(folders)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(f"{mirror / 'manifest.json'}: damaged ({error!r}); copy the mirror again.") from None
    if missing := [folder for folder in folders if not any(name.startswith(folder) for name in wanted)]:
        raise Problem(f"{mirror}: its manifest lists nothing below {missing[0]}; is this the mirror?")
    for name, (size, hash) in progress(wanted.items(), "checking the mirror"):
        path = mirror / name
        if not path.is_file():
            raise Problem(f"{path}: listed in the mirror's manifest but missing; copy the mirror again.")
        if path.stat().st_size != size or sha256(path) != hash:
            raise Problem(f"{path}: damaged, its content differs from the mirror's manifest; copy the mirror again.")


def _voc(mirror: Path, folder: Path) -> None:
    boxes = _boxes(mirror / "voc" / "boxes.csv", first=-1)   # VOC counts from 1, inclusive
    with writing(folder, "voc", VERSION, "the mirror's voc/", "VOC 2012 (flickr terms)", VOC_CLASSES) as writer:
        for row in progress(_rows(mirror / "voc" / "samples.csv"), "converting voc"):
            if row["split"] not in ("train", "val", "test"):
                continue   # serves pascal_s only
            image = _copy(mirror / "voc" / "images" / f"{row['id']}.jpg", writer, "images")
            for kind in ("class_masks", "instance_masks"):
                if row["split"] != "train":
                    _copy(mirror / "voc" / kind / f"{row['id']}.png", writer, kind)
            extra = {k: row[k] for k in ("single_object", "instances_clean")}
            writer.sample(row["id"], image, row["split"], row["labels"].split(), boxes.get(row["id"], ()), **extra)


def _pascal_s(mirror: Path, folder: Path) -> None:
    with writing(folder, "pascal_s", VERSION, "the mirror's pascal_s/", "PASCAL-S on VOC 2010 photographs", ["object"]) as writer:
        for row in progress(_rows(mirror / "pascal_s" / "samples.csv"), "converting pascal_s"):
            image = _copy(mirror / row["image"], writer, "images")
            _copy(mirror / "pascal_s" / "masks" / f"{row['id']}.png", writer, "saliency")
            labels = ["object"] if row["has_foreground"] == "1" else []
            writer.sample(row["id"], image, "test", labels, has_foreground=row["has_foreground"], photograph=Path(row["image"]).stem)


def _pets(mirror: Path, folder: Path) -> None:
    """Trimaps become masks: body 1, background 0, border void. The mirror has all of them to be tested on; to train on breeds, one half
    becomes training images, a fifth of those `val`."""
    rows, boxes = _rows(mirror / "pets" / "samples.csv"), _boxes(mirror / "pets" / "boxes.csv")
    breeds = sorted({row["labels"] for row in rows})
    with writing(folder, "pets", VERSION, "the mirror's pets/", "Oxford-IIIT Pets, CC BY-SA 4.0", breeds) as writer:
        for row in progress(rows, "converting pets"):
            image = _copy(mirror / "pets" / "images" / f"{row['id']}.jpg", writer, "images")
            trimap = read_labels(mirror / "pets" / "trimaps" / f"{row['id']}.png")
            values = np.select([trimap == 1, trimap == 3], [1 + breeds.index(row["labels"]), VOID], 0)
            writer.mask("class_masks", row["id"], values)
            split = "val" if set_aside(row["id"]) else "train" if set_aside(row["id"], 2) else "test"
            writer.sample(row["id"], image, split, [row["labels"]], boxes.get(row["id"], ()))


def _tiny_imagenet(mirror: Path, folder: Path) -> None:
    """The mirror has no `val`: a tenth of the training images."""
    source = mirror / "tiny_imagenet"
    boxes = _boxes(source / "boxes.csv", last=1)   # 0-based, inclusive
    names = [row["wnid"] for row in _rows(source / "classes.csv")]
    with writing(folder, "tiny_imagenet", VERSION, "the mirror's tiny_imagenet/", "Tiny-ImageNet-200 (ImageNet terms)", names) as writer:
        images = {}
        for archive in ("train.tar", "test.tar"):
            with tarfile.open(source / archive) as tar:
                for member in tar:
                    if member.isfile():   # only contents are taken over, under their own last name: nothing can leave the folder
                        name = Path(member.name).name
                        writer.path("images", name).write_bytes(tar.extractfile(member).read())
                        images[Path(name).stem] = f"images/{name}"
        for row in _rows(source / "samples.csv"):
            split = "val" if row["split"] == "train" and set_aside(row["id"]) else row["split"]
            writer.sample(row["id"], images[row["id"]], split, [row["labels"]], boxes.get(row["id"], ()))


def _imagenet_sample(mirror: Path, folder: Path) -> None:
    source = mirror / "imagenet_sample"
    names = [row["wnid"] for row in _rows(source / "classes.csv")]
    with writing(folder, "imagenet_sample", VERSION, "the mirror's imagenet_sample/", "ImageNet terms", names) as writer:
        for row in _rows(source / "samples.csv"):
            image = _copy(source / "images" / f"{row['id']}.jpg", writer, "images")
            writer.sample(row["id"], image, "test", [names[int(row["class_index"])]], class_index=row["class_index"])


# name: the converter, and the folders of the mirror it reads
MIRROR: dict[str, tuple[Callable[[Path, Path], None], tuple[str, ...]]] = {
    "voc": (_voc, ("voc/",)),
    "pascal_s": (_pascal_s, ("pascal_s/", "voc/images/")),
    "pets": (_pets, ("pets/",)),
    "tiny_imagenet": (_tiny_imagenet, ("tiny_imagenet/",)),
    "imagenet_sample": (_imagenet_sample, ("imagenet_sample/",)),
}


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _boxes(path: Path, first: int = 0, last: int = 0) -> dict[str, list[Box]]:
    """Boxes by sample id; `first` and `last` are added to the corners to make them 0-based and half-open."""
    found: dict[str, list[Box]] = {}
    for row in _rows(path):
        corners = (int(row["xmin"]) + first, int(row["ymin"]) + first, int(row["xmax"]) + last, int(row["ymax"]) + last)
        found.setdefault(row["id"], []).append(Box(row["class"], *corners))
    return found


def _copy(source: Path, writer: DatasetWriter, kind: str) -> str:
    """Copy a file as it is; returns its path in the dataset folder."""
    target = writer.path(kind, source.name)
    shutil.copyfile(source, target)
    return os.path.join(kind, source.name)
