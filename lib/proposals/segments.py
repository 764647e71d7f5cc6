"""Segment proposals without labels: regions of several segmentations, merged bottom-up until one is left."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base.files import whole_file
from lib.base.problem import Problem
from lib.base.spent import spends
from lib.proposals.region_tree import MEASURES, describe, merge

SEGMENT_SIDE = 250                # pixels of the longest side on which segments are found
SCALES = (100, 200)               # how readily felzenszwalb lets regions grow
LEAST = 20                        # pixels of its smallest region
VARIANTS = (MEASURES, ("texture", "size", "fill"))   # which measures make two regions alike
AREA = (0.0001, 0.85)             # least and largest share of the image
SAME = 0.95                       # overlap (intersection over union) from which two segments count as one
MOST = 1000                       # segments of an image
# of objectness:
GRID_SIDE = 100        # pixels of the longest side on which it is found
RING = 8               # width of the surround
COLOURS: tuple[int, int, int] = (6, 8, 8)   # bins of L, a and b
FRAME = 10.0           # weight of the frame


_KNOWN: ContextVar[np.ndarray | None] = ContextVar("known", default=None)


@contextmanager
def known(masks: np.ndarray) -> Iterator[None]:
    """Have `proposals` give these masks inside, which were found in the same photograph before."""
    token = _KNOWN.set(masks)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def proposals(photo: Image.Image) -> np.ndarray:
    """Class-agnostic segments `(P, H, W)` bool of the photograph's size, large structures first.

    No two are nearly equal. P is a few hundred, at most 1000; it is 0 where nothing can be told apart (an
    image of one colour). What is `known` already is not looked for again.
    """
    masks = _KNOWN.get()
    if masks is None:
        return _found(photo)
    if masks.shape[1:] != (photo.height, photo.width):
        raise Problem(f"Proposals of {masks.shape[2]} x {masks.shape[1]} pixels are known, and the "
                      f"photograph has {photo.width} x {photo.height}; give those that were found in it.")
    return masks


@spends("proposals")
def _found(photo: Image.Image) -> np.ndarray:
    small = _pixels(photo, SEGMENT_SIDE)
    packed = _interleaved([pack(_segments(labels, image)) for labels, image in _segmentations(small)])
    best = packed[distinct(packed, SAME)[:MOST]]
    return resized(unpack(best, small.shape[:2]), photo.height, photo.width)


def distinct(packed: np.ndarray, same: float) -> np.ndarray:
    """Positions of the masks (as of `pack`) that overlap none kept before them by `same` or more."""
    words = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)
    area = np.bitwise_count(words).sum(1, dtype=np.int64)
    kept = np.zeros(len(words), dtype=bool)
    for i in range(len(words)):
        # masks of another area cannot overlap so much
        near = np.flatnonzero(kept & (area >= same * area[i]) & (area * same <= area[i]))
        common = np.bitwise_count(words[near] & words[i]).sum(1, dtype=np.int64)
        kept[i] = bool((common < same * (area[near] + area[i] - common)).all())
    return np.flatnonzero(kept)


def pack(masks: np.ndarray) -> np.ndarray:
    """Masks `(P, H, W)` with eight pixels in a byte: `(P, ceil(H * W / 8))` uint8."""
    return np.packbits(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), axis=1)


def unpack(packed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Masks `(P, H, W)` bool that `pack` was given; `shape` is (H, W)."""
    bits = np.unpackbits(packed, axis=1, count=shape[0] * shape[1])
    return bits.reshape(len(packed), *shape).view(bool)


def save_proposals(path: Path, masks: np.ndarray) -> None:
    """Write masks `(P, H, W)` as packed bits, deflated (.npz), whole or not at all."""
    with whole_file(path) as part:
        np.savez_compressed(part, packed=pack(masks), shape=np.array(masks.shape[1:]))


def load_proposals(path: Path) -> np.ndarray:
    """Read the masks `(P, H, W)` bool that `save_proposals` wrote."""
    if not path.is_file():
        raise Problem(f"{path}: there are no proposals; compute them with the stage that writes this folder.")
    try:
        with np.load(path, allow_pickle=False) as file:
            height, width = file["shape"].tolist()
            return unpack(file["packed"], (height, width))
    except Exception as error:   # zip, deflate and npy readers meet damage with exceptions of their own
        raise Problem(f"{path}: damaged, not a file of proposals ({error}); "
                      "remove it and compute the proposals again.") from None


def quality(masks: np.ndarray, objects: Sequence[np.ndarray], valid: np.ndarray | None = None) -> np.ndarray:
    """Best overlap (intersection over union) of any proposal with each true object `(H, W)`: `(O,)` in 0..1.

    Its mean is the average best overlap, the share at 0.5 or more the recall. Pixels outside `valid` do not
    count.
    """
    inside = np.ones(masks.shape[1:], dtype=bool) if valid is None else valid
    packed = pack(masks & inside)
    best = np.zeros(len(objects))
    for i, truth in enumerate(objects):
        one = pack((truth & inside)[None])
        common = np.bitwise_count(packed & one).sum(1, dtype=np.int64)
        either = np.bitwise_count(packed | one).sum(1, dtype=np.int64)
        best[i] = (common / np.maximum(either, 1)).max(initial=0)
    return best


