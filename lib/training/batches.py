"""Mini-batches for multi-label training.

They hold photographs, or cached outputs of the part of the trunk that is not trained.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import Sample
from lib.data.images import resized
from lib.data.loading import Reading, loaded, to_device
from lib.nets.fcn import Fcn
from lib.training.settings import TrainingSettings

MULTIPLE = 32   # sides of batches
# the mean colour: zero once the network has normalised it, as "zero-padding" is in the authors' framework
PAD: tuple[float, ...] = (0.485, 0.456, 0.406)


def square(photo: Image.Image, side: int, flip: bool = False) -> Tensor:
    """RGB `(3, side, side)` in 0..1: scaled so that the photograph's longest side is `side`.

    It is padded to a square at the right and below.
    """
    scale = side / max(photo.size)
    width = max(1, round(photo.width * scale))
    height = max(1, round(photo.height * scale))
    pixels = resized(photo, (width, height))
    if flip:
        pixels = pixels.flip(2)
    canvas = torch.tensor(PAD)[:, None, None].repeat(1, side, side)
    canvas[:, :height, :width] = pixels / 255
    return canvas


def squares(samples: Sequence[Sample], side: int, flips: Sequence[bool]) -> Tensor:
    """A batch `(B, 3, side, side)` of the samples' photographs, each flipped or not; channels last."""
    images = zip(samples, flips, strict=True)
    batch = torch.stack([square(sample.photo(), side, flip) for sample, flip in images])
    return batch.contiguous(memory_format=torch.channels_last)


def loaded_squares(samples: Sequence[Sample], side: int, batch: int, label: str,
                   flip: bool = False) -> Iterator[Tensor]:
    """All photographs in consecutive batches `(B, 3, side, side)`, with a progress bar."""
    parts = [samples[start:start + batch] for start in range(0, len(samples), batch)]
    readings = [partial(squares, part, side, [flip] * len(part)) for part in parts]
    yield from progress(loaded(readings), label, len(readings))


def targets(samples: Sequence[Sample], classes: Sequence[str]) -> Tensor:
    """The p `(N, K)` of eq. 1, from image labels.

    An image with no label or a class with no image is named.
    """
    number = {name: i for i, name in enumerate(classes)}
    p = torch.zeros(len(samples), len(classes))
    for row, sample in zip(p, samples, strict=True):
        if not sample.labels:
            raise Problem(f'The image "{sample.id}" has no label; '
                          "multi-label training needs at least one on every image.")
        for label in sample.labels:
            if label not in number:
                raise Problem(f'The image "{sample.id}" is labelled "{label}", '
                              "which is none of the dataset's classes.")
            row[number[label]] = 1
    for name, images in zip(classes, p.sum(0).tolist(), strict=True):
        if images == 0:
            raise Problem(f'The class "{name}" has no image to train on; '
                          "leave it out of the classes or add images.")
    return p


def rounded(side: float) -> int:
    """The nearest multiple of 32, at least 64."""
    return max(2 * MULTIPLE, MULTIPLE * round(side / MULTIPLE))


@dataclass
class Photographs:
    """Every mini-batch decodes its photographs, scales them by a ratio of its own, and flips some."""
    fcn: Fcn
    samples: Sequence[Sample]
    settings: TrainingSettings
    decoders: int | None = None   # processes that read batches ahead: as many as the machine has for it

    def reading(self, rows: Sequence[int], draw: np.random.Generator) -> Reading[Tensor]:
        """What reads the images `(B, 3, S, S)` of a batch; all that is random about it is drawn here."""
        side = rounded(self.settings.side * draw.uniform(*self.settings.ratios))
        flips = [bool(draw.integers(2)) for _ in rows]
        return partial(squares, [self.samples[row] for row in rows], side, flips)

    def scores(self, pixels: Tensor) -> Tensor:
        """Class scores `(B, K)` of a batch."""
        return self.fcn(to_device(pixels, self.fcn.device))


@dataclass(frozen=True)
class View:
    """How the frozen part sees an image: at which side, and which way round."""
    side: int
    flip: bool
    label: str   # of its progress bar


class CachedViews:
    """The frozen part sees every image a few times before training starts.

    Mini-batches are drawn from its outputs, one view each.
    """

    decoders = 0   # processes that read batches ahead: the outputs are here

    def __init__(self, fcn: Fcn, samples: Sequence[Sample], settings: TrainingSettings) -> None:
        if settings.frozen is None:
            raise Problem("views: only what a frozen part of the trunk has seen can be cached; "
                          "name its last module as `frozen`, or set views to 0.")
        self.fcn = fcn
        self.lower, self.upper = cut(fcn, settings.frozen)
        self.views = [self._cached(view, samples, settings.batch) for view in _views(settings)]

    def reading(self, rows: Sequence[int], draw: np.random.Generator) -> Reading[Tensor]:
        """What reads the outputs of the frozen part `(B, D, h, w)` of a batch, in half precision."""
        view = self.views[draw.integers(len(self.views))]
        return partial(_rows_of, view, list(rows))

    def scores(self, outputs: Tensor) -> Tensor:
        """Class scores `(B, K)` of a batch."""
        outputs = to_device(outputs, self.fcn.device).float()
        return self.fcn.pooled(self.fcn.head(self.upper(outputs)))

    @torch.no_grad()
    def _cached(self, view: View, samples: Sequence[Sample], batch: int) -> Tensor:
        """The frozen part's outputs of one view of all samples, in half precision."""
        parts = []
        for pixels in loaded_squares(samples, view.side, batch, view.label, view.flip):
            pixels = to_device(pixels, self.fcn.device)
            parts.append(self.lower(self.fcn.trunk.normalise(pixels)).half().cpu())
        return torch.cat(parts)


def _rows_of(view: Tensor, rows: list[int]) -> Tensor:
    return view[rows]


def _views(settings: TrainingSettings) -> list[View]:
    """Ratios spread evenly, every other view flipped."""
    views = []
    for number, ratio in enumerate(np.linspace(*settings.ratios, settings.views + 2)[1:-1]):
        label = f"view {number + 1} of {settings.views}"
        views.append(View(rounded(settings.side * ratio), bool(number % 2), label))
    return views


def cut(fcn: Fcn, name: str) -> tuple[nn.Module, nn.Module]:
    """The trunk's body up to a module, and from there to its last convolutional map.

    The body must be a plain sequence.
    """
    body = fcn.trunk.body
    names = list(dict(body.named_children()))
    if not isinstance(body, nn.Sequential) or name not in names:
        raise Problem(f"{fcn.name}: views can be cached only where the trunk is a plain sequence "
                      f'with a module "{name}"; set views to 0.')
    place = names.index(name) + 1
    end = names.index(fcn.trunk.features) + 1
    return body[:place], body[place:end]
