"""Bottom-up merging of a segmentation over its region adjacency graph (Uijlings et al., selective search): nested, growing regions."""
from dataclasses import dataclass

import numpy as np

BINS = 16           # of each colour channel's histogram
ORIENTATIONS = 8    # of the gradient's histogram
MEASURES = ("colour", "texture", "size", "fill")


@dataclass
class Regions:
    """What the similarity needs to know of R regions; changed in place while they merge."""
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
        self.size[i], self.box[i] = total, np.minimum(self.box[i], self.box[j])
        self.adjacent[i] |= self.adjacent[j]
        self.adjacent[:, i] = self.adjacent[i]
        self.adjacent[j], self.adjacent[:, j], self.adjacent[i, i] = False, False, False

    def similarity(self, i: int, others: np.ndarray, measures: tuple[str, ...]) -> np.ndarray:
        """Of region i to `others`: the sum of `measures`, each in 0..1."""
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
    """The regions of a segmentation `(h, w)`, labelled from 0 without gaps, of an image `(h, w, 3)` in 0..1."""
    count, flat = int(labels.max()) + 1, labels.ravel()
    size = np.bincount(flat, minlength=count)
    gy, gx = np.gradient(image, axis=(0, 1))
    angle = (np.arctan2(gy, gx) % (2 * np.pi) / (2 * np.pi) * ORIENTATIONS).astype(int) % ORIENTATIONS
    return Regions(_histograms(flat, (image * BINS).astype(int).clip(0, BINS - 1), np.ones(image.shape), BINS),
                   _histograms(flat, angle, np.hypot(gy, gx) + 1e-6, ORIENTATIONS),
                   size / flat.size, _boxes(labels, count), adjacency(labels))


def adjacency(labels: np.ndarray) -> np.ndarray:
    """`(R, R)` bool: which regions share an edge between two pixels."""
    count = int(labels.max()) + 1
    touching = np.zeros((count, count), dtype=bool)
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touching[a.ravel(), b.ravel()] = True
    touching |= touching.T
    np.fill_diagonal(touching, False)
    return touching


def merge(regions: Regions, measures: tuple[str, ...] = MEASURES) -> np.ndarray:
    """The R regions and everything they merge to, most similar neighbours first: `(2R - 1, R)` bool, which regions each node holds."""
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
        closeness[[i, j]], closeness[:, [i, j]] = -np.inf, -np.inf
        others = np.flatnonzero(regions.adjacent[i])
        closeness[i, others] = closeness[others, i] = regions.similarity(i, others, measures)
    return np.array(nodes)


def _histograms(regions: np.ndarray, bins: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    """Per region the histograms of the three channels side by side, `(R, 3 * count)`."""
    total = int(regions.max()) + 1
    each = [np.bincount(regions * count + bins[..., c].ravel(), weight[..., c].ravel(), total * count).reshape(total, count) for c in range(3)]
    joined = np.concatenate(each, axis=1)
    return joined / joined.sum(1, keepdims=True)


def _boxes(labels: np.ndarray, count: int) -> np.ndarray:
    height, width = labels.shape
    box = np.ones((count, 4))
    for axis, n in ((0, height), (1, width)):
        position = np.broadcast_to(np.expand_dims(np.arange(n), 1 - axis), labels.shape)
        np.minimum.at(box[:, axis], labels.ravel(), position.ravel() / n)
        np.minimum.at(box[:, axis + 2], labels.ravel(), -(position.ravel() + 1) / n)
    return box
