"""Nested, growing regions: a segmentation merged bottom-up over its region adjacency graph.

As in selective search (Uijlings et al.).
"""
from dataclasses import dataclass

import numpy as np

BINS = 16           # of each colour channel's histogram
ORIENTATIONS = 8    # of the gradient's histogram
MEASURES: tuple[str, ...] = ("colour", "texture", "size", "fill")


@dataclass
class Regions:
    """R regions as the similarity needs them; changed in place while they merge."""
    colour: np.ndarray      # (R, 3 * BINS), sums to 1
    texture: np.ndarray     # (R, 3 * ORIENTATIONS), sums to 1
    size: np.ndarray        # (R,) share of the image
    box: np.ndarray         # (R, 4) ymin, xmin, -ymax, -xmax: a common box is a minimum
    adjacent: np.ndarray    # (R, R) bool

    def join(self, i: int, j: int) -> None:
        """Region j becomes part of region i."""
        total = self.size[i] + self.size[j]
        for values in (self.colour, self.texture):
            values[i] = (values[i] * self.size[i] + values[j] * self.size[j]) / total
        self.size[i] = total
        self.box[i] = np.minimum(self.box[i], self.box[j])
        self.adjacent[i] |= self.adjacent[j]
        self.adjacent[:, i] = self.adjacent[i]
        self.adjacent[j] = False
        self.adjacent[:, j] = False
        self.adjacent[i, i] = False

    def similarity(self, i: int, others: np.ndarray, measures: tuple[str, ...]) -> np.ndarray:
        """Similarity of region i to `others`: the sum of `measures`, each in 0..1."""
        total = np.zeros(len(others))
        if "colour" in measures:
            total += np.minimum(self.colour[i], self.colour[others]).sum(1)
        if "texture" in measures:
            total += np.minimum(self.texture[i], self.texture[others]).sum(1)
        if "size" in measures:
            total += 1 - self.size[i] - self.size[others]
        if "fill" in measures:
            box = np.minimum(self.box[i], self.box[others])
            area = (-box[:, 2] - box[:, 0]) * (-box[:, 3] - box[:, 1])
            total += 1 - (area - self.size[i] - self.size[others])
        return total


def describe(labels: np.ndarray, image: np.ndarray) -> Regions:
    """Describe the regions of a segmentation `(h, w)` of an image `(h, w, 3)` in 0..1.

    They are labelled from 0 without gaps.
    """
    count, flat = int(labels.max()) + 1, labels.ravel()
    bins = (image * BINS).astype(int).clip(0, BINS - 1)
    colour = _histograms(flat, bins, np.ones(image.shape), BINS)
    gy, gx = np.gradient(image, axis=(0, 1))
    angle = (np.arctan2(gy, gx) % (2 * np.pi) / (2 * np.pi) * ORIENTATIONS).astype(int) % ORIENTATIONS
    texture = _histograms(flat, angle, np.hypot(gy, gx) + 1e-6, ORIENTATIONS)
    size = np.bincount(flat, minlength=count) / flat.size
    return Regions(colour, texture, size, _boxes(labels, count), adjacency(labels))


def adjacency(labels: np.ndarray) -> np.ndarray:
    """Which regions share an edge between two pixels, `(R, R)` bool."""
    count = int(labels.max()) + 1
    touching = np.zeros((count, count), dtype=bool)
    touching[labels[1:].ravel(), labels[:-1].ravel()] = True
    touching[labels[:, 1:].ravel(), labels[:, :-1].ravel()] = True
    touching |= touching.T
    np.fill_diagonal(touching, False)
    return touching


def merge(regions: Regions, measures: tuple[str, ...] = MEASURES) -> np.ndarray:
    """Merge R regions, the most similar neighbours first, until one is left.

    Returns which of them each node of the tree holds, `(2R - 1, R)` bool: the regions first, then what they
    merge to.
    """
    count = len(regions.size)
    closeness = np.full((count, count), -np.inf)
    for i in range(count):
        others = np.flatnonzero(regions.adjacent[i])
        closeness[i, others] = regions.similarity(i, others, measures)
    holds = np.eye(count, dtype=bool)
    nodes = [row.copy() for row in holds]
    for _ in range(count - 1):
        i, j = divmod(int(closeness.argmax()), count)
        regions.join(i, j)
        holds[i] |= holds[j]
        nodes.append(holds[i].copy())
        closeness[[i, j]] = -np.inf
        closeness[:, [i, j]] = -np.inf
        others = np.flatnonzero(regions.adjacent[i])
        closeness[i, others] = closeness[others, i] = regions.similarity(i, others, measures)
    return np.array(nodes)


def _histograms(regions: np.ndarray, bins: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    """Histograms of every region, the three channels side by side, `(R, 3 * count)`."""
    total = int(regions.max()) + 1
    channels = []
    for c in range(3):
        places = regions * count + bins[..., c].ravel()
        histogram = np.bincount(places, weight[..., c].ravel(), total * count)
        channels.append(histogram.reshape(total, count))
    joined = np.concatenate(channels, axis=1)
    return joined / joined.sum(1, keepdims=True)


def _boxes(labels: np.ndarray, count: int) -> np.ndarray:
    height, width = labels.shape
    box = np.ones((count, 4))
    for axis, n in ((0, height), (1, width)):
        position = np.broadcast_to(np.expand_dims(np.arange(n), 1 - axis), labels.shape)
        np.minimum.at(box[:, axis], labels.ravel(), position.ravel() / n)
        np.minimum.at(box[:, axis + 2], labels.ravel(), -(position.ravel() + 1) / n)
    return box
