"""Pictures to damage: noise of any mode, as files of any format."""
import io
import random
import zlib
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 16)
# Format -> the modes that it can hold.
MODES: dict[str, tuple[str, ...]] = {
    "JPEG": ("L", "RGB", "CMYK", "YCbCr", "1"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F"),
    "WEBP": ("L", "RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
}


def noise(mode: str = "RGB", size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """Noise of a mode."""
    width, height = size
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(values)
    if mode in ("I;16", "I;16B"):
        wide = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
        return wide if mode == "I;16" else wide.convert("I;16B")
    if mode == "LAB":
        return Image.frombytes("LAB", size, values.tobytes())
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file's content."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def mixed(content: bytes, draw: random.Random) -> bytes:
    """Some bytes are others, more of them where the header is."""
    damaged = bytearray(content)
    for _ in range(draw.choice([1, 1, 4, 16])):
        place = draw.randrange(min(len(damaged), draw.choice([60, 300, len(damaged)])))
        damaged[place] = draw.randrange(256)
    return bytes(damaged)


def png_of(width: int, height: int, text: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever it holds, with packed text."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\0\0\0"
    chunks = [(b"IHDR", header)]
    if text:
        chunks.append((b"zTXt", text))
    chunks += [(b"IDAT", zlib.compress(bytes(2000))), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        check = zlib.crc32(name + data).to_bytes(4, "big")
        content += len(data).to_bytes(4, "big") + name + data + check
    return content
