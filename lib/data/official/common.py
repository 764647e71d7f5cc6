"""Steps that importers share: finding the folder, placing images, boxes and masks, setting `val` aside."""
import hashlib
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.base.problem import Problem
from lib.data.dataset import Box
from lib.data.images import open_image, opened
from lib.data.writer import DatasetWriter

IMAGE_SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".bmp")
ORIENTATION = 0x0112   # the EXIF tag
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Layout:
    """How a dataset lies on disk when unpacked: in words, where its top may be, and what must lie there."""
    where: str
    tops: tuple[str, ...] = ("",)
    needed: tuple[str, ...] = ()

    def find(self, source: Path) -> Path:
        """Find the top of the dataset inside `source`, or say in one sentence which folder is expected."""
        source = Path(source)
        if not source.is_dir():
            raise Problem(f"{source}: there is no such folder; expected {self.where}.")
        tops = [source / top for top in self.tops]
        best = min(tops, key=lambda top: len(self.lacking(top)))
        lacking = self.lacking(best)
        if lacking:
            raise Problem(f"{best}: lacks {lacking[0]}; expected {self.where}.")
        return best

    def lacking(self, top: Path) -> list[str]:
        """List what is needed and does not lie in `top`."""
        return [name for name in self.needed if not (top / name).exists()]


@dataclass(frozen=True)
class Truth:
    """One object of an annotation file, corners as written there."""
    name: str
    corners: Corners
    difficult: bool = False


def set_aside(id: str, of: int = 10) -> bool:
    """Whether an image changes its split, mostly from `train` to `val`.

    One in `of` does, by the SHA-256 of its id, whatever other images are there.
    """
    return int(hashlib.sha256(id.encode()).hexdigest(), 16) % of == 0


def read_table(path: Path, columns: int | None = None) -> list[list[str]]:
    """Words of every line that is not blank; with `columns`, every line must have that many."""
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise Problem(f"{path}: missing; unpack the dataset again.") from None
    except UnicodeDecodeError:
        raise Problem(f"{path}: damaged, it is not text; unpack the dataset again.") from None
    for number, row in enumerate(rows, 1):
        if columns and len(row) != columns:
            raise Problem(f"{path}: entry {number} has {len(row)} words, expected {columns}; "
                          "unpack the dataset again.")
    return rows


def require_files(paths: Iterable[Path], listed: Path | str) -> None:
    """Stop before anything is written if a listed file is absent; the first one is named."""
    for path in paths:
        if not path.is_file():
            raise Problem(f"{path}: listed in {listed} but absent; unpack the dataset again, completely.")


def header(path: Path) -> tuple[tuple[int, int], str, int]:
    """Stored width and height, mode and EXIF orientation of an image, without decoding it."""
    with opened(path) as image:
        return image.size, image.mode, image.getexif().get(ORIENTATION, 1)


def link(source: Path, target: Path) -> None:
    """Hard-link, so that the disk holds the file once; copy where that cannot be (another disk or owner)."""
    if target.exists():
        raise Problem(f"{source}: another image of this dataset has the same name; "
                      "rename or remove one of them.")
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def place_image(writer: DatasetWriter, source: Path, id: str) -> tuple[str, tuple[int, int]]:
    """Put a photograph under images/; returns its name for `samples.csv` and its (width, height).

    Truth is given in stored pixels: a photograph that asks viewers to turn it is copied without its EXIF
    block.
    """
    size, _, orientation = header(source)
    target = writer.path("images", id + source.suffix)
    link(source, target)
    if orientation != 1:
        data = source.read_bytes()
        target.unlink()   # never write through the link
        target.write_bytes(without_exif(data))
    return f"images/{target.name}", size


def without_exif(jpeg: bytes) -> bytes:
    """Remove the APP1 segments (EXIF and XMP, which can both turn it) of a JPEG file; its coded pixels stay.

    Other files stay as they are.
    """
    if not jpeg.startswith(b"\xff\xd8"):
        return jpeg
    kept = [jpeg[:2]]
    at = 2
    while jpeg[at:at + 1] == b"\xff" and jpeg[at + 1] != 0xDA:   # up to the start of the scan
        end = at + 2 + int.from_bytes(jpeg[at + 2:at + 4], "big")
        if jpeg[at + 1] != 0xE1:
            kept.append(jpeg[at:end])
        at = end
    return b"".join(kept) + jpeg[at:]


def check_size(mask: Path, size: tuple[int, int]) -> None:
    """Refuse a mask that has not its image's size."""
    (width, height), _, _ = header(mask)
    if (width, height) != size:
        raise Problem(f"{mask}: the mask is {width}x{height}, its image is {size[0]}x{size[1]}; "
                      "they must be equal.")


def place_mask(writer: DatasetWriter, kind: str, source: Path, id: str, size: tuple[int, int]) -> None:
    """Put an indexed PNG mask under class_masks/ or instance_masks/ as it is."""
    check_size(source, size)
    mode = header(source)[1]
    if mode not in ("P", "L"):
        raise Problem(f"{source}: a mask must be a palette or grey image, this one is {mode}; "
                      "take the file as distributed.")
    link(source, writer.path(kind, f"{id}.png"))


def read_grey(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a saliency mask of any mode as grey values 0..255, `(H, W)` uint8.

    Alpha is ignored; masks of 0 and 1 are stretched.
    """
    check_size(path, size)
    image = open_image(path)
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        raise Problem(f"{path}: a saliency mask must have 8 bits a channel, this one is {image.mode}; "
                      "convert it to grey first.")
    grey = np.array(image.convert("L"), dtype=np.uint8)
    if grey.max() == 1:
        return grey * np.uint8(255)
    return grey


def read_truth(path: Path) -> tuple[tuple[int, int] | None, list[Truth]]:
    """Annotated width and height, where stated, and the objects of a VOC-style XML file."""
    try:
        root = ElementTree.parse(path).getroot()
        width = int(root.findtext("size/width", "0"))
        height = int(root.findtext("size/height", "0"))
        size = (width, height) if min(width, height) > 0 else None
        return size, [_truth(entry) for entry in root.findall("object")]
    except FileNotFoundError:
        raise Problem(f"{path}: missing; unpack the annotations again.") from None
    except (ElementTree.ParseError, ValueError, TypeError, AttributeError) as error:
        raise Problem(f"{path}: damaged annotation ({error}); unpack the annotations again.") from None


def _truth(entry: ElementTree.Element) -> Truth:
    bounds = entry.find("bndbox")
    corners = tuple(float(bounds.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    difficult = entry.findtext("difficult", "0").strip() == "1"
    return Truth(entry.find("name").text.strip(), corners, difficult)


def half_open(name: str, edges: Corners, size: tuple[int, int]) -> Box | None:
    """Round half-open edges to pixels and cut them at the image's border; None if nothing is left."""
    xmin, ymin, xmax, ymax = (int(np.floor(edge + 0.5)) for edge in edges)
    box = Box(name, max(xmin, 0), max(ymin, 0), min(xmax, size[0]), min(ymax, size[1]))
    is_empty = box.xmin >= box.xmax or box.ymin >= box.ymax
    return None if is_empty else box
