"""Photographs and masks that are damaged, odd, huge, or none at all."""
import os
import random
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.data.images import FORMATS, image_size, read_labels, read_rgb
from lib.faults.case import Case, Outcome, judged
from lib.faults.photographs import cases as folder_cases
from lib.faults.pictures import MODES, SIZE, encoded, mixed, noise, png_of

ORIENTATION = 0x0112   # the EXIF tag
Make = Callable[[Path], object]
Check = Callable[[Any], bool]


def cases(draw: random.Random) -> list[Case]:
    """All of them, as drawn."""
    return [*_modes(), *_turned(draw), *_damaged(draw), *_others(), *_no_files(), *_numbers(), *_bombs(),
            *_masks(draw), *folder_cases(draw)]


# One file

def _case(name: str, make: Make, check: Check | None = None) -> Case:
    """A file is made and read as a photograph, which must be RGB and meet the check."""
    def run(folder: Path) -> Outcome:
        path = folder / "photo.jpg"
        make(path)

        def is_right(photo: Image.Image) -> bool:
            return photo.mode == "RGB" and image_size(path) == photo.size and (check is None or check(photo))
        return judged(partial(read_rgb, path), is_right, names="photo.jpg")
    return Case("images", name, run)


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _save(image: Image.Image, kind: str, options: dict[str, Any], path: Path) -> None:
    path.write_bytes(encoded(image, kind, **options))


def _has_size(size: tuple[int, int], photo: Image.Image) -> bool:
    return photo.size == size


def _modes() -> list[Case]:
    found = []
    for kind, modes in MODES.items():
        for mode in modes:
            make = partial(_save, noise(mode), kind, {})
            found.append(_case(f"a {kind} of mode {mode}", make, partial(_has_size, SIZE)))
    see_through = partial(_save, noise("P"), "PNG", {"transparency": 3})
    found.append(_case("a palette with a colour that is seen through", see_through))
    several = partial(_save, noise(), "GIF", {"save_all": True, "append_images": [noise(seed=1)]})
    found.append(_case("a GIF of several pictures", several, partial(_has_size, SIZE)))
    pages = partial(_save, noise(), "TIFF", {"save_all": True, "append_images": [noise(size=(3, 2))]})
    found.append(_case("a TIFF of several pages", pages, partial(_has_size, SIZE)))
    return found


def _turned(draw: random.Random) -> list[Case]:
    """EXIF that asks viewers to turn the picture, in words that may make no sense."""
    found = []
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        for value in (*range(1, 9), 0, 9, 65_535):
            exif = Image.Exif()
            exif[ORIENTATION] = value
            size = SIZE[::-1] if value in (5, 6, 7, 8) else SIZE
            make = partial(_save, noise(), kind, {"exif": exif})
            found.append(_case(f"a {kind} of orientation {value}", make, partial(_has_size, size)))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = encoded(noise(), "JPEG", exif=exif)
    start = content.index(b"Exif\0\0") + 6
    for number in range(12):
        damaged = bytearray(content)
        damaged[start + draw.randrange(26)] = draw.randrange(256)
        found.append(_case(f"a damaged EXIF block, {number}", partial(_write, bytes(damaged))))
    return found


