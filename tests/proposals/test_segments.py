"""Segment proposals: unique, bounded, repeatable, and what is there is found; file, quality, objectness."""
import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.data.images import read_labels, read_rgb
from lib.proposals.segments import (
    AREA,
    MOST,
    RING,
    SAME,
    _interleaved,
    contrast,
    distinct,
    known,
    load_proposals,
    objectness,
    pack,
    proposals,
    quality,
    save_proposals,
    unpack,
)

MIRROR = Path(os.environ.get("MIRROR", ROOT.parent / "shared" / "data"))
BORDER_ERROR = 0.1   # of 60 x 50 pixels found at half the size


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    truth = np.zeros((300, 400), dtype=bool)
    truth[120:180, 100:150] = True
    return truth


@pytest.fixture(scope="module")
def photo(square: np.ndarray) -> Image.Image:
    """A chequered red square on a ground fading from blue to green; two dark bars cross the lower half."""
    y, x = np.mgrid[:300, :400]
    ground = np.stack([60 + 0 * x, 80 + x // 4, 200 - x // 4], axis=2)
    red = np.stack([200 + 40 * ((x // 10 + y // 10) % 2), 40 + 0 * x, 50 + 0 * x], axis=2)
    values = np.where(square[..., None], red, ground)
    values[230:250], values[270:] = 30, (90, 60, 20)
    noisy = values + np.random.default_rng(0).normal(0, 5, values.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def masks(photo: Image.Image) -> np.ndarray:
    return proposals(photo)


def test_shape_and_number(masks: np.ndarray) -> None:
    assert masks.shape[1:] == (300, 400) and masks.dtype == bool and 20 <= len(masks) <= MOST
    assert len({mask.tobytes() for mask in masks}) == len(masks)


def test_no_two_are_nearly_equal_and_areas_are_bounded(photo: Image.Image) -> None:
    """At the working size itself, so that every pixel counts once."""
    small = proposals(photo.resize((200, 150)))
    flat = small.reshape(len(small), -1).astype(np.float32)
    common, area = flat @ flat.T, flat.sum(1)
    assert np.triu(common / (area[:, None] + area[None] - common), 1).max() < SAME
    assert area.min() >= AREA[0] * 30_000 and area.max() <= AREA[1] * 30_000


def test_the_same_again(photo: Image.Image, masks: np.ndarray) -> None:
    assert np.array_equal(proposals(photo), masks)


def test_recovers_a_square(masks: np.ndarray, square: np.ndarray) -> None:
    assert quality(masks, [square])[0] > 1 - BORDER_ERROR


def test_recovers_what_is_small() -> None:
    """7 x 7 pixels of 250 x 200, a thousandth."""
    values, truth = np.full((200, 250, 3), 90, dtype=np.uint8), np.zeros((200, 250), dtype=bool)
    truth[100:107, 60:67] = True
    values[truth] = [250, 240, 20]
    assert quality(proposals(Image.fromarray(values)), [truth])[0] > 0.9


def test_wholes_appear_that_no_segmentation_holds() -> None:
    """Two halves of one colour each, far from the ground's colour: their union is a proposal as well."""
    values = np.full((120, 160, 3), 240)
    values[30:90, 40:80], values[30:90, 80:120] = (200, 30, 30), (150, 20, 90)
    found = proposals(Image.fromarray(values.astype(np.uint8)))
    left, right = np.zeros((2, 120, 160), dtype=bool)
    left[30:90, 40:80], right[30:90, 80:120] = True, True
    assert (quality(found, [left, right, left | right]) > 0.9).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (7, 5)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    assert proposals(Image.fromarray(values)).shape[1:] == (size[1], size[0])


def test_one_colour_has_no_segments_and_says_nothing_against_any_pixel() -> None:
    plain = Image.new("L", (50, 40), 77)
    found = proposals(plain)
    assert found.shape == (0, 40, 50)
    assert np.array_equal(objectness(plain, found), np.ones((40, 50), dtype=np.float32))
    assert quality(found, [np.ones((40, 50), dtype=bool)]).tolist() == [0.0]


def test_distinct_by_hand() -> None:
    """20 pixels each: the second lacks one of the first (19 / 20 = 0.95), the third two; one lies apart."""
    masks = np.zeros((5, 4, 20), dtype=bool)
    masks[0, 0] = True
    masks[1, 0, 1:] = True
    masks[2, 0, 2:] = True
    masks[3, 2] = True
    masks[4] = masks[3]
    assert distinct(pack(masks), 0.95).tolist() == [0, 2, 3]
    assert distinct(pack(masks), 0.96).tolist() == [0, 1, 2, 3]
    assert distinct(pack(masks), 0.9).tolist() == [0, 3]


def test_distinct_as_a_literal_loop() -> None:
    rng = np.random.default_rng(0)
    base = rng.random((12, 9, 13)) < 0.5
    masks = base[rng.integers(0, 12, 60)] ^ (rng.random((60, 9, 13)) < 0.02)
    kept: list[int] = []
    for i in range(60):
        if all(overlap(masks[i], masks[k]) < 0.9 for k in kept):
            kept.append(i)
    assert distinct(pack(masks), 0.9).tolist() == kept and 12 < len(kept) < 60


def test_every_segmentation_has_its_turn() -> None:
    groups = [np.array([[1], [2], [3]]), np.array([[4], [5]]), np.zeros((0, 1))]
    assert _interleaved(groups).ravel().tolist() == [1, 4, 2, 5, 3]


def test_packed_and_back() -> None:
    masks = np.random.default_rng(0).random((7, 5, 11)) < 0.3
    assert pack(masks).shape == (7, 7) and np.array_equal(unpack(pack(masks), (5, 11)), masks)
    assert unpack(pack(masks[:0]), (5, 11)).shape == (0, 5, 11)


def test_file(tmp_path: Path, masks: np.ndarray) -> None:
    path = tmp_path / "proposals" / "one.npz"
    save_proposals(path, masks)
    again = load_proposals(path)
    assert again.dtype == bool and np.array_equal(again, masks) and path.stat().st_size < masks.size / 100
    assert [p.name for p in path.parent.iterdir()] == ["one.npz"]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(Problem, match="one.npz: damaged"):
        load_proposals(path)
    with pytest.raises(Problem, match="no proposals"):
        load_proposals(tmp_path / "two.npz")


def test_quality_by_hand() -> None:
    """Best overlaps 2/3 and, the void row left out, 2/2; an object that nothing meets has 0."""
    masks = np.zeros((2, 3, 3), dtype=bool)
    masks[0, 0] = True
    masks[1, 1, :2] = True
    first, second, third = np.zeros((3, 3, 3), dtype=bool)
    first[0, :2] = True
    second[1:, :2] = True
    third[2, 2] = True
    assert np.allclose(quality(masks, [first, second, third]), [2 / 3, 1 / 2, 0])
    valid = np.ones((3, 3), dtype=bool)
    valid[2] = False
    masks[1, 2] = [True, False, True]   # where nothing counts, more or less of a mask changes nothing
    assert np.allclose(quality(masks, [first, second, third], valid), [2 / 3, 1, 0])
    assert quality(masks, []).shape == (0,)


def histogram(pixels: np.ndarray) -> np.ndarray:
    return np.histogramdd(pixels, (6, 8, 8), [(0, 1)] * 3)[0]


def test_contrast_as_a_literal_loop() -> None:
    """Histograms over the ring of RING pixels, mask by mask; without ring or pixels there is no contrast."""
    rng = np.random.default_rng(0)
    lab = rng.random((30, 40, 3)) * (1, 0.3, 0.3) + (0, 0.35, 0.35)
    masks = np.zeros((4, 30, 40), dtype=bool)
    masks[0, 5:12, 8:20] = True
    masks[1, :, :3] = True
    masks[2] = True
    lab[masks[0]] = [0.9, 0.9, 0.1]
    expected = []
    for mask in masks:
        ring = binary_dilation(mask, np.ones((2 * RING + 1, 2 * RING + 1))) & ~mask
        if not mask.any() or not ring.any():
            expected.append(0.0)
            continue
        inside, around = (histogram(lab[part]) / part.sum() for part in (mask, ring))
        expected.append(1 - np.minimum(inside, around).sum())
    assert np.allclose(contrast(lab, masks), expected, atol=1e-5)
    assert expected[0] > 0.99 and expected[2:] == [0, 0]


def test_objectness_prefers_what_stands_out_and_stays_inside(photo: Image.Image, masks: np.ndarray,
                                                             square: np.ndarray) -> None:
    heat = objectness(photo, masks)
    assert heat.shape == (300, 400) and heat.dtype == np.float32
    assert heat.min() < 0.02 and 0.98 < heat.max() <= 1
    assert heat[square].mean() > 0.7 and heat[square].mean() > 2 * heat[~square].mean()
    assert heat[285:].mean() < heat[square].mean() / 2   # the bar has contrast but runs along the frame


def test_objectness_weighs_by_the_frame() -> None:
    """Two segments of equal contrast, one along the frame: by hand, scores 1 and exp(-10 * 20 / 276)."""
    values = np.zeros((40, 100, 3), dtype=np.uint8)
    masks = np.zeros((2, 40, 100), dtype=bool)
    masks[0, 10:30, 20:40], masks[1, :20, 60:80] = True, True
    values[masks.any(0)] = 255
    heat = objectness(Image.fromarray(values), masks)
    assert np.isclose(heat[20, 30], 1) and heat[35, 95] == 0
    assert np.isclose(heat[10, 70], np.exp(-10 * 20 / 276), atol=1e-4)


def test_objectness_is_the_mean_score_of_the_segments_that_hold_a_pixel() -> None:
    """A white square has contrast 1, its upper half less: the lower lies in its ring. There both count."""
    values = np.zeros((60, 100, 3), dtype=np.uint8)
    masks = np.zeros((2, 60, 100), dtype=bool)
    masks[0, 20:40, 40:60], masks[1, 20:30, 40:60] = True, True
    values[masks[0]] = 255
    half = contrast(np.where(masks[0][..., None], (0.999, 0.5, 0.5), (0.0, 0.5, 0.5)), masks)[1]
    white_in_ring = 8 * 20 / (26 * 36 - 10 * 20)
    heat = objectness(Image.fromarray(values), masks)
    assert np.isclose(half, 1 - white_in_ring) and np.isclose(heat[35, 50], 1)
    assert np.isclose(heat[25, 50], (1 + half) / 2, atol=1e-4)


@pytest.mark.mirror
@pytest.mark.skipif(not (MIRROR / "voc" / "instance_masks").exists(),
                    reason="needs the mirror (its folder, or MIRROR)")
def test_photographs_of_voc() -> None:
    """A few validation images: most objects are found, on average by an overlap of 0.7 or so."""
    folder = MIRROR / "voc"
    with open(folder / "samples.csv", newline="") as stream:
        val = [row for row in csv.DictReader(stream) if row["split"] == "val"]
    clean = [row for row in val if row["instances_clean"] == "1"]
    best: list[float] = []
    for row in clean[::120][:2]:
        instances = read_labels(folder / "instance_masks" / f"{row['id']}.png")
        classes = read_labels(folder / "class_masks" / f"{row['id']}.png")
        found = proposals(read_rgb(folder / "images" / f"{row['id']}.jpg"))
        assert 100 <= len(found) <= 1000
        objects = [instances == number for number in np.unique(instances) if number not in (0, 255)]
        best += quality(found, objects, classes != 255).tolist()
    assert len(best) >= 2 and np.mean(best) > 0.65


def test_what_is_known_is_not_looked_for_again(photo: Image.Image) -> None:
    masks = np.zeros((2, photo.height, photo.width), dtype=bool)
    with known(masks):
        assert proposals(photo) is masks
        with pytest.raises(Problem, match="400 x 300 pixels are known, and the photograph has 40 x 30"):
            proposals(photo.resize((40, 30)))
    assert len(proposals(photo.resize((40, 30)))) != 2
