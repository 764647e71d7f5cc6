"""What the response maps of each level hold (section 3.2): shape against background, or gradients."""
from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.dataset import Sample
from lib.metrics.bootstrap import Scores, compare, draws
from lib.metrics.scoring import batches
from lib.nets.network import Network
from lib.papers.rcam.method import shape, to_batch
from lib.papers.rcam.settings import RcamSettings

STRIDES = (2, 4, 8, 16)


class Levels(NamedTuple):
    """Per image `(N, levels)`: how well the best component separates foreground (0.5-1), and follows the gradient (0-1); the
    component (0-based) of the guide's level that separates best `(N,)`."""
    separation: np.ndarray
    gradient: np.ndarray
    component: np.ndarray


@torch.inference_mode()
def components(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> dict[int, Tensor]:
    """{side: first components of all response maps of that side} for I_1."""
    side = settings.sizes[0]
    names = [name for stride in STRIDES for name in network.responses.get(stride, ())]
    seen = network.activations(to_batch(photos, side).to(next(network.parameters()).device), names)
    return {side // s: shape(seen, network, s, settings.components).cpu() for s in STRIDES if s in network.responses}


def levels(network: Network, samples: Sequence[Sample], settings: RcamSettings, batch: int) -> Levels:
    """Measure every level on every sample that has foreground and background."""
    rows = [row for part in batches(samples, batch, f"shape levels, {network.name}") for row in _measure(network, part, settings)]
    return Levels(*(np.array(column) for column in zip(*rows)))


def level_tables(found: Levels, sides: Sequence[int], samples: int, seed: int) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """(shape_levels, shape_component) as {row: {metric: draws}}; shares in percent."""
    weights = draws(len(found.component), samples, seed)
    by_level = {f"level{side}": {"separation": weights @ found.separation[:, i], "gradient": weights @ found.gradient[:, i]}
                for i, side in enumerate(sides)}
    share = {f"component{k + 1}": {"share": 100 * weights @ (found.component == k)} for k in range(3)}
    return by_level, share


def compare_levels(by_level: dict[str, Scores], level: float) -> dict:
    """Paired differences between any two levels."""
    return compare(by_level, list(permutations(by_level, 2)), level)


def auc(values: np.ndarray, inside: np.ndarray) -> float:
    """Chance that a foreground position has the larger value, up to sign; ties count half."""
    from scipy.stats import rankdata

    n, m = int(inside.sum()), int((~inside).sum())
    chance = (rankdata(values)[inside].sum() - n * (n + 1) / 2) / (n * m)
    return float(max(chance, 1 - chance))


def _measure(network: Network, part: Sequence[Sample], settings: RcamSettings) -> list[tuple[list[float], list[float], int]]:
    photos = [s.photo() for s in part]
    found = components(network, photos, settings)
    guide = settings.sizes[0] // settings.guide_stride
    rows = []
    for i, sample in enumerate(part):
        truth = torch.from_numpy(sample.foreground()[0])
        if not truth.any() or truth.all():
            continue
        separation, gradient, best = [], [], 0
        for side, maps in found.items():
            inside = _inside(truth, side)
            aucs = [auc(c.numpy().ravel(), inside.ravel()) for c in maps[i]]
            edges = _gradient(photos[i], side).ravel()
            separation.append(max(aucs))
            gradient.append(max(abs(_correlation(c.numpy().ravel(), edges)) for c in maps[i]))
            best = int(np.argmax(aucs)) if side == guide else best
        rows.append((separation, gradient, best))
    return rows


def _inside(truth: Tensor, side: int) -> np.ndarray:
    """Foreground cells of a level: half covered or, where no cell is (small objects), the most covered ones."""
    share = _shrink(truth.float(), side).numpy()
    return share >= min(0.5, share.max())


def _shrink(values: Tensor, side: int) -> Tensor:
    return interpolate(values[None, None], (side, side), mode="area")[0, 0]


def _gradient(photo: Image.Image, side: int) -> np.ndarray:
    """Magnitude of the grey image's gradient, averaged over the level's cells."""
    grey = np.asarray(photo.convert("L").resize((224, 224), Image.Resampling.BILINEAR), dtype=np.float32)
    return _shrink(torch.from_numpy(np.hypot(*np.gradient(grey))), side).numpy()


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-12))
