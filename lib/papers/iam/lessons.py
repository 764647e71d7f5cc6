"""Lessons of filling modules (section 3.2): peaks of the training images, and their ranked proposals."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.maps.cam import each_maximum_is_one
from lib.metrics.multilabel import labels
from lib.metrics.scoring import batches
from lib.nets.fcn import Fcn
from lib.papers.iam.method import ClassifierOutput, class_responses, labelled, run_classifier, unsquared
from lib.papers.iam.prm import candidates, draw, matching_scores, ranked, retrieval_scores
from lib.papers.iam.settings import FillingSettings, FillingTraining
from lib.proposals.segments import pack, unpack
from lib.proposals.store import Loader


@dataclass(frozen=True)
class Lesson:
    """One image: its P peaks' response maps, the trunk's feature maps, and its ranked proposals.

    prms     (P, m, m) half
    levels   (D, h, w) half
    masks    the proposals of all peaks at the maps' size, packed: (J, ceil(m * m / 8))
    places   (P, at most `most`): which of the J, best first, -1 for a proposal that was dropped
    valid    (m, m) bool: where the padded square shows the image
    """
    id: str
    labels: tuple[str, ...]
    prms: Tensor
    levels: list[Tensor]
    masks: np.ndarray
    places: Tensor
    valid: Tensor


def lessons(fcn: Fcn, samples: Sequence[Sample], loaders: Mapping[str, Loader], settings: FillingSettings,
            training: FillingTraining) -> list[Lesson]:
    """One forward pass over the training images; those without a peak of one of their labels are left out."""
    taught = []
    known_labels = torch.from_numpy(labels(samples, fcn.classes))
    label = f"{fcn.name}: peaks and their proposals"
    of_parts = zip(batches(samples, training.batch, label), known_labels.split(training.batch), strict=True)
    for part, their_labels in of_parts:
        choose = labelled(their_labels, settings.peaks)
        photos = [sample.photo() for sample in part]
        output = run_classifier(fcn, photos, training.side, training.map_side, choose)
        for place, sample in enumerate(part):
            alone = output.of_image(place)
            if len(alone.peaks):
                taught.append(_lesson(sample, alone, loaders[sample.id](), settings))
    if not taught:
        raise Problem(f"{fcn.name}: none of the {len(samples)} training images has a peak of one of its "
                      "labels; train the classifier longer.")
    return taught


def _lesson(sample: Sample, output: ClassifierOutput, proposals: np.ndarray,
            settings: FillingSettings) -> Lesson:
    masks = torch.from_numpy(proposals)
    prms = output.prms.cpu()
    best = _ranking(output, prms, masks, settings)
    used = best[best >= 0].unique()
    places = torch.full_like(best, -1)
    if len(used):
        places = torch.searchsorted(used, best.clamp(min=0)).masked_fill(best < 0, -1)
    side = prms.shape[-1]
    small = squared(masks[used], side)
    valid = squared(torch.ones(1, *masks.shape[1:], dtype=torch.bool), side)[0]
    # Values that sum to 1 over so many pixels are too small for half precision.
    scaled = each_maximum_is_one(prms)
    levels = [level[0].half().cpu() for level in output.levels]
    return Lesson(sample.id, sample.labels, scaled.half(), levels, pack(small.numpy()), places, valid)


def _ranking(output: ClassifierOutput, prms: Tensor, masks: Tensor,
             settings: FillingSettings) -> Tensor:
    """The places of each peak's best proposals, as of `ranked`, at the proposals' own size."""
    shape = masks.shape[1:]
    own = unsquared(prms, *shape)
    if settings.ranking == "retrieval":
        scores = retrieval_scores(own, masks, settings.retrieval, responses=class_responses(output, shape))
    else:
        scores = matching_scores(own, masks, settings.retrieval)
    return ranked(scores, own, masks, settings.retrieval.overlap, settings.most)


def squared(masks: Tensor, side: int) -> Tensor:
    """Masks `(J, H, W)` bool on the padded square `(J, side, side)` of an image's peak response maps."""
    if not len(masks):
        return masks.new_zeros(0, side, side)
    height, width = masks.shape[1:]
    scale = side / max(height, width)
    small_height = max(1, round(height * scale))
    small_width = max(1, round(width * scale))
    small = interpolate(masks[:, None].to(torch.uint8), (small_height, small_width), mode="nearest-exact")
    return pad(small[:, 0].bool(), (0, side - small_width, 0, side - small_height))


@dataclass(frozen=True)
class Batch:
    """P peaks of some images.

    prms      (P, m, m): response maps
    targets   (P, m, m): pseudo masks
    valid     (P, m, m): where they count
    levels    the images' feature maps
    image     (P,): whose peak it is
    """
    prms: Tensor
    targets: Tensor
    valid: Tensor
    levels: list[Tensor]
    image: Tensor


def batch_of(chosen: Sequence[Lesson], k: int, generator: torch.Generator,
             device: torch.device) -> Batch | None:
    """A proposal for every peak, drawn anew among its k best; peaks without any are left out.

    None where nothing is left.
    """
    prms = []
    targets = []
    valid = []
    image = []
    for number, lesson in enumerate(chosen):
        drawn = draw(candidates(lesson.places, k), generator)
        kept = (drawn >= 0).nonzero()[:, 0]
        side = lesson.prms.shape[-1]
        masks = unpack(lesson.masks[drawn[kept].numpy()], (side, side))
        prms.append(lesson.prms[kept].float())
        targets.append(torch.from_numpy(masks))
        valid.append(lesson.valid.expand(len(kept), -1, -1))
        image.append(torch.full((len(kept),), number))
    if not sum(map(len, prms)):
        return None
    levels = []
    for level in zip(*(lesson.levels for lesson in chosen), strict=True):
        levels.append(torch.stack(level).float().to(device))
    return Batch(torch.cat(prms).to(device), torch.cat(targets).to(device), torch.cat(valid).to(device),
                 levels, torch.cat(image).to(device))
