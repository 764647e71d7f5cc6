"""Decoded photographs and masks of any mode and size, or one clear sentence; photographs made small."""
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps

from lib.base.problem import Problem
from lib.base.spent import spends

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 100_000_000   # above this an image is refused rather than risk the machine's memory


@spends("decoding")
def open_image(path: Path) -> Image.Image:
    """Decode a file completely and turn it as its EXIF block says.

    Raises `Problem` for a damaged, truncated or huge file.
    """
    with _opened(Path(path)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Problem(f"{path}: {image.width}x{image.height} pixels are more than "
                          f"the {MAX_PIXELS:,} that are read; scale it down first.")
        image.load()
        return ImageOps.exif_transpose(image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height as `open_image` gives them, from the file's header alone."""
    with _opened(Path(path)) as image:
        on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        if on_its_side and image.format != "TIFF":   # Pillow has turned the size of a TIFF already
            return image.size[::-1]
        return image.size


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
        raise Problem(f"{path}: cannot be decoded as an image ({error}); "
                      "replace or remove the file.") from None


def read_rgb(path: Path) -> Image.Image:
    """Decode a photograph as RGB, whatever it is stored as.

    Greyscale, palette, CMYK and 16-bit images are converted; transparent ones are seen on white.
    """
    image = open_image(path)
    if image.mode.startswith("I") or image.mode == "F":
        image = _with_eight_bits(image)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _with_eight_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float64)).clip(0)
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:   # of 32 bits nobody knows what is white
        white = max(values.max(), 255.0)
    return Image.fromarray(np.uint8(np.round(values * (255.0 / white))))


def read_labels(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read the values `(H, W)` uint8 that a palette or grey PNG stores.

    `size` is the width and height that it must have.
    """
    image = open_image(path)
    if image.mode not in ("P", "L", "1"):
        raise Problem(f"{path}: a mask must be a palette or grey image, this one is {image.mode}.")
    if size and image.size != size:
        raise Problem(f"{path}: the mask is {image.width}x{image.height}, "
                      f"its image is {size[0]}x{size[1]}; they must be equal.")
    if image.mode == "1":
        image = image.convert("L")
    return np.array(image, dtype=np.uint8)


def shrunk(photo: Image.Image, side: int) -> Image.Image:
    """Shrink a photograph to a longest side of `side` pixels, each the mean of those that it covers.

    Smaller ones stay as they are. Segments are found at such a size.
    """
    small = photo.copy()
    small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)   # never enlarges
    return small


def resized(photo: Image.Image, size: tuple[int, int]) -> "Tensor":
    """RGB `(3, H, W)` uint8 of a photograph that is brought to (width, height) by bilinear interpolation."""
    import torch

    pixels = np.array(photo.resize(size, Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def square_tensor(photo: Image.Image, side: int) -> "Tensor":
    """RGB `(3, side, side)` uint8 of a photograph that is squeezed to a square by bilinear interpolation."""
    return resized(photo, (side, side))
