"""What filling modules learn from: peaks of the training images and the proposals that may be their objects (section 3.2)."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import Sample
from lib.metrics.multilabel import labels
from lib.nets.fcn import Fcn
from lib.papers.iam.method import Seen, labelled, look, responses, unsquared
from lib.papers.iam.prm import candidates, draw, matching_scores, ranked, retrieval_scores
from lib.papers.iam.settings import FillingSettings, FillingTraining
from lib.proposals.segments import pack, unpack
from lib.proposals.store import Loader


@dataclass(frozen=True)
class Lesson:
    """One image: its P peaks' response maps, what the trunk made of it, and its ranked proposals, at the size of the maps."""
    id: str
    labels: tuple[str, ...]
    prms: Tensor           # (P, m, m) half
    levels: list[Tensor]   # (D, h, w) half
    masks: np.ndarray      # packed: (J, ceil(m * m / 8)), of all peaks
    places: Tensor         # (P, at most `most`): which of the J, best first, -1 for a proposal that was dropped
    valid: Tensor          # (m, m) bool: where the padded square shows the image


def lessons(fcn: Fcn, samples: Sequence[Sample], loaders: Mapping[str, Loader], settings: FillingSettings, training: FillingTraining) -> list[Lesson]:
    """Look at every training image once; those without a peak of one of their labels are left out."""
    found, known = [], torch.from_numpy(labels(samples, fcn.classes))
    for start in progress(range(0, len(samples), training.batch), f"{fcn.name}: peaks and their proposals"):
        part = samples[start:start + training.batch]
        seen = look(fcn, [s.photo() for s in part], training.side, training.map_side,
                    labelled(known[start:start + training.batch], settings.peaks))
        for place, sample in enumerate(part):
            one = seen.of(place)
            if len(one.peaks):
                found.append(_lesson(sample, one, [level[0].half().cpu() for level in one.levels], loaders[sample.id](), settings))
    if not found:
        raise Problem(f"{fcn.name}: none of the {len(samples)} training images has a peak of one of its labels; train the classifier longer.")
    return found


def _lesson(sample: Sample, seen: Seen, levels: list[Tensor], proposals: np.ndarray, settings: FillingSettings) -> Lesson:
    prms, masks = seen.prms.cpu(), torch.from_numpy(proposals)
    side, own = prms.shape[-1], unsquared(prms, *masks.shape[1:])
    score = partial(retrieval_scores, responses=responses(seen, masks.shape[1:])) if settings.ranking == "retrieval" else matching_scores
    best = ranked(score(own, masks, settings.retrieval), own, masks, settings.retrieval.overlap, settings.most)
    used = best[best >= 0].unique()
    small = squared(masks[used], side)
    places = torch.searchsorted(used, best.clamp(min=0)).masked_fill(best < 0, -1) if len(used) else torch.full_like(best, -1)
    valid = squared(torch.ones(1, *masks.shape[1:], dtype=torch.bool), side)[0]
    scaled = prms / prms.amax((1, 2), keepdim=True).clamp(min=1e-12)   # sums of 1 over so many pixels are too small for half precision
    return Lesson(sample.id, sample.labels, scaled.half(), levels, pack(small.numpy()), places, valid)


def squared(masks: Tensor, side: int) -> Tensor:
    """Masks `(J, H, W)` bool of an image on the padded square `(J, side, side)` on which its peak response maps lie."""
    height, width = masks.shape[1:]
    scale = side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if not len(masks):
        return masks.new_zeros(0, side, side)
    small = interpolate(masks[:, None].to(torch.uint8), size, mode="nearest-exact")[:, 0].bool()
    return pad(small, (0, side - size[1], 0, side - size[0]))


@dataclass(frozen=True)
class Batch:
    """Peaks of some images: response maps and pseudo masks `(P, m, m)`, where they count, the images' trunk maps, whose peak is whose."""
    prms: Tensor
    targets: Tensor
    valid: Tensor
    levels: list[Tensor]
    image: Tensor


def batch_of(chosen: Sequence[Lesson], k: int, generator: torch.Generator, device: torch.device) -> Batch | None:
    """A proposal for every peak, drawn anew among its k best; peaks without any are left out. None where nothing is left."""
    prms, masks, valid, image = [], [], [], []
    for number, lesson in enumerate(chosen):
        drawn = draw(candidates(lesson.places, k), generator)
        kept = (drawn >= 0).nonzero()[:, 0]
        side = lesson.prms.shape[-1]
        prms.append(lesson.prms[kept].float())
        masks.append(torch.from_numpy(unpack(lesson.masks[drawn[kept].numpy()], (side, side))))
        valid.append(lesson.valid.expand(len(kept), -1, -1))
        image.append(torch.full((len(kept),), number))
    if not sum(map(len, prms)):
        return None
    levels = [torch.stack([lesson.levels[i] for lesson in chosen]).float().to(device) for i in range(len(chosen[0].levels))]
    return Batch(*(torch.cat(parts).to(device) for parts in (prms, masks, valid)), levels, torch.cat(image).to(device))
