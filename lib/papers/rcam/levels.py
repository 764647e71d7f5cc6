"""Where the shape is (section 3.2): what the response maps of every level separate and follow.

Foreground against background tells of shape, the image's gradient of edges.
"""
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.dataset import Sample
from lib.metrics import bootstrap
from lib.metrics.bootstrap import Chance, Table
from lib.metrics.scoring import each_batch
from lib.nets.network import Network
from lib.papers.rcam.method import shape_components, to_batch
from lib.papers.rcam.settings import RcamSettings

STRIDES: tuple[int, ...] = (2, 4, 8, 16)
COMPONENTS = 3      # that share the images among them in the table of components
PHOTO_SIDE = 224    # at which a photograph's gradient is taken
Measured = tuple[list[float], list[float], int]   # of one image: separation and gradient by level, component


class Levels(NamedTuple):
    """How well the best component of every level does, for each image.

    separation   of foreground and background, 0.5 to 1: `(N, levels)`
    gradient     correlation with the image's gradient, 0 to 1: `(N, levels)`
    component    number, from 0, of the component of the guide's level that separates best: `(N,)`
    """
    separation: np.ndarray
    gradient: np.ndarray
    component: np.ndarray


@torch.inference_mode()
def components(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> dict[int, Tensor]:
    """{side: first components of all response maps of that side}, from one forward pass at the first size."""
    side = settings.sizes[0]
    device = next(network.parameters()).device
    strides = [stride for stride in STRIDES if stride in network.responses]
    layers = [name for stride in strides for name in network.responses[stride]]
    responses = network.activations(to_batch(photos, side).to(device), layers)
    maps = {}
    for stride in strides:
        maps[side // stride] = shape_components(responses, network, stride, settings.components).cpu()
    return maps


def levels(network: Network, samples: Sequence[Sample], settings: RcamSettings, batch: int) -> Levels:
    """Measure every level on every sample that has foreground and background."""
    rows: list[Measured] = []
    make = partial(_measurer, network, settings)
    for part in each_batch(make, samples, batch, f"shape levels, {network.name}"):
        rows += part
    separation, gradient, component = zip(*rows, strict=True)
    return Levels(np.array(separation), np.array(gradient), np.array(component))


def _measurer(network: Network, settings: RcamSettings) -> Callable[[Sequence[Sample]], list[Measured]]:
    guide_side = settings.sizes[0] // settings.guide_stride

    def of_batch(part: Sequence[Sample]) -> list[Measured]:
        rows = []
        photos = [sample.photo() for sample in part]
        maps = components(network, photos, settings)
        for i, sample in enumerate(part):
            truth = torch.from_numpy(sample.foreground()[0])
            if truth.any() and not truth.all():
                of_sample = {side: values[i] for side, values in maps.items()}
                rows.append(_measure(of_sample, truth, photos[i], guide_side))
        return rows
    return of_batch


def level_table(measured: Levels, sides: Sequence[int], chance: Chance) -> Table:
    """A row for every level, and the paired differences between any two of them."""
    weights = chance.draws(len(measured.component))
    scores = {}
    for i, side in enumerate(sides):
        scores[f"level{side}"] = {"separation": weights @ measured.separation[:, i],
                                  "gradient": weights @ measured.gradient[:, i]}
    return bootstrap.table(scores, list(permutations(scores, 2)), chance)


def component_table(measured: Levels, chance: Chance) -> dict[str, dict]:
    """The share of the images, in percent, on which each component separates best."""
    weights = chance.draws(len(measured.component))
    scores = {}
    for k in range(COMPONENTS):
        scores[f"component{k + 1}"] = {"share": 100 * weights @ (measured.component == k)}
    return bootstrap.table(scores, [], chance)[0]


def auc(values: np.ndarray, inside: np.ndarray) -> float:
    """Area under the ROC curve: how likely a foreground position has the larger value, up to sign.

    Ties count half.
    """
    from scipy.stats import rankdata

    n, m = int(inside.sum()), int((~inside).sum())
    area = (rankdata(values)[inside].sum() - n * (n + 1) / 2) / (n * m)
    return float(max(area, 1 - area))


def _measure(maps: Mapping[int, Tensor], truth: Tensor, photo: Image.Image,
             guide_side: int) -> Measured:
    """Separation and gradient of every level of one image, and the best component at the guide's."""
    separation, gradient = [], []
    best = 0
    for side, level_maps in maps.items():
        inside = _inside(truth, side).ravel()
        edges = _gradient(photo, side).ravel()
        flat = [component.numpy().ravel() for component in level_maps]
        areas = [auc(values, inside) for values in flat]
        separation.append(max(areas))
        gradient.append(max(abs(_correlation(values, edges)) for values in flat))
        if side == guide_side:
            best = int(np.argmax(areas))
    return separation, gradient, best


def _inside(truth: Tensor, side: int) -> np.ndarray:
    """Foreground cells of a level: half covered or, where no cell is, the most covered ones."""
    share = _shrink(truth.float(), side).numpy()
    return share >= min(0.5, share.max())


def _shrink(values: Tensor, side: int) -> Tensor:
    return interpolate(values[None, None], (side, side), mode="area")[0, 0]


def _gradient(photo: Image.Image, side: int) -> np.ndarray:
    """Magnitude of the grey image's gradient, averaged over the level's cells."""
    small = photo.convert("L").resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BILINEAR)
    magnitude = np.hypot(*np.gradient(np.asarray(small, dtype=np.float32)))
    return _shrink(torch.from_numpy(magnitude), side).numpy()


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-12))
