"""Saliency sets: photographs and their masks, in whatever folders their authors chose.

A file is a mask if a folder above it is named like one (masks, GT, ground_truth_mask, binarymasks, ...). Where no folder is,
photographs (.jpg) and masks (.png, .bmp) share folders. They pair by stem, and by category folder too where stems recur.
All images are `test`; column `has_foreground` is 1 where a mask reaches 0.5 somewhere.
"""
import re
from collections import Counter
from pathlib import Path

from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.official.common import IMAGE_SUFFIXES, Layout, place_image, read_grey
from lib.data.writer import writing

HALF = 128   # grey values from here on are >= 0.5
MASK_FOLDER = re.compile(r"mask|truth|binary|annotation|label|(^|[^a-z])gts?([^a-z]|$)", re.IGNORECASE)
IMAGE_FOLDER = re.compile(r"(images?|imgs?|src)$", re.IGNORECASE)
LEFT_OUT = re.compile(r"^[._]|fixation", re.IGNORECASE)   # hidden and system files, eye fixations

TITLES = {"ft": "FT (Achanta et al. 2009)", "imgsal": "ImgSal (Li et al. 2013)", "ecssd": "ECSSD (Yan et al. 2013)",
          "msra_b": "MSRA-B (Liu et al. 2007, masks by Jiang et al. 2013)", "thur15k": "THUR15K (Cheng et al. 2014)"}
INCOMPLETE = ("thur15k",)   # sets whose authors drew masks for a part of the images only
LAYOUTS = {name: Layout(where) for name, where in {
    "ft": "a folder with Image/ and binarymasks/ (1000 .jpg and .bmp or .png), from the authors' page at EPFL (no log-in; research)",
    "imgsal": "a folder with images and ground truth masks, each in category folders, from the authors' page "
              "(no log-in; research), without the eye fixations",
    "ecssd": "a folder with images/ and ground_truth_mask/ (1000 .jpg and .png), from the authors' page "
             "at the Chinese University of Hong Kong (no log-in; research)",
    "msra_b": "a folder with 5000 .jpg and .png of the same names, from the authors' page at Nankai University (no log-in; research)",
    "thur15k": "THUR15000 with one folder a category, each with Src/ (.jpg) and GT/ (.png), "
               "from the authors' page at Nankai University (no log-in; research)"}.items()}


def import_saliency(source: Path, folder: Path, name: str) -> None:
    """Convert the set `name` (a key of TITLES) to a dataset folder."""
    if name not in TITLES:
        raise Problem(f'"{name}" is not a saliency set{nearest(name, TITLES)}')
    top = LAYOUTS[name].find(source)
    images, masks = _images_and_masks(top, LAYOUTS[name])
    pairs = {id: (path, masks.get(id)) for id, path in images.items()}
    bare = [path for path, mask in pairs.values() if mask is None]
    if orphans := [path for id, path in masks.items() if id not in images]:
        raise Problem(f"{orphans[0]}: a mask without an image of that name; expected {LAYOUTS[name].where}.")
    if bare and name not in INCOMPLETE:
        raise Problem(f"{bare[0]}: has no mask, but every image of this set comes with one; unpack the set again, or remove the image.")
    origin = TITLES[name] + (f", {len(bare)} of {len(images)} images left out: they have no mask" if bare else "")
    write_saliency(folder, name, origin, "research use", {id: pair for id, pair in pairs.items() if pair[1]})


def write_saliency(folder: Path, name: str, origin: str, licence: str, pairs: dict[str, tuple[Path, Path]]) -> None:
    """A dataset folder of photographs and grey masks, by id."""
    with writing(folder, name, "1", origin, licence, []) as writer:
        for id, (photo, mask) in progress(pairs.items(), origin):
            image, size = place_image(writer, photo, id)
            grey = read_grey(mask, size)
            writer.mask("saliency", id, grey)
            writer.sample(id, image, "test", [], has_foreground=int(grey.max() >= HALF))


def _images_and_masks(top: Path, layout: Layout) -> tuple[dict[str, Path], dict[str, Path]]:
    """Photographs and masks by id: their stem, or category and stem where stems recur."""
    files = [p for p in sorted(top.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES
             and not any(LEFT_OUT.search(part) for part in p.relative_to(top).parts)]
    masks = [p for p in files if any(MASK_FOLDER.search(part) for part in p.relative_to(top).parent.parts)]
    masks = masks or [p for p in files if p.suffix.lower() in (".png", ".bmp")]
    images = [p for p in files if p not in set(masks)]
    if not images or not masks:
        raise Problem(f"{top}: holds {len(images)} images and {len(masks)} masks; expected {layout.where}.")
    recurring = any(max(Counter(p.stem for p in paths).values()) > 1 for paths in (images, masks))
    return _by_id(top, images, recurring), _by_id(top, masks, recurring)


def _by_id(top: Path, paths: list[Path], recurring: bool) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: (p.parent, len(p.stem), p.stem)):   # 2 before 10
        category = [part for part in path.relative_to(top).parent.parts if not MASK_FOLDER.search(part) and not IMAGE_FOLDER.match(part)]
        id = "_".join(("_".join([*category, path.stem]) if recurring else path.stem).split())
        if id in found:
            raise Problem(f"{path}: has the same name as {found[id]}; keep one of them.")
        found[id] = path
    return found