def objectness(photo: Image.Image, masks: np.ndarray) -> np.ndarray:
    """How much each pixel looks like part of some object, `(H, W)` float32 in 0..1.

    It comes from proposals `(P, H, W)` and no label. A proposal scores by the contrast of its colours (Lab
    histogram) to those of a ring around it, 1 - their intersection, times exp(-FRAME t), t the share of the
    image's frame that it covers (background runs out of the image). The map is, at each pixel, the mean
    score of the proposals that hold it, stretched to 0..1. Where nothing differs (no proposal, or all
    alike) it is 1 everywhere: it says nothing against any pixel.
    """
    lab = _lab(_pixels(photo, GRID_SIDE))
    held = resized(masks, *lab.shape[:2])
    score = contrast(lab, held) * np.exp(-FRAME * _frame_share(held))
    mean = np.tensordot(score, held.astype(np.float32), 1) / np.maximum(held.sum(0), 1)
    if not np.ptp(mean) > 1e-6:
        return np.ones(masks.shape[1:], dtype=np.float32)
    stretched = ((mean - mean.min()) / np.ptp(mean)).astype(np.float32)
    large = Image.fromarray(stretched).resize(photo.size, Image.Resampling.BILINEAR)
    return np.asarray(large).clip(0, 1)


def contrast(lab: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Contrast of masks `(P, h, w)` to the ring around them, `(P,)`: 1 - the intersection of Lab histograms.

    It is 0 without a ring.
    """
    from scipy.ndimage import maximum_filter1d

    grown = maximum_filter1d(maximum_filter1d(masks, 2 * RING + 1, axis=1), 2 * RING + 1, axis=2)
    which = np.eye(np.prod(COLOURS), dtype=np.float32)[_colour(lab)]
    inside, n_inside = _counts(masks, which)
    around, n_around = _counts(grown & ~masks, which)
    common = np.minimum(inside / np.maximum(n_inside, 1), around / np.maximum(n_around, 1)).sum(1)
    return np.where((n_inside * n_around)[:, 0] > 0, 1 - common, 0.0)


def _counts(masks: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of masks `(P, h, w)` in each bin, `(P, bins)`, and altogether, `(P, 1)`.

    `which` tells the pixels' bins, `(h * w, bins)`.
    """
    counts = masks.reshape(len(masks), len(which)).astype(np.float32) @ which
    return counts, counts.sum(1, keepdims=True)


def _pixels(photo: Image.Image, side: int) -> np.ndarray:
    """RGB `(h, w, 3)` in 0..1 of a photograph, no side over `side` and none under 2: gradients need two."""
    scale = min(1.0, side / max(photo.size))
    size = [max(2, round(length * scale)) for length in photo.size]
    return np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BOX)) / 255.0


def _segmentations(small: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Segmentations, each as labels `(h, w)` and the image in the colour space in which they were found."""
    from skimage.color import rgb2hsv
    from skimage.segmentation import felzenszwalb

    for image in (_lab(small), rgb2hsv(small)):
        for scale in SCALES:
            yield felzenszwalb(image, scale=scale, sigma=0.5, min_size=LEAST), image


def _segments(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """All regions that merging passes through `(n, h, w)`, the last first, of an admissible area."""
    trees = [merge(describe(labels, image), measures)[::-1] for measures in VARIANTS]
    nodes = np.stack(trees, axis=1).reshape(-1, trees[0].shape[1])
    _, first = np.unique(nodes, axis=0, return_index=True)
    nodes = nodes[np.sort(first)]
    share = nodes @ np.bincount(labels.ravel()) / labels.size
    admissible = nodes[(share >= AREA[0]) & (share <= AREA[1])]
    return np.take(admissible, labels, axis=1)   # contiguous, unlike [:, labels]


def _interleaved(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Rows in turns: the first of each group, then the second of each, and so on."""
    rank = np.concatenate([np.arange(len(group)) for group in groups])
    return np.concatenate(groups)[rank.argsort(kind="stable")]


def _lab(small: np.ndarray) -> np.ndarray:
    """Lab, of which 100 units make 1; grey is at (L, 0.5, 0.5), few colours lie outside 0..1."""
    from skimage.color import rgb2lab

    return rgb2lab(small) / 100 + (0, 0.5, 0.5)


def _colour(lab: np.ndarray) -> np.ndarray:
    """Bin of every pixel `(h * w,)`."""
    bins = []
    for c, number in enumerate(COLOURS):
        bins.append((lab[..., c] * number).astype(int).clip(0, number - 1).ravel())
    return np.ravel_multi_index(bins, COLOURS)


def _frame_share(masks: np.ndarray) -> np.ndarray:
    """Share of the image's outermost pixels that each mask covers, `(P,)`."""
    frame = np.ones(masks.shape[1:], dtype=bool)
    frame[1:-1, 1:-1] = False
    return masks[:, frame].mean(1)


def resized(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarge or shrink masks `(P, h, w)` to `(P, height, width)`, by the nearest neighbour."""
    if masks.shape[1:] == (height, width):
        return masks
    rows = _nearest(height, masks.shape[1])
    columns = _nearest(width, masks.shape[2])
    return np.take(np.take(masks, columns, axis=2), rows, axis=1)


def _nearest(wanted: int, there: int) -> np.ndarray:
    """Nearest of the pixels that are there, for each of the `wanted` pixels along one side."""
    return (2 * np.arange(wanted) + 1) * there // (2 * wanted)
