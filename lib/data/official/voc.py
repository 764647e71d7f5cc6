"""PASCAL VOC 2012 (segmentation part), with or without the SBD masks that make up `train_aug`.

Splits: VOC `val` is `test`; of VOC `train`, the tenth that `set_aside` picks is `val` (for tuning) and the rest is `train`.
SBD images that VOC lists in neither join `train` with SBD's masks, which were drawn more coarsely: column `masks`.

Labels name every annotated object, difficult ones included, as the masks show those too. boxes.csv holds all boxes as well;
column `difficult` gives the positions (from 0, among the image's boxes) of those that VOC's detection protocol ignores.
"""
import zlib
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

CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
           "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
LAYOUT = Layout(
    "VOCdevkit/VOC2012 with JPEGImages/, Annotations/, ImageSets/Segmentation/, SegmentationClass/ and SegmentationObject/, "
    "from the archive VOCtrainval_11-May-2012 of the PASCAL VOC challenge site (no log-in; photographs under Flickr's terms)",
    ("", "VOC2012", "VOCdevkit/VOC2012"),
    ("JPEGImages", "Annotations", "ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt",
     "SegmentationClass", "SegmentationObject"))
SBD_LAYOUT = Layout(
    "benchmark_RELEASE/dataset with img/, cls/, inst/, train.txt and val.txt, "
    "from the Semantic Boundaries Dataset of Hariharan et al., UC Berkeley (no log-in)",
    ("", "dataset", "benchmark_RELEASE/dataset"), ("img", "cls", "inst", "train.txt", "val.txt"))


def import_voc(source: Path, folder: Path, sbd: Path | None = None) -> None:
    """Convert VOCdevkit (or VOCdevkit/VOC2012) to a dataset folder; `sbd` is benchmark_RELEASE (or its dataset/)."""
    voc = LAYOUT.find(source)
    boundaries = SBD_LAYOUT.find(sbd) if sbd else None
    splits = _voc_splits(voc)
    extra = [id for id in _sbd_ids(boundaries) if id not in splits] if boundaries else []
    origin = "PASCAL VOC 2012, segmentation train and val" + (" with the Semantic Boundaries Dataset" if sbd else "")
    with writing(folder, "voc2012", "2012 aug" if sbd else "2012", origin, "photographs under Flickr's terms of use", CLASSES) as writer:
        for id, split in progress(splits.items(), "VOC 2012"):
            _add_voc(writer, voc, id, split)
        for id in progress(extra, "SBD"):
            _add_sbd(writer, voc, boundaries, id)


def _voc_splits(voc: Path) -> dict[str, str]:
    lists = voc / "ImageSets" / "Segmentation"
    splits = {id: "val" if set_aside(id) else "train" for id, in read_table(lists / "train.txt", 1)}
    splits |= {id: "test" for id, in read_table(lists / "val.txt", 1)}
    require_files((voc / place / (id + ending) for id in splits for place, ending in (
        ("JPEGImages", ".jpg"), ("Annotations", ".xml"), ("SegmentationClass", ".png"), ("SegmentationObject", ".png"))), lists)
    return splits


def _sbd_ids(sbd: Path) -> list[str]:
    ids = [id for name in ("train.txt", "val.txt") for id, in read_table(sbd / name, 1)]
    require_files((sbd / place / (id + ending) for id in ids for place, ending in (
        ("img", ".jpg"), ("cls", ".mat"), ("inst", ".mat"))), f"train.txt or val.txt of {sbd}")
    return ids


@dataclass(frozen=True)
class _Objects:
    labels: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    difficult: str = ""


def _objects(path: Path, size: tuple[int, int]) -> _Objects:
    boxes, difficult = [], []
    for truth in read_truth(path)[1]:
        if truth.name not in CLASSES:
            raise Problem(f'{path}: "{truth.name}" is not one of the 20 VOC classes{nearest(truth.name, CLASSES)}')
        xmin, ymin, xmax, ymax = truth.corners   # VOC counts pixels from 1 and includes the last one
        box = half_open(truth.name, (xmin - 1, ymin - 1, xmax, ymax), size)
        if box is None:
            raise Problem(f"{path}: the box of a {truth.name} is empty or outside the image; unpack the annotations again.")
        difficult += [str(len(boxes))] if truth.difficult else []
        boxes.append(box)
    return _Objects(tuple(c for c in CLASSES if any(b.name == c for b in boxes)), tuple(boxes), " ".join(difficult))


def _add_voc(writer: DatasetWriter, voc: Path, id: str, split: str) -> None:
    image, size = place_image(writer, voc / "JPEGImages" / f"{id}.jpg", id)
    place_mask(writer, "class_masks", voc / "SegmentationClass" / f"{id}.png", id, size)
    place_mask(writer, "instance_masks", voc / "SegmentationObject" / f"{id}.png", id, size)
    found = _objects(voc / "Annotations" / f"{id}.xml", size)
    writer.sample(id, image, split, found.labels, found.boxes, difficult=found.difficult, masks="voc2012")


def _add_sbd(writer: DatasetWriter, voc: Path, sbd: Path, id: str) -> None:
    image, size = place_image(writer, sbd / "img" / f"{id}.jpg", id)
    classes = _sbd_mask(sbd / "cls" / f"{id}.mat", "GTcls", size)
    writer.mask("class_masks", id, classes)
    writer.mask("instance_masks", id, _sbd_mask(sbd / "inst" / f"{id}.mat", "GTinst", size))
    xml = voc / "Annotations" / f"{id}.xml"
    shown = _Objects(tuple(c for i, c in enumerate(CLASSES, 1) if (classes == i).any()))
    found = _objects(xml, size) if xml.exists() else shown
    writer.sample(id, image, "train", found.labels, found.boxes, difficult=found.difficult, masks="sbd")


def _sbd_mask(path: Path, variable: str, size: tuple[int, int]) -> np.ndarray:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError
    try:
        mask = np.atleast_2d(loadmat(path, squeeze_me=True, struct_as_record=False)[variable].Segmentation)
    except (MatReadError, OSError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError, zlib.error) as error:
        raise Problem(f"{path}: cannot be read as an SBD annotation ({error}); unpack SBD again.") from None
    if mask.shape != (size[1], size[0]):
        raise Problem(f"{path}: the mask is {mask.shape[1]}x{mask.shape[0]}, its image is {size[0]}x{size[1]}; they must be equal.")
    return mask.astype(np.uint8)
