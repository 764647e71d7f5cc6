"""Decoding of photographs and masks: any mode, any size, or one clear sentence."""
import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from lib.base.problem import Problem

MAX_PIXELS = 100_000_000   # above this an image is refused rather than risk the machine's memory


def open_image(path: Path) -> Image.Image:
    """Decode a file completely; EXIF rotation applied. Raises `Problem` for a damaged, truncated or huge file."""
    with _opened(Path(path)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Problem(f"{path}: {image.width}x{image.height} pixels are more than the {MAX_PIXELS:,} that are read; scale it down first.")
        image.load()
        return ImageOps.exif_transpose(image)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) as `open_image` gives it, from the file's header alone."""
    with _opened(Path(path)) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8) and image.format != "TIFF"   # whose size is turned already
        return image.size[::-1] if turned else image.size


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise Problem(f"{path}: there is no such image.") from None
    except Problem:
        raise
    except Exception as error:   # decoders meet damage with struct.error, EOFError, KeyError and more
        raise Problem(f"{path}: cannot be decoded as an image ({error}); replace or remove the file.") from None


def read_rgb(path: Path) -> Image.Image:
    """A photograph as RGB: greyscale, palette, CMYK, 16-bit and transparent images are converted (transparent on white)."""
    image = open_image(path)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64)).clip(0)
        white = 65535.0 if image.mode.startswith("I;16") else max(values.max(), 255.0)   # of 32 bits nobody knows what is white
        image = Image.fromarray(np.uint8(np.round(values * (255.0 / white))))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def read_labels(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A palette or grey PNG as its stored values `(H, W)` uint8; `size` is the (width, height) it must have."""
    image = open_image(path)
    if image.mode not in ("P", "L", "1"):
        raise Problem(f"{path}: a mask must be a palette or grey image, this one is {image.mode}.")
    if size and image.size != size:
        raise Problem(f"{path}: the mask is {image.size[0]}x{image.size[1]}, its image is {size[0]}x{size[1]}; they must be equal.")
    return np.array(image.convert("L") if image.mode == "1" else image, dtype=np.uint8)


def shrunk(photo: Image.Image, side: int) -> Image.Image:
    """The photograph with a longest side of at most `side` pixels, each the mean of those it covers."""
    small = photo.copy()
    small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)   # never enlarges
    return small
