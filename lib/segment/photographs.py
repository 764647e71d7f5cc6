"""The photographs that `segment` is given: found, put into batches, and decoded, each by itself."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lib.base.problem import Problem
from lib.data.images import image_size, read_rgb
from lib.segment.results import LONGEST_SIDE, Results

ENDINGS: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
MOST_PIXELS = 50_000_000   # of photographs that are in memory together, if there are several


@dataclass(frozen=True)
class Batch:
    """Photographs that the method sees together; which those are depends on the folder alone."""
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What people know it by."""
        return ", ".join(path.name for path in self.paths)


def photographs(source: Path, out: Path) -> list[Path]:
    """A photograph, or all of a folder; hidden files, such as those of a Mac beside every other, are none."""
    if source.is_dir():
        return _of_folder(source, out)
    if not source.exists():
        raise Problem(f"{source}: there is no such file or folder.")
    return [source]


def _of_folder(folder: Path, out: Path) -> list[Path]:
    if out.resolve() == folder.resolve():
        raise Problem(f"--out: {out} is the folder of the photographs, and results would be taken for "
                      "photographs; name another folder.")
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
            found.append(path)
    if not found:
        raise Problem(f"{folder}: holds no image ({', '.join(ENDINGS)}).")
    if len({path.stem for path in found}) < len(found):
        raise Problem(f"{folder}: two images share a name and differ in their ending only; "
                      "their maps would overwrite each other.")
    return found


def batches_of(paths: Sequence[Path], size: int, most_pixels: int = MOST_PIXELS) -> list[Batch]:
    """Batches of `size` photographs in their order, fewer where those are large."""
    batches: list[Batch] = []
    batch: list[Path] = []
    pixels = 0
    for path in paths:
        own = _pixels(path)
        if batch and (len(batch) == size or pixels + own > most_pixels):
            batches.append(Batch(tuple(batch)))
            batch = []
            pixels = 0
        batch.append(path)
        pixels += own
    if batch:
        batches.append(Batch(tuple(batch)))
    return batches


def _pixels(path: Path) -> int:
    """As its header says; what cannot be read takes no memory."""
    try:
        width, height = image_size(path)
    except Problem:
        return 0
    return width * height


def decoded(paths: Sequence[Path]) -> tuple[dict[Path, Image.Image], dict[str, str]]:
    """The photographs, and why some of them cannot be read, by their file's name."""
    photos, failures = {}, {}
    for path in paths:
        try:
            photos[path] = _decoded(path)
        except Problem as problem:
            failures[path.name] = str(problem)
    return photos, failures


def _decoded(path: Path) -> Image.Image:
    photo = read_rgb(path)
    if max(photo.size) > LONGEST_SIDE:
        raise Problem(f"{path}: {photo.width}x{photo.height} pixels, and an overlay is a JPEG of at most "
                      f"{LONGEST_SIDE:,} a side; cut it, or scale it down.")
    return photo


def blocked(results: Sequence[Results]) -> dict[str, str]:
    """Why the results of some photographs could not be written, by the name of the photograph's file."""
    reasons = {}
    for each in results:
        try:
            each.check_places()
        except Problem as problem:
            reasons[each.photograph.name] = str(problem)
    return reasons
