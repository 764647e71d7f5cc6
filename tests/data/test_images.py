"""Photographs and masks decode to what is seen or to one sentence that names the file; smaller copies."""
import io
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.base.problem import Problem
from lib.data import images
from lib.data.images import open_image, read_labels, read_rgb, shrunk, square_tensor

ORIENTATION = 0x0112   # EXIF's tags
DESCRIPTION = 0x010E
RESOLUTION = 0x011A


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    values = np.random.default_rng(width * height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values[..., 0] if channels == 1 else values


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def stored(folder: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def rgb(path: Path) -> np.ndarray:
    image = read_rgb(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_rgb_as_it_is(tmp_path: Path) -> None:
    values = noise(7, 5)
    assert np.array_equal(rgb(stored(tmp_path, Image.fromarray(values))), values)


def test_greyscale(tmp_path: Path) -> None:
    values = noise(7, 5, 1)
    assert np.array_equal(rgb(stored(tmp_path, Image.fromarray(values))), np.stack([values] * 3, -1))
    bits = Image.fromarray(np.uint8(values > 128) * 255).convert("1")
    seen = np.stack([np.uint8(values > 128) * 255] * 3, -1)
    assert np.array_equal(rgb(stored(tmp_path, bits, "bits.png")), seen)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    """Pillow's own formula: red = (255 - cyan) (255 - black) / 255."""
    inks = np.zeros((16, 16, 4), dtype=np.uint8)
    inks[:, :8] = [255, 0, 0, 0]     # cyan
    inks[:, 8:] = [0, 0, 0, 128]     # grey
    path = stored(tmp_path, Image.fromarray(inks, mode="CMYK"), "x.jpg", quality=100, subsampling=0)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    seen = rgb(path).astype(int)
    assert np.abs(seen[8, 3] - (0, 255, 255)).max() <= 3 and np.abs(seen[8, 12] - 127).max() <= 3


def test_palette_with_transparency_is_seen_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.uint8([[0, 1, 2]]), mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    opaque = stored(tmp_path, image, "opaque.png")
    assert rgb(opaque).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    one = stored(tmp_path, image, "one.png", transparency=1)
    assert rgb(one).tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    gif = stored(tmp_path, image, "one.gif", transparency=2)
    assert rgb(gif).tolist() == [[[10, 20, 30], [40, 50, 60], [255, 255, 255]]]
    partly = stored(tmp_path, image, "partly.png", transparency=bytes([255, 128, 0]))
    # 128/255 of (40, 50, 60) on white
    assert np.abs(rgb(partly).astype(int) - [[[10, 20, 30], [147, 152, 157], [255, 255, 255]]]).max() <= 1


@pytest.mark.parametrize("mode, value, expected", [
    ("RGBA", (10, 20, 30, 0), (255, 255, 255)), ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
    ("LA", (100, 0), (255, 255, 255)), ("LA", (100, 255), (100, 100, 100))])
def test_alpha_is_seen_on_white(tmp_path: Path, mode: str, value: tuple, expected: tuple) -> None:
    assert rgb(stored(tmp_path, Image.new(mode, (3, 2), value))).tolist() == [[list(expected)] * 3] * 2


@pytest.mark.parametrize("sixteen, eight", [
    ([0, 257, 32896, 65535], [0, 1, 128, 255]), ([0, 300, 600, 5140], [0, 1, 2, 20]),
    ([32896] * 4, [128] * 4), ([0, 1024, 2048, 4095], [0, 64, 128, 255]),
    ([0, 300, 600, 803], [0, 19, 37, 50]),
])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, ending: str, sixteen: list[int],
                                          eight: list[int]) -> None:
    """65535 is white, 257 steps of sixteen bits are one of eight; cameras of twelve bits stop at 4095."""
    path = stored(tmp_path, Image.fromarray(np.array([sixteen], dtype=np.uint16)), f"x.{ending}")
    assert rgb(path)[0].tolist() == [[v] * 3 for v in eight]


def test_floating_point_and_thirty_two_bits(tmp_path: Path) -> None:
    def reds(values: np.ndarray, name: str) -> list[int]:
        return rgb(stored(tmp_path, Image.fromarray(values), name))[0, :, 0].tolist()

    values = np.array([[0, 100, 255, 200]], dtype=np.float32)
    assert reds(values, "f.tif") == [0, 100, 255, 200]
    assert reds(values.astype(np.int32), "i.tif") == [0, 100, 255, 200]
    odd = np.array([[-5, np.nan, 510, 255]], dtype=np.float32)
    assert reds(odd, "odd.tif") == [0, 0, 255, 128]
    shares = np.array([[0, 0.25, 0.5, 1]], dtype=np.float32)
    assert reds(shares, "shares.tif") == [0, 64, 128, 255]
    for infinite, seen in ((np.inf, 255), (-np.inf, 0)):
        shares[0, 1] = infinite
        assert reds(shares, "infinite.tif") == [0, seen, 128, 255]   # the others are seen as ever
    assert reds(np.full((1, 2), np.inf, dtype=np.float32), "all.tif") == [0, 0]


@pytest.mark.parametrize("width, height", [(1, 1), (6000, 40), (40, 6000), (1, 500)])
def test_odd_sizes(tmp_path: Path, width: int, height: int) -> None:
    values = noise(width, height)
    assert np.array_equal(rgb(stored(tmp_path, Image.fromarray(values))), values)
    assert read_rgb(stored(tmp_path, Image.fromarray(values), "x.jpg")).size == (width, height)


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """A viewer's picture, by the EXIF standard's words on where the stored row 0 and column 0 are seen."""
    top_or_left = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left",
                   5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom"}[orientation]
    row, column = top_or_left.split()
    if row in ("left", "right"):
        values = values.swapaxes(0, 1)
        row, column = column, row
    values = values[::-1] if row == "bottom" else values
    return values[:, ::-1] if column == "right" else values


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    values = noise(6, 4)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = stored(tmp_path, Image.fromarray(values), exif=exif)
    assert np.array_equal(rgb(path), turned(values, orientation))
    assert open_image(path).getexif().get(ORIENTATION, 1) == 1   # not to be applied twice


def test_a_mask_keeps_its_stored_values(tmp_path: Path) -> None:
    values = noise(9, 6, 1)
    palette = Image.fromarray(values, mode="P")
    palette.putpalette(list(range(256)) * 3)
    for name, image in {"p.png": palette, "l.png": Image.fromarray(values)}.items():
        read = read_labels(stored(tmp_path, image, name), (9, 6))
        assert read.dtype == np.uint8 and np.array_equal(read, values)
    bits = Image.fromarray(values).convert("1", dither=Image.Dither.NONE)
    assert set(np.unique(read_labels(stored(tmp_path, bits, "bits.png")))) == {0, 255}
    read_labels(tmp_path / "p.png")[0, 0] = 1   # may be written to


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_a_mask_of_another_mode_is_named(tmp_path: Path, mode: str) -> None:
    with pytest.raises(Problem, match=rf"x.png: a mask must be a palette or grey image, this one is {mode}"):
        read_labels(stored(tmp_path, Image.new(mode, (3, 2))))


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, Image.new("L", (3, 2)))
    with pytest.raises(Problem, match=r"x.png: the mask is 3x2, its image is 2x3; they must be equal"):
        read_labels(path, (2, 3))


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"x.png: there is no such image"):
        read_rgb(tmp_path / "x.png")


