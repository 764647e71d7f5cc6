"""ILSVRC's classification and localisation (CLS-LOC), from 2012 on: its validation and its training images.

Splits: the validation list, whose images all have boxes, is `test`, but for the tenth that `set_aside`
picks as `val` (thresholds are chosen by boxes). The training list is `train`, without boxes: those of its
images that are there, unless the option `train` is false. Images are linked, not copied, where the disk is
the same.

Boxes count pixels from 0 and include the last one; those of a display copy of another size are scaled to the
image. Classes are sorted by synset, the order in which pretrained networks number them: `n01440764_tench`, or
`n01440764` where LOC_synset_mapping.txt is absent.
"""
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.official.common import (
    Corners,
    Layout,
    Truth,
    half_open,
    place_image,
    read_table,
    read_truth,
    require_files,
    set_aside,
)
from lib.data.writer import DatasetWriter, writing

LAYOUT = Layout(
    "ILSVRC with Data/CLS-LOC/val/, Annotations/CLS-LOC/val/ (or LOC_val_solution.csv beside ILSVRC) and "
    "ImageSets/CLS-LOC/val.txt, and Data/CLS-LOC/train/ and ImageSets/CLS-LOC/train_cls.txt to train on it, "
    "from the ImageNet object localization challenge (log-in and acceptance of ImageNet's non-commercial "
    "terms needed)",
    ("", "ILSVRC"), ("Data/CLS-LOC/val", "ImageSets/CLS-LOC/val.txt"))
TRAINING: tuple[str, ...] = ("Data/CLS-LOC/train", "ImageSets/CLS-LOC/train_cls.txt")
LICENCE = "ImageNet terms of access: non-commercial research"
WORDS_OF_A_BOX = 5   # synset and corners, in LOC_val_solution.csv


@dataclass(frozen=True)
class _Annotated:
    """True objects of an image, and the size of the copy on which they were drawn, where stated."""
    size: tuple[int, int] | None
    objects: list[Truth]


@dataclass(frozen=True)
class _Training:
    """Entries of the training list (`synset/id`) whose image is there, and the length of the list."""
    entries: list[str] = field(default_factory=list)
    listed: int = 0


def find_ilsvrc(source: Path, train: bool = True) -> Path:
    """Find the top of ILSVRC inside `source`, and in it the training images where they are asked for."""
    top = LAYOUT.find(source)
    for name in TRAINING if train else ():
        if not (top / name).exists():
            raise Problem(f"{top}: lacks {name}; "
                          "unpack the training images or leave them out (train: false).")
    return top


def import_ilsvrc(source: Path, folder: Path, train: bool = True) -> None:
    """Convert ILSVRC (or the folder around it) to a dataset folder.

    Unless `train` is false, those training images that are there are its split `train`.
    """
    top = find_ilsvrc(source, train)
    lists = top / "ImageSets" / "CLS-LOC"
    held = [row[0] for row in read_table(lists / "val.txt")]
    require_files((_held_image(top, id) for id in held), lists / "val.txt")
    truths = _truths(top, held)
    training = _training(top) if train else _Training()
    names = _names(top) or _synsets(truths, training.entries)
    origin = "ILSVRC CLS-LOC, validation"
    if training.entries:
        origin += f" and {len(training.entries)} of {training.listed} training images"
    with writing(folder, "ilsvrc", "2012", origin, LICENCE, list(names.values())) as writer:
        for id in progress(held, "ILSVRC validation"):
            _add_held(writer, top, id, truths[id], names)
        for entry in progress(training.entries, "ILSVRC training"):
            synset, id = entry.split("/")
            image, _ = place_image(writer, _training_image(top, entry), id)
            writer.sample(id, image, "train", [_name(synset, names, lists / "train_cls.txt")])


def _held_image(top: Path, id: str) -> Path:
    return top / "Data" / "CLS-LOC" / "val" / f"{id}.JPEG"


def _training_image(top: Path, entry: str) -> Path:
    return top / "Data" / "CLS-LOC" / "train" / f"{entry}.JPEG"


