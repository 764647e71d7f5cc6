"""ILSVRC classification and localisation (CLS-LOC), from 2012 on: validation images with boxes, training images on request.

Splits: the validation list, whose images all have boxes, is `test`, but for the tenth that `set_aside` picks as `val` (thresholds are
chosen by boxes); the training list is `train`, without boxes.
Boxes count pixels from 0 and include the last one; those of a display copy of another size are scaled to the image.
Classes are sorted by synset, the order in which pretrained networks number them: `n01440764_tench`, or `n01440764`
where LOC_synset_mapping.txt is absent.
"""
import csv
from pathlib import Path

from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.dataset import Box
from lib.data.official.common import (
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
    "ILSVRC with Data/CLS-LOC/val/, Annotations/CLS-LOC/val/ (or LOC_val_solution.csv beside ILSVRC) and ImageSets/CLS-LOC/val.txt, "
    "from the ImageNet object localization challenge (log-in and acceptance of ImageNet's non-commercial terms needed)",
    ("", "ILSVRC"), ("Data/CLS-LOC/val", "ImageSets/CLS-LOC/val.txt"))


def import_ilsvrc(source: Path, folder: Path, train: bool = False) -> None:
    """Convert ILSVRC (or the folder around it) to a dataset folder; `train` adds those training images that are present."""
    top = LAYOUT.find(source)
    lists = top / "ImageSets" / "CLS-LOC"
    held = [row[0] for row in read_table(lists / "val.txt")]
    require_files((top / "Data" / "CLS-LOC" / "val" / f"{id}.JPEG" for id in held), lists / "val.txt")
    truths = _truths(top, held)
    training, listed = _training(top) if train else ([], 0)
    names = _names(top)
    names = names or {s: s for s in sorted({t.name for _, found in truths.values() for t in found} | {s.split("/")[0] for s in training})}
    origin = "ILSVRC CLS-LOC, validation" + (f" and {len(training)} of {listed} training images" if train else "")
    with writing(folder, "ilsvrc", "2012", origin, "ImageNet terms of access: non-commercial research", list(names.values())) as writer:
        for id in progress(held, "ILSVRC validation"):
            _add_held(writer, top, id, *truths[id], names)
        for entry in progress(training, "ILSVRC training"):
            synset, id = entry.split("/")
            image, _ = place_image(writer, top / "Data" / "CLS-LOC" / "train" / f"{entry}.JPEG", id)
            writer.sample(id, image, "train", [_name(synset, names, lists / "train_cls.txt")])


def _add_held(writer: DatasetWriter, top: Path, id: str, annotated: tuple[int, int] | None, found: list[Truth],
              names: dict[str, str]) -> None:
    image, size = place_image(writer, top / "Data" / "CLS-LOC" / "val" / f"{id}.JPEG", id)
    if annotated and annotated != size and annotated == size[::-1]:
        raise Problem(f"{id}: its boxes were drawn on the image turned by 90 degrees; correct its annotation or take it out of val.txt.")
    boxes = [box for t in found if (box := _box(t, annotated or size, size, _name(t.name, names, f"the truth of {id}")))]
    if not boxes:
        raise Problem(f"{id}: no box lies inside the image; unpack the annotations again, or take it out of val.txt.")
    writer.sample(id, image, "val" if set_aside(id) else "test", sorted({b.name for b in boxes}), boxes)


def _box(truth: Truth, annotated: tuple[int, int], size: tuple[int, int], name: str) -> Box | None:
    across, down = size[0] / annotated[0], size[1] / annotated[1]
    xmin, ymin, xmax, ymax = truth.corners
    return half_open(name, (xmin * across, ymin * down, (xmax + 1) * across, (ymax + 1) * down), size)


def _beside(top: Path, name: str) -> Path | None:
    """The challenge's own archive puts the LOC_ files beside ILSVRC/."""
    return next((place / name for place in (top, top.parent) if (place / name).is_file()), None)


def _name(synset: str, names: dict[str, str], where: Path | str) -> str:
    if synset not in names:
        raise Problem(f'{where}: the synset "{synset}" is not in LOC_synset_mapping.txt{nearest(synset, names)}')
    return names[synset]


def _names(top: Path) -> dict[str, str]:
    """Class names by synset: the first of its synonyms, or nothing where the mapping is absent."""
    path = _beside(top, "LOC_synset_mapping.txt")
    words = read_table(path) if path else []
    return {synset: "_".join([synset, *" ".join(rest).split(",")[0].split()]) for synset, *rest in sorted(words)}


def _training(top: Path) -> tuple[list[str], int]:
    """Those entries of the training list whose image is there, and the length of the list."""
    path = top / "ImageSets" / "CLS-LOC" / "train_cls.txt"
    entries = [row[0] for row in read_table(path)]
    present = [entry for entry in entries if (top / "Data" / "CLS-LOC" / "train" / f"{entry}.JPEG").is_file()]
    if not present:
        raise Problem(f"{top / 'Data' / 'CLS-LOC' / 'train'}: no image of {path} is there; unpack the training images or leave them out.")
    return present, len(entries)


def _truths(top: Path, ids: list[str]) -> dict[str, tuple[tuple[int, int] | None, list[Truth]]]:
    annotations = top / "Annotations" / "CLS-LOC" / "val"
    if annotations.is_dir():
        return {id: read_truth(annotations / f"{id}.xml") for id in progress(ids, "ILSVRC annotations")}
    path = _beside(top, "LOC_val_solution.csv")
    if path is None:
        raise Problem(f"{top}: lacks Annotations/CLS-LOC/val; expected {LAYOUT.where}.")
    solution = _solution(path)
    if absent := [id for id in ids if id not in solution]:
        raise Problem(f"{path}: has no entry for {absent[0]}, which val.txt lists; download it again.")
    return {id: (None, solution[id]) for id in ids}


def _solution(path: Path) -> dict[str, list[Truth]]:
    """Boxes by image from lines such as `ILSVRC2012_val_00048981,n03995372 85 1 499 272 `."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = [(row["ImageId"], row["PredictionString"].split()) for row in csv.DictReader(stream)]
        return {id: [Truth(name, (float(a), float(b), float(c), float(d)))
                     for name, a, b, c, d in (words[i:i + 5] for i in range(0, len(words), 5))] for id, words in rows}
    except (KeyError, ValueError, AttributeError, csv.Error) as error:
        raise Problem(f"{path}: damaged ({error!r}); download it again.") from None
