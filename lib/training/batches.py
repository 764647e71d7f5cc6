"""Mini-batches for multi-label training: photographs, or cached outputs of the part of the trunk that is not trained."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import Sample
from lib.nets.fcn import Fcn
from lib.training.settings import TrainingSettings

MULTIPLE = 32   # sides of batches
PAD = (0.485, 0.456, 0.406)   # the mean colour: zero once the network has normalised it, as "zero-padding" is in the authors' framework


def square(photo: Image.Image, side: int, flip: bool = False) -> Tensor:
    """RGB `(3, side, side)` in 0..1: scaled so that its longest side is `side`, padded to a square at the right and below."""
    scale = side / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    small = photo.resize(size, Image.Resampling.BILINEAR)
    if flip:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas = torch.tensor(PAD)[:, None, None].repeat(1, side, side)
    canvas[:, :size[1], :size[0]] = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255
    return canvas


def targets(samples: Sequence[Sample], classes: Sequence[str]) -> Tensor:
    """p `(N, K)` of eq. 1, from image labels; an image with no label or a class with no image is named."""
    known = {name: i for i, name in enumerate(classes)}
    p = torch.zeros(len(samples), len(classes))
    for row, sample in zip(p, samples):
        if not sample.labels:
            raise Problem(f'The image "{sample.id}" has no label; multi-label training needs at least one on every image.')
        if unknown := [label for label in sample.labels if label not in known]:
            raise Problem(f'The image "{sample.id}" is labelled "{unknown[0]}", which is none of the dataset\'s classes.')
        row[[known[label] for label in sample.labels]] = 1
    if (empty := (p.sum(0) == 0).nonzero().flatten()).numel():
        raise Problem(f'The class "{classes[int(empty[0])]}" has no image to train on; leave it out of the classes or add images.')
    return p


def rounded(side: float) -> int:
    """The nearest multiple of 32, at least 64."""
    return max(2 * MULTIPLE, MULTIPLE * round(side / MULTIPLE))


@dataclass
class Photographs:
    """Every mini-batch decodes its photographs and scales them by a ratio of its own; every image is flipped or not."""
    fcn: Fcn
    samples: Sequence[Sample]
    settings: TrainingSettings

    def batch(self, rows: Sequence[int], draw: np.random.Generator) -> Tensor:
        side = rounded(self.settings.side * draw.uniform(*self.settings.ratios))
        device = next(self.fcn.parameters()).device
        pixels = torch.stack([square(self.samples[i].photo(), side, bool(draw.integers(2))) for i in rows])
        return pixels.to(device, memory_format=torch.channels_last)

    def scores(self, pixels: Tensor) -> Tensor:
        return self.fcn(pixels)


class CachedViews:
    """The frozen part sees every image a few times before training starts; mini-batches are drawn from its outputs, one view each."""

    def __init__(self, fcn: Fcn, samples: Sequence[Sample], settings: TrainingSettings) -> None:
        if settings.frozen is None:
            raise Problem("views: only what a frozen part of the trunk has seen can be cached; name its last module as `frozen`, or set views to 0.")
        self.fcn = fcn
        lower, self.upper = cut(fcn, settings.frozen)
        sides = [rounded(settings.side * ratio) for ratio in np.linspace(*settings.ratios, settings.views + 2)[1:-1]]
        self.views = [_look(fcn, lower, samples, side, bool(v % 2), settings.batch, f"view {v + 1} of {settings.views}") for v, side in enumerate(sides)]

    def batch(self, rows: Sequence[int], draw: np.random.Generator) -> Tensor:
        device = next(self.fcn.parameters()).device
        return self.views[draw.integers(len(self.views))][list(rows)].to(device, torch.float32, memory_format=torch.channels_last)

    def scores(self, seen: Tensor) -> Tensor:
        return self.fcn.pooled(self.fcn.head(self.upper(seen)))


def cut(fcn: Fcn, name: str) -> tuple[nn.Module, nn.Module]:
    """The trunk's body up to a module and from there to its last convolutional map; the body must be a plain sequence."""
    body = fcn.trunk.body
    names = list(dict(body.named_children()))
    if not isinstance(body, nn.Sequential) or name not in names:
        raise Problem(f'{fcn.name}: views can be cached only where the trunk is a plain sequence with a module "{name}"; set views to 0.')
    place, end = names.index(name) + 1, names.index(fcn.trunk.features) + 1
    return body[:place], body[place:end]


@torch.no_grad()
def _look(fcn: Fcn, lower: nn.Module, samples: Sequence[Sample], side: int, flip: bool, batch: int, label: str) -> Tensor:
    device, parts = next(fcn.parameters()).device, []
    for start in progress(range(0, len(samples), batch), label):
        pixels = torch.stack([square(s.photo(), side, flip) for s in samples[start:start + batch]])
        parts.append(lower(fcn.trunk.normalise(pixels.to(device, memory_format=torch.channels_last))).half().cpu())
    return torch.cat(parts)