def _add_held(writer: DatasetWriter, top: Path, id: str, truth: _Annotated, names: Mapping[str, str]) -> None:
    """Add a validation image with its boxes."""
    image, size = place_image(writer, _held_image(top, id), id)
    drawn_on = truth.size or size
    if drawn_on != size and drawn_on == size[::-1]:
        raise Problem(f"{id}: its boxes were drawn on the image turned by 90 degrees; "
                      "correct its annotation or take it out of val.txt.")
    boxes = []
    for entry in truth.objects:
        name = _name(entry.name, names, f"the truth of {id}")
        box = half_open(name, _scaled(entry.corners, drawn_on, size), size)
        if box:
            boxes.append(box)
    if not boxes:
        raise Problem(f"{id}: no box lies inside the image; "
                      "unpack the annotations again, or take it out of val.txt.")
    split = "val" if set_aside(id) else "test"
    writer.sample(id, image, split, sorted({box.name for box in boxes}), boxes)


def _scaled(corners: Corners, drawn_on: tuple[int, int], size: tuple[int, int]) -> Corners:
    """Half-open edges in the image's pixels, from corners that include the last pixel of the copy's."""
    across, down = size[0] / drawn_on[0], size[1] / drawn_on[1]
    xmin, ymin, xmax, ymax = corners
    return xmin * across, ymin * down, (xmax + 1) * across, (ymax + 1) * down


def _beside(top: Path, name: str) -> Path | None:
    """Find one of the LOC_ files, which the challenge's own archive puts beside ILSVRC/."""
    for place in (top, top.parent):
        if (place / name).is_file():
            return place / name
    return None


def _name(synset: str, names: Mapping[str, str], where: Path | str) -> str:
    if synset not in names:
        raise Problem(f'{where}: the synset "{synset}" is not in LOC_synset_mapping.txt'
                      f"{nearest(synset, names)}")
    return names[synset]


def _names(top: Path) -> dict[str, str]:
    """Class names by synset: the first of its synonyms, or nothing where the mapping is absent."""
    path = _beside(top, "LOC_synset_mapping.txt")
    rows = read_table(path) if path else []
    names = {}
    for synset, *words in sorted(rows):
        first_synonym = " ".join(words).split(",")[0].split()
        names[synset] = "_".join([synset, *first_synonym])
    return names


def _synsets(truths: Mapping[str, _Annotated], entries: Iterable[str]) -> dict[str, str]:
    """Synsets that occur, each as its own name."""
    synsets = {entry.split("/")[0] for entry in entries}
    for truth in truths.values():
        synsets |= {each.name for each in truth.objects}
    return {synset: synset for synset in sorted(synsets)}


def _training(top: Path) -> _Training:
    path = top / "ImageSets" / "CLS-LOC" / "train_cls.txt"
    listed = [row[0] for row in read_table(path)]
    there = [entry for entry in listed if _training_image(top, entry).is_file()]
    if not there:
        raise Problem(f"{top / 'Data' / 'CLS-LOC' / 'train'}: no image of {path} is there; "
                      "unpack the training images or leave them out (train: false).")
    return _Training(there, len(listed))


def _truths(top: Path, ids: Sequence[str]) -> dict[str, _Annotated]:
    annotations = top / "Annotations" / "CLS-LOC" / "val"
    if annotations.is_dir():
        return {id: _Annotated(*read_truth(annotations / f"{id}.xml"))
                for id in progress(ids, "ILSVRC annotations")}
    path = _beside(top, "LOC_val_solution.csv")
    if path is None:
        raise Problem(f"{top}: lacks Annotations/CLS-LOC/val; expected {LAYOUT.where}.")
    solution = _solution(path)
    absent = [id for id in ids if id not in solution]
    if absent:
        raise Problem(f"{path}: has no entry for {absent[0]}, which val.txt lists; download it again.")
    return {id: _Annotated(None, solution[id]) for id in ids}


def _solution(path: Path) -> dict[str, list[Truth]]:
    """Objects by image from lines such as `ILSVRC2012_val_00048981,n03995372 85 1 499 272 `."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {row["ImageId"]: _predicted(row["PredictionString"].split()) for row in rows}
    except (KeyError, ValueError, AttributeError, csv.Error) as error:
        raise Problem(f"{path}: damaged ({error!r}); download it again.") from None


def _predicted(words: Sequence[str]) -> list[Truth]:
    """Objects from their words: synset, xmin, ymin, xmax, ymax, and so on."""
    objects = []
    for start in range(0, len(words), WORDS_OF_A_BOX):
        name, *corners = words[start:start + WORDS_OF_A_BOX]
        xmin, ymin, xmax, ymax = (float(corner) for corner in corners)
        objects.append(Truth(name, (xmin, ymin, xmax, ymax)))
    return objects
