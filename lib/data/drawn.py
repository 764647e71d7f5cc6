"""Pictures that are drawn: the same on every machine, for what is timed and needs no truth."""
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

USUAL_SIZE = (500, 375)   # width and height of most photographs of VOC
GRAIN = 6.0               # standard deviation of the noise on every pixel, in grey levels
SHAPES = 6                # on a smooth background
COLOUR_CELLS = 5          # of the background, a side


def drawn_photos(count: int, size: tuple[int, int] = USUAL_SIZE) -> list[Image.Image]:
    """So many pictures of (width, height): soft-edged shapes on a smooth background, with grain."""
    return [drawn_photo(number, size) for number in range(count)]


def drawn_photo(number: int, size: tuple[int, int] = USUAL_SIZE) -> Image.Image:
    """The picture with that number."""
    draw = np.random.default_rng(number)
    cells = draw.integers(40, 216, (COLOUR_CELLS, COLOUR_CELLS, 3), dtype=np.uint8)
    picture = Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(SHAPES):
        pen.ellipse(_box(draw, size), fill=tuple(draw.integers(0, 256, 3).tolist()))
    picture = picture.filter(ImageFilter.GaussianBlur(1))
    grain = draw.normal(0, GRAIN, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def _box(draw: np.random.Generator, size: Sequence[int]) -> tuple[float, float, float, float]:
    """Corners of an ellipse, a tenth to a half of the picture's sides long."""
    width, height = draw.uniform(0.1, 0.5, 2) * size
    left = draw.uniform(0, size[0] - width)
    top = draw.uniform(0, size[1] - height)
    return left, top, left + width, top + height
