"""PASCAL VOC 2012 (segmentation part), with or without the SBD masks that make up `train_aug`.

Splits: VOC `val` is `test`; of VOC `train`, the tenth that `set_aside` picks is `val` (for tuning) and the
rest is `train`. SBD images that VOC lists in neither join `train` with SBD's masks, which were drawn more
coarsely: column `masks`.

Labels name every annotated object, difficult ones included, as the masks show those too. boxes.csv holds all
boxes as well; column `difficult` gives the positions (from 0, among the image's boxes) of those that VOC's
detection protocol ignores.
"""
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.dataset import Box
from lib.data.official.common import (
    Layout,
    half_open,
    place_image,
    place_mask,
    read_table,
    read_truth,
    require_files,
    set_aside,
)
from lib.data.writer import DatasetWriter, writing

VOC_CLASSES: tuple[str, ...] = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
LAYOUT = Layout(
    "VOCdevkit/VOC2012 with JPEGImages/, Annotations/, ImageSets/Segmentation/, SegmentationClass/ and "
    "SegmentationObject/, from the archive VOCtrainval_11-May-2012 of the PASCAL VOC challenge site "
    "(no log-in; photographs under Flickr's terms)",
    ("", "VOC2012", "VOCdevkit/VOC2012"),
    ("JPEGImages", "Annotations", "ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt",
     "SegmentationClass", "SegmentationObject"))
SBD_LAYOUT = Layout(
    "benchmark_RELEASE/dataset with img/, cls/, inst/, train.txt and val.txt, "
    "from the Semantic Boundaries Dataset of Hariharan et al., UC Berkeley (no log-in)",
    ("", "dataset", "benchmark_RELEASE/dataset"), ("img", "cls", "inst", "train.txt", "val.txt"))
LICENCE = "photographs under Flickr's terms of use"
# folder and ending of what there is of every image
VOC_FILES = {"JPEGImages": ".jpg", "Annotations": ".xml", "SegmentationClass": ".png",
             "SegmentationObject": ".png"}
SBD_FILES = {"img": ".jpg", "cls": ".mat", "inst": ".mat"}


@dataclass(frozen=True)
class _Objects:
    labels: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    difficult: str = ""


def find_voc(source: Path, sbd: Path | None = None) -> Path:
    """Find VOC2012 inside `source`, and see that `sbd`, where given, is SBD."""
    if sbd:
        SBD_LAYOUT.find(sbd)
    return LAYOUT.find(source)


def import_voc(source: Path, folder: Path, sbd: Path | None = None) -> None:
    """Convert VOCdevkit (or VOCdevkit/VOC2012) to a dataset folder.

    `sbd` is benchmark_RELEASE (or its dataset/): its images join the training images.
    """
    voc = LAYOUT.find(source)
    boundaries = SBD_LAYOUT.find(sbd) if sbd else None
    splits = _voc_splits(voc)
    extra: list[str] = []
    version, origin = "2012", "PASCAL VOC 2012, segmentation train and val"
    if boundaries:
        extra = [id for id in _sbd_ids(boundaries) if id not in splits]
        version, origin = "2012 aug", f"{origin} with the Semantic Boundaries Dataset"
    with writing(folder, "voc2012", version, origin, LICENCE, VOC_CLASSES) as writer:
        for id, split in progress(splits.items(), "VOC 2012"):
            _add_voc(writer, voc, id, split)
        for id in progress(extra, "SBD"):
            _add_sbd(writer, voc, boundaries, id)


def _voc_splits(voc: Path) -> dict[str, str]:
    lists = voc / "ImageSets" / "Segmentation"
    splits = {}
    for (id,) in read_table(lists / "train.txt", 1):
        splits[id] = "val" if set_aside(id) else "train"
    for (id,) in read_table(lists / "val.txt", 1):
        splits[id] = "test"
    require_files(_files(voc, VOC_FILES, splits), lists)
    return splits


def _sbd_ids(sbd: Path) -> list[str]:
    rows = read_table(sbd / "train.txt", 1) + read_table(sbd / "val.txt", 1)
    ids = [id for (id,) in rows]
    require_files(_files(sbd, SBD_FILES, ids), f"train.txt or val.txt of {sbd}")
    return ids


def _files(top: Path, endings: dict[str, str], ids: Iterable[str]) -> Iterable[Path]:
    for id in ids:
        for place, ending in endings.items():
            yield top / place / (id + ending)


def _objects(path: Path, size: tuple[int, int]) -> _Objects:
    boxes: list[Box] = []
    difficult: list[str] = []
    for truth in read_truth(path)[1]:
        if truth.name not in VOC_CLASSES:
            raise Problem(f'{path}: "{truth.name}" is not one of the 20 VOC classes'
                          f"{nearest(truth.name, VOC_CLASSES)}")
        xmin, ymin, xmax, ymax = truth.corners   # VOC counts pixels from 1 and includes the last one
        box = half_open(truth.name, (xmin - 1, ymin - 1, xmax, ymax), size)
        if box is None:
            raise Problem(f"{path}: the box of a {truth.name} is empty or outside the image; "
                          "unpack the annotations again.")
        if truth.difficult:
            difficult.append(str(len(boxes)))
        boxes.append(box)
    return _Objects(_labels({box.name for box in boxes}), tuple(boxes), " ".join(difficult))


def _labels(names: set[str]) -> tuple[str, ...]:
    """Labels in the order of the classes."""
    return tuple(name for name in VOC_CLASSES if name in names)


def _add_voc(writer: DatasetWriter, voc: Path, id: str, split: str) -> None:
    image, size = place_image(writer, voc / "JPEGImages" / f"{id}.jpg", id)
    place_mask(writer, "class_masks", voc / "SegmentationClass" / f"{id}.png", id, size)
    place_mask(writer, "instance_masks", voc / "SegmentationObject" / f"{id}.png", id, size)
    objects = _objects(voc / "Annotations" / f"{id}.xml", size)
    _add(writer, id, image, split, objects, masks="voc2012")


def _add_sbd(writer: DatasetWriter, voc: Path, sbd: Path, id: str) -> None:
    image, size = place_image(writer, sbd / "img" / f"{id}.jpg", id)
    classes = _sbd_mask(sbd / "cls" / f"{id}.mat", "GTcls", size)
    writer.mask("class_masks", id, classes)
    writer.mask("instance_masks", id, _sbd_mask(sbd / "inst" / f"{id}.mat", "GTinst", size))
    annotation = voc / "Annotations" / f"{id}.xml"
    if annotation.exists():
        objects = _objects(annotation, size)
    else:
        shown = set(np.unique(classes).tolist())
        objects = _Objects(tuple(name for number, name in enumerate(VOC_CLASSES, 1) if number in shown))
    _add(writer, id, image, "train", objects, masks="sbd")


def _add(writer: DatasetWriter, id: str, image: str, split: str, objects: _Objects, masks: str) -> None:
    writer.sample(id, image, split, objects.labels, objects.boxes, difficult=objects.difficult, masks=masks)


def _sbd_mask(path: Path, variable: str, size: tuple[int, int]) -> np.ndarray:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False)
        mask = np.atleast_2d(content[variable].Segmentation)
    except (MatReadError, OSError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError,
            zlib.error) as error:
        raise Problem(f"{path}: cannot be read as an SBD annotation ({error}); unpack SBD again.") from None
    if mask.shape != (size[1], size[0]):
        raise Problem(f"{path}: the mask is {mask.shape[1]}x{mask.shape[0]}, "
                      f"its image is {size[0]}x{size[1]}; they must be equal.")
    return mask.astype(np.uint8)