@pytest.mark.parametrize("content", [
    b"", b"GIF", b"<svg/>", bytes(1000), b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(Problem, match=r"x.jpg: cannot be decoded as an image"):
        read_rgb(tmp_path / "x.jpg")


def test_what_is_no_file_is_named_and_waited_for_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("folder.jpg", "pipe.jpg"):
        with pytest.raises(Problem, match=rf"{name}: is not a file"):
            read_rgb(tmp_path / name)
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with pytest.raises(Problem, match=r"loop.jpg: there is no such image"):
        read_rgb(tmp_path / "loop.jpg")


def test_a_format_that_other_programs_would_decode_is_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, where it is installed, whatever the file's name is."""
    def start(*_: object, **__: object) -> None:
        pytest.fail("another program was started")

    monkeypatch.setattr(subprocess, "check_call", start)
    monkeypatch.setattr("PIL.EpsImagePlugin.has_ghostscript", lambda: True)
    (tmp_path / "x.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(Problem, match=r"x.jpg: cannot be decoded as an image"):
        read_rgb(tmp_path / "x.jpg")
    Image.new("RGB", (3, 2)).save(tmp_path / "y.jpg", "PPM")
    with pytest.raises(Problem, match=r"y.jpg: cannot be decoded as an image"):
        read_rgb(tmp_path / "y.jpg")


def test_want_of_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "_as_rgb", too_much)
    with pytest.raises(Problem, match=r"x.png: takes more memory to decode than there is; scale it down"):
        read_rgb(stored(tmp_path, Image.new("L", (3, 2))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_truncated_image_is_named(tmp_path: Path, kind: str, share: float) -> None:
    content = encoded(Image.fromarray(noise(64, 48)), kind)
    (tmp_path / "x").write_bytes(content[:int(share * len(content))])
    with pytest.raises(Problem, match="x: cannot be decoded as an image"):
        read_rgb(tmp_path / "x")


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    assert open_image(stored(tmp_path, Image.new("L", (10, 10)))).size == (10, 10)
    path = stored(tmp_path, Image.new("L", (11, 10)))
    path.write_bytes(path.read_bytes()[:60])   # were it decoded, it would be found truncated
    words = r"x.png: 11x10 pixels are more than the 100 that are read; scale it down first"
    with pytest.raises(Problem, match=words):
        open_image(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind, extra", [
    ("JPEG", "exif"), ("PNG", "exif"), ("PNG", "palette"), ("WEBP", "exif"), ("GIF", ""), ("BMP", ""),
    ("TIFF", "")])
def test_any_damage_gives_an_image_or_a_problem(tmp_path: Path, kind: str, extra: str) -> None:
    image = Image.fromarray(noise(24, 16))
    options: dict[str, object] = {}
    if extra == "exif":
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = 6
        options["exif"][DESCRIPTION] = "a picture"
    if extra == "palette":
        image = image.quantize(16)
        options["transparency"] = 3
    content = encoded(image, kind, **options)
    dice = random.Random(kind)
    path = tmp_path / "x"
    problems = 0
    for _ in range(120):
        damaged = bytearray(content)
        for _ in range(dice.choice([1, 1, 4])):
            damaged[dice.randrange(min(len(damaged), 200))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            assert read_rgb(path).mode == "RGB"
        except Problem as problem:
            assert str(problem).startswith(str(path))
            problems += 1
    assert problems > 0


@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_is_a_problem_at_most(tmp_path: Path) -> None:
    """Each byte of the EXIF block in turn becomes another: text for a number, another tag, a wrong length."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[DESCRIPTION] = "a picture"
    exif[RESOLUTION] = 72.0
    content = encoded(Image.fromarray(noise(8, 6)), "JPEG", exif=exif)
    start = content.index(b"Exif\0\0") + 6
    for place in range(start, start + 40):
        for value in (0, 1, 3, 13, 26, 84):
            damaged = bytearray(content)
            damaged[place] = value
            (tmp_path / "x.jpg").write_bytes(damaged)
            try:
                assert sorted(read_rgb(tmp_path / "x.jpg").size) == [6, 8]
            except Problem as problem:
                assert "x.jpg: cannot be decoded as an image" in str(problem)


# smaller photographs


@pytest.mark.parametrize("size, expected", [
    ((500, 300), (250, 150)), ((300, 500), (150, 250)), ((301, 203), (250, 169)), ((250, 250), (250, 250)),
    ((251, 1), (250, 1)), ((1, 1), (1, 1)), ((249, 30), (249, 30))])
def test_the_longest_side_is_shrunk(size: tuple[int, int], expected: tuple[int, int]) -> None:
    photo = Image.new("RGB", size)
    assert shrunk(photo, 250).size == expected and photo.size == size   # the photograph itself stays as it is


def test_small_photographs_are_left_alone() -> None:
    values = noise(9, 7)
    assert np.array_equal(np.asarray(shrunk(Image.fromarray(values), 9)), values)


def test_pixels_are_means_of_those_they_cover() -> None:
    values = noise(80, 60)
    for side, n in ((40, 2), (20, 4)):
        means = values.reshape(60 // n, n, 80 // n, n, 3).astype(float).mean((1, 3))
        small = np.asarray(shrunk(Image.fromarray(values), side))
        assert np.abs(small.astype(float) - means).max() <= 1


def test_a_square_tensor_has_the_pixels_of_the_square() -> None:
    """A photograph that is a square already keeps its pixels; channels come first."""
    values = noise(9, 9)
    square = square_tensor(Image.fromarray(values), 9)
    assert square.dtype == torch.uint8 and square.shape == (3, 9, 9)
    assert np.array_equal(square.permute(1, 2, 0).numpy(), values)
    assert np.array_equal(square[0].numpy(), values[..., 0])


def test_a_square_tensor_is_squeezed_bilinearly() -> None:
    """From columns 0, 80, 160, 240 to two: weights of the triangle over two of them, cut at the border."""
    values = np.repeat(np.uint8([[0, 80, 160, 240]]), 2, axis=0)
    square = square_tensor(Image.fromarray(np.stack([values] * 3, axis=-1)), 2)
    left = (0 * 0.75 + 80 * 0.75 + 160 * 0.25) / 1.75
    assert square.shape == (3, 2, 2)
    assert square[0].tolist() == [[round(left), round(240 - left)]] * 2
