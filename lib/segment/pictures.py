"""The maps of a photograph as pictures in its own size, made a band of rows at a time to spare memory."""
from collections.abc import Iterator

import numpy as np
from PIL import Image

from lib.papers.found import Found

HEAT_SHARE = 0.55         # of an overlay: so much is the heat map, the rest the photograph
BAND_PIXELS = 4_000_000   # that are floating-point numbers at a time


# By the ending of their file, and the overlay.
Pictures = tuple[dict[str, Image.Image], Image.Image]


def pictures_of(photo: Image.Image, found: Found, threshold: float) -> Pictures:
    """Heat map, mask, and classes where there are any; and the photograph under its heat map."""
    heat = Image.new("L", photo.size)
    mask = Image.new("L", photo.size)
    overlay = Image.new("RGB", photo.size)
    colours = _colours()
    for top, values in _bands(found, photo.size):
        bottom = top + len(values)
        seen = photo.crop((0, top, photo.width, bottom))
        number = np.minimum(values * len(colours), len(colours) - 1).astype(np.uint8)
        heat.paste(Image.fromarray(np.round(255 * values).astype(np.uint8)), (0, top))
        mask.paste(Image.fromarray(np.uint8(255) * (values >= threshold)), (0, top))
        overlay.paste(Image.blend(seen, Image.fromarray(colours[number]), HEAT_SHARE), (0, top))
    pictures = {"heat.png": heat, "mask.png": mask}
    if found.labels is not None:
        pictures["classes.png"] = _in_class_colours(found.labels)
    return pictures, overlay


def _bands(found: Found, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """The heat map `(H, W)` in 0..1 at the photograph's size, some rows at a time: (first row, values)."""
    width, height = size
    small = Image.fromarray(found.heat[0].numpy())
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        scale = small.height / height
        box = (0, top * scale, small.width, bottom * scale)
        band = small.resize((width, bottom - top), Image.Resampling.BILINEAR, box)
        yield top, np.asarray(band).clip(0, 1)


def _colours() -> np.ndarray:
    """The colours of heat from 0 to 1, `(256, 3)` uint8."""
    from matplotlib import colormaps

    return np.uint8(255 * colormaps["magma"](np.arange(256))[:, :3])


def _in_class_colours(labels: np.ndarray) -> Image.Image:
    """Class numbers as a picture in VOC's colours."""
    from lib.report.figures import palette

    picture = Image.fromarray(labels, "P")
    picture.putpalette(palette().ravel().tolist())
    return picture
