"""Saliency sets: photographs and their masks, in whatever folders their authors chose.

A file is a mask if a folder above it is named like one (masks, GT, ground_truth_mask, binarymasks, ...).
Where no folder is, photographs (.jpg) and masks (.png, .bmp) share folders. They pair by stem, and by
category folder too where stems recur. All images are `test`; column `has_foreground` is 1 where a mask
reaches 0.5 somewhere.
"""
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.official.common import IMAGE_SUFFIXES, Layout, place_image, read_grey
from lib.data.writer import writing

HALF = 128   # grey values from here on are >= 0.5
MASK_FOLDER = re.compile(r"mask|truth|binary|annotation|label|(^|[^a-z])gts?([^a-z]|$)", re.IGNORECASE)
IMAGE_FOLDER = re.compile(r"(images?|imgs?|src)$", re.IGNORECASE)
LEFT_OUT = re.compile(r"^[._]|fixation", re.IGNORECASE)   # hidden and system files, eye fixations

TITLES = {
    "ft": "FT (Achanta et al. 2009)",
    "imgsal": "ImgSal (Li et al. 2013)",
    "ecssd": "ECSSD (Yan et al. 2013)",
    "msra_b": "MSRA-B (Liu et al. 2007, masks by Jiang et al. 2013)",
    "thur15k": "THUR15K (Cheng et al. 2014)",
}
INCOMPLETE = ("thur15k",)   # sets whose authors drew masks for a part of the images only
LAYOUTS = {
    "ft": Layout("a folder with Image/ and binarymasks/ (1000 .jpg and .bmp or .png), "
                 "from the authors' page at EPFL (no log-in; research)"),
    "imgsal": Layout("a folder with images and ground truth masks, each in category folders, "
                     "from the authors' page (no log-in; research), without the eye fixations"),
    "ecssd": Layout("a folder with images/ and ground_truth_mask/ (1000 .jpg and .png), from the authors' "
                    "page at the Chinese University of Hong Kong (no log-in; research)"),
    "msra_b": Layout("a folder with 5000 .jpg and .png of the same names, "
                     "from the authors' page at Nankai University (no log-in; research)"),
    "thur15k": Layout("THUR15000 with one folder a category, each with Src/ (.jpg) and GT/ (.png), "
                      "from the authors' page at Nankai University (no log-in; research)"),
}


def import_saliency(source: Path, folder: Path, name: str) -> None:
    """Convert the set `name` (a key of TITLES) to a dataset folder."""
    if name not in TITLES:
        raise Problem(f'"{name}" is not a saliency set{nearest(name, TITLES)}')
    layout = LAYOUTS[name]
    images, masks = _images_and_masks(layout.find(source), layout)
    for id, mask in masks.items():
        if id not in images:
            raise Problem(f"{mask}: a mask without an image of that name; expected {layout.where}.")
    bare = [photo for id, photo in images.items() if id not in masks]
    if bare and name not in INCOMPLETE:
        raise Problem(f"{bare[0]}: has no mask, but every image of this set comes with one; "
                      "unpack the set again, or remove the image.")
    origin = TITLES[name]
    if bare:
        origin += f", {len(bare)} of {len(images)} images left out: they have no mask"
    pairs = {id: (photo, masks[id]) for id, photo in images.items() if id in masks}
    write_saliency(folder, name, origin, "research use", pairs)


def write_saliency(folder: Path, name: str, origin: str, licence: str,
                   pairs: Mapping[str, tuple[Path, Path]]) -> None:
    """Write a dataset folder of photographs and grey masks, by id."""
    with writing(folder, name, "1", origin, licence, []) as writer:
        for id, (photo, mask) in progress(pairs.items(), origin):
            image, size = place_image(writer, photo, id)
            grey = read_grey(mask, size)
            writer.mask("saliency", id, grey)
            writer.sample(id, image, "test", [], has_foreground=int(grey.max() >= HALF))


def _images_and_masks(top: Path, layout: Layout) -> tuple[dict[str, Path], dict[str, Path]]:
    """Photographs and masks by id: their stem, or category and stem where stems recur."""
    files = [path for path in sorted(top.rglob("*")) if _is_picture(path, top)]
    masks = [path for path in files if _is_below_masks(path, top)]
    if not masks:
        masks = [path for path in files if path.suffix.lower() in (".png", ".bmp")]
    others = set(files) - set(masks)
    images = [path for path in files if path in others]
    if not images or not masks:
        raise Problem(f"{top}: holds {len(images)} images and {len(masks)} masks; expected {layout.where}.")
    recurring = _stems_recur(images) or _stems_recur(masks)
    return _by_id(top, images, recurring), _by_id(top, masks, recurring)


def _is_picture(path: Path, top: Path) -> bool:
    left_out = any(LEFT_OUT.search(part) for part in path.relative_to(top).parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not left_out


def _is_below_masks(path: Path, top: Path) -> bool:
    return any(MASK_FOLDER.search(part) for part in _folders(path, top))


def _folders(path: Path, top: Path) -> tuple[str, ...]:
    """Names of the folders between the top and a file."""
    return path.relative_to(top).parent.parts


def _stems_recur(paths: Sequence[Path]) -> bool:
    return max(Counter(path.stem for path in paths).values()) > 1


def _by_id(top: Path, paths: Sequence[Path], recurring: bool) -> dict[str, Path]:
    by_id: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (path.parent, len(path.stem), path.stem)):   # 2 before 10
        name = "_".join([*_category(path, top), path.stem]) if recurring else path.stem
        id = "_".join(name.split())
        if id in by_id:
            raise Problem(f"{path}: has the same name as {by_id[id]}; keep one of them.")
        by_id[id] = path
    return by_id


def _category(path: Path, top: Path) -> list[str]:
    """Names of the folders above a file that name neither masks nor images."""
    return [part for part in _folders(path, top)
            if not MASK_FOLDER.search(part) and not IMAGE_FOLDER.match(part)]