def _damaged(draw: random.Random) -> list[Case]:
    found = []
    for kind in FORMATS:
        content = encoded(noise(size=(40, 30)), kind)
        for number in range(7):
            cut = content[:draw.randrange(1, len(content))]
            found.append(_case(f"a {kind} that ends early, {number}", partial(_write, cut)))
            found.append(_case(f"a {kind} with other bytes, {number}", partial(_write, mixed(content, draw))))
        hole = content[:len(content) // 3] + bytes(99) + content[len(content) // 3 + 99:]
        found.append(_case(f"a {kind} with a hole of zeros", partial(_write, hole)))
        found.append(_case(f"a {kind} with more after its end", partial(_write, content + b"more" * 99)))
        found.append(_case(f"a {kind} without its first byte", partial(_write, content[1:])))
    return found


# What is no photograph

def _others() -> list[Case]:
    """Named .jpg, and something else."""
    contents = {
        "nothing": b"", "one byte": b"\xff", "text": b"a photograph of a cat\n", "zeros": bytes(5000),
        "HTML": b"<!DOCTYPE html><html><body>404</body></html>", "SVG": b'<svg width="9" height="9"/>',
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n",
        "PDF": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n", "a ZIP": b"PK\x03\x04" + bytes(60),
        "a program": b"\x7fELF" + bytes(60),
        "a pointer of Git LFS": b"version https://git-lfs\noid sha256:0\n",
        "the start of a JPEG": b"\xff\xd8\xff\xe0", "the start of a PNG": b"\x89PNG\r\n\x1a\n",
        "the start of a GIF": b"GIF89a", "the start of a TIFF": b"II*\0\x08\0\0\0",
        "the start of a BMP": b"BM",
        "the start of a WEBP": b"RIFF\x10\0\0\0WEBPVP8 ", "a UTF-16 text": "cat".encode("utf-16"),
    }
    found = [_case(f"{what} named .jpg", partial(_write, content)) for what, content in contents.items()]
    for kind in ("PPM", "ICO", "TGA", "PCX", "EPS", "XBM", "DDS", "SGI", "IM"):
        image = noise("1" if kind == "XBM" else "RGB", (16, 16))
        found.append(_case(f"a {kind} named .jpg", partial(_save, image, kind, {})))
    return found


def _no_files() -> list[Case]:
    return [
        _case("no file", lambda path: None),
        _case("a folder", Path.mkdir),
        _case("a pipe that nobody writes to", os.mkfifo),
        _case("a link to itself", lambda path: path.symlink_to(path)),
        _case("a link to nothing", lambda path: path.symlink_to(path.with_name("gone"))),
        _case("a link to an endless device", lambda path: path.symlink_to("/dev/zero")),
        _case("a link to a photograph", _linked, partial(_has_size, SIZE)),
    ]


def _linked(path: Path) -> None:
    _save(noise(), "PNG", {}, path.with_name("real.png"))
    path.symlink_to("real.png")


# Numbers

def _numbers() -> list[Case]:
    """TIFFs and PNGs of other numbers than 0 to 255: values, and the greys that must be seen."""
    inf, nan = np.inf, np.nan
    floats: dict[str, tuple[list[float], list[int]]] = {
        "0 to 255": ([0, 100, 255], [0, 100, 255]), "0 to 1": ([0, 0.5, 1], [0, 128, 255]),
        "0 to 1 with one inf": ([0, 0.5, inf, 1], [0, 128, 255, 255]),
        "0 to 255 with one inf": ([0, 100, inf, 255], [0, 100, 255, 255]),
        "one -inf": ([-inf, 100, 255], [0, 100, 255]), "one NaN": ([nan, 100, 255], [0, 100, 255]),
        "numbers below 0": ([-7, 100, 255], [0, 100, 255]), "0 to 510": ([0, 255, 510], [0, 128, 255]),
        "nothing but NaN": ([nan] * 3, [0] * 3), "nothing but inf": ([inf] * 3, [0] * 3),
        "nothing but 0": ([0] * 3, [0] * 3), "up to 1e30": ([0, 4e29, 1e30], [0, 102, 255]),
    }
    sixteen: dict[str, tuple[list[int], list[int]]] = {
        "16 bits": ([0, 257, 65_535], [0, 1, 255]), "12 bits in 16": ([0, 2048, 4095], [0, 128, 255]),
        "16 bits of black": ([0, 0, 0], [0, 0, 0]),
    }
    whole: dict[str, tuple[list[int], list[int]]] = {
        "32 bits up to 255": ([0, 100, 255], [0, 100, 255]),
        "32 bits below 0": ([-5, 100, 255], [0, 100, 255]),
        "32 bits up to the most": ([0, 2 ** 30, 2 ** 31 - 1], [0, 128, 255]),
    }
    found = [_tones(f"floats, {name}", np.float32, *tones) for name, tones in floats.items()]
    found += [_tones(name, np.uint16, *tones) for name, tones in sixteen.items()]
    found += [_tones(name, np.int32, *tones) for name, tones in whole.items()]
    return found


def _tones(name: str, kind: type, values: list[Any], expected: list[int]) -> Case:
    def is_seen(photo: Image.Image) -> bool:
        return np.asarray(photo)[0, :, 0].tolist() == expected

    image = Image.fromarray(np.array([values], dtype=kind))
    return _case(f"a TIFF of {name}", partial(_save, image, "TIFF", {}), is_seen)


# More than it seems

def _bombs() -> list[Case]:
    """Headers that promise more pixels than there is memory, or text that unpacks without end."""
    found = []
    for width, height in ((100_000, 100_000), (2 ** 31 - 1, 2 ** 31 - 1), (0, 0), (0, 5), (20_000, 6_000),
                          (2 ** 31 - 1, 1)):
        found.append(_case(f"a PNG that says {width}x{height}", partial(_write, png_of(width, height))))
    for width, height in ((65_535, 65_535), (0, 0)):
        content = bytearray(encoded(noise(), "JPEG"))
        place = content.index(b"\xff\xc0") + 5
        content[place:place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        found.append(_case(f"a JPEG that says {width}x{height}", partial(_write, bytes(content))))
        gif = bytearray(encoded(noise(), "GIF"))
        gif[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
        found.append(_case(f"a GIF that says {width}x{height}", partial(_write, bytes(gif))))
        bmp = bytearray(encoded(noise(), "BMP"))
        bmp[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
        found.append(_case(f"a BMP that says {width}x{height}", partial(_write, bytes(bmp))))
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    found.append(_case("a PNG with text that unpacks to 200 MB", partial(_write, png_of(9, 9, text))))
    found.append(_case("a photograph of one pixel", partial(_save, noise(size=(1, 1)), "PNG", {})))
    for size in ((1, 5000), (5000, 1), (66_000, 1)):
        make = partial(_save, noise(size=size), "PNG", {})
        found.append(_case(f"a photograph of {size[0]}x{size[1]}", make, partial(_has_size, size)))
    return found


# Masks

def _masks(draw: random.Random) -> list[Case]:
    content = encoded(noise("P"), "PNG")
    found = [
        _mask("a mask that is there", content, right=True),
        _mask("a mask of colours", encoded(noise(), "PNG")),
        _mask("a mask of 16 bits", encoded(noise("I;16"), "PNG")),
        _mask("a mask of another size", encoded(noise("L", (9, 9)), "PNG")), _mask("an empty mask", b""),
    ]
    for number in range(10):
        found.append(_mask(f"a mask with other bytes, {number}", mixed(content, draw)))
    return found


def _mask(name: str, content: bytes, right: bool = False) -> Case:
    def run(folder: Path) -> Outcome:
        path = folder / "mask.png"
        path.write_bytes(content)

        def is_right(values: np.ndarray) -> bool:
            same = np.array_equal(values, np.asarray(noise("P")))
            return values.shape == SIZE[::-1] and (same or not right)
        return judged(partial(read_labels, path, SIZE), is_right, names="mask.png")
    return Case("images", name, run)
