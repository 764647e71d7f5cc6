"""Decoded photographs and masks of any mode and size, or one clear sentence; photographs made small."""
import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lib.base.problem import Problem
from lib.base.spent import spends

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 100_000_000   # above this an image is refused rather than risk the machine's memory
# All that is decoded, by content: others, such as PostScript, would be handed on to further programs.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP")
TWELVE_BITS = 4095.0       # what many cameras store in sixteen
SIXTEEN_BITS = 65535.0
LONGEST_CAUSE = 200        # characters of a decoder's words that are quoted


@spends("decoding")
def open_image(path: Path) -> Image.Image:
    """Decode a file completely and turn it as its EXIF block says.

    Raises `Problem` for a damaged, truncated or huge file, and for what is no file at all.
    """
    with opened(path) as image:
        _refuse_huge(path, image)
        image.load()
        return ImageOps.exif_transpose(image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height as `open_image` gives them, from the file's header alone."""
    with opened(path) as image:
        on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        if on_its_side and image.format != "TIFF":   # Pillow has turned the size of a TIFF already
            return image.size[::-1]
        return image.size


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image of which only the header was read; what goes wrong inside is a `Problem` with its path."""
    path = Path(path)
    if not path.exists():
        raise Problem(f"{path}: there is no such image.")
    if not path.is_file():   # a folder, or a pipe that would never end
        raise Problem(f"{path}: is not a file, so no image can be read from it; remove or rename it.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # decoders talk of tags that nobody reads here
        try:
            with Image.open(path, formats=FORMATS) as image:
                yield image
        except Problem:
            raise
        except MemoryError:
            raise Problem(f"{path}: takes more memory to decode than there is; "
                          "scale it down first.") from None
        except UnidentifiedImageError:
            raise Problem(f"{path}: cannot be decoded as an image (its content is none of "
                          f"{', '.join(FORMATS)}); replace or remove the file.") from None
        except Exception as error:   # decoders meet damage with struct.error, EOFError, KeyError and more
            cause = " ".join(str(error).split())[:LONGEST_CAUSE] or type(error).__name__
            raise Problem(f"{path}: cannot be decoded as an image ({cause}); "
                          "replace or remove the file.") from None


def _refuse_huge(path: Path, image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Problem(f"{path}: {image.width}x{image.height} pixels are more than "
                      f"the {MAX_PIXELS:,} that are read; scale it down first.")


@spends("decoding")
def read_rgb(path: Path) -> Image.Image:
    """Decode a photograph as RGB, whatever it is stored as.

    Greyscale, palette, CMYK and 16-bit images are converted; transparent ones are seen on white.
    """
    with opened(path) as image:
        _refuse_huge(path, image)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)   # a large photograph is not held twice
        return _as_rgb(image)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _with_eight_bits(image)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _with_eight_bits(image: Image.Image) -> Image.Image:
    """Grey values 0..255; what is no number is black, and what is infinite as bright as the brightest."""
    values = np.array(image, dtype=np.float32)
    brightest = float(np.max(values, initial=0, where=np.isfinite(values)))
    np.nan_to_num(values, copy=False, nan=0, posinf=brightest, neginf=0)
    np.clip(values, 0, brightest, out=values)
    values *= 255 / _white(image.mode, brightest)
    return Image.fromarray(np.round(values, out=values).astype(np.uint8))


def _white(mode: str, brightest: float) -> float:
    """The value that is seen as white.

    Sixteen bits of which the upper four are never used hold twelve. Of 32 bits nobody says what is white:
    numbers up to 1 are shares of it, all others are taken for grey values, up to 255 or the brightest.
    """
    if mode.startswith("I;16"):
        return TWELVE_BITS if brightest <= TWELVE_BITS else SIXTEEN_BITS
    if mode == "F" and brightest <= 1:
        return 1.0
    return max(brightest, 255.0)


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
