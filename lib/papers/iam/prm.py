"""Peak response maps and segment proposals: PRM's retrieval of instance masks, and the pseudo masks from which IAM learns (section 3.2)."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.papers.iam.settings import RetrievalSettings

BLOCK = 2 ** 24   # pixels of masks that are numbers (float32) at one time: 64 MiB
SIDE = 448        # of the image in whose pixels gamma counts


@dataclass(frozen=True)
class Instances:
    """Masks `(R, H, W)` bool with class numbers, confidences and the numbers of their peaks `(R,)`, the most confident first."""
    masks: Tensor
    classes: Tensor
    scores: Tensor
    peaks: Tensor


def retrieve(prms: Tensor, classes: Tensor, confidences: Tensor, proposals: Tensor, settings: RetrievalSettings,
             responses: Tensor | None = None) -> Instances:
    """PRM's instance masks: for each peak the proposal that fits best, then non-maximum suppression within each class.

    Arguments as of `retrieval_scores`, and the peaks' classes and confidences `(P,)`. A peak whose map is zero everywhere has no mask,
    and without proposals none has.
    """
    scores = retrieval_scores(prms, proposals, settings, responses=responses)
    scores = scores.masked_fill(~_any_pixel(proposals).to(scores.device), -torch.inf)
    seen = torch.zeros(len(prms), dtype=torch.bool) if not len(proposals) else (_any_pixel(prms > 0) & scores.isfinite().any(1)).cpu()
    peaks = seen.nonzero().flatten()
    best = scores.cpu()[peaks].argmax(1) if len(peaks) else peaks   # of equal scores the first
    masks, classes, confidences = proposals[best.to(proposals.device)], classes.cpu()[peaks], confidences.cpu()[peaks]
    kept = suppressed(masks, classes, confidences, settings.nms)
    return Instances(masks[kept.to(masks.device)], classes[kept], confidences[kept], peaks[kept])


def suppressed(masks: Tensor, classes: Tensor, confidences: Tensor, overlap: float) -> Tensor:
    """Positions, by falling confidence, of the masks `(R, H, W)` that remain where of two of a class and `overlap` or more the lesser goes."""
    common = products(masks.float(), masks).cpu().double()
    area = common.diagonal()
    rivals = (common / (area[:, None] + area - common) >= overlap) & (classes[:, None] == classes)
    kept: list[int] = []
    for i in confidences.argsort(descending=True, stable=True).tolist():
        if not rivals[i, kept].any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


def retrieval_scores(prms: Tensor, proposals: Tensor, settings: RetrievalSettings, contours: Tensor | None = None,
                     responses: Tensor | None = None) -> Tensor:
    """How well each proposal `(J, H, W)` bool fits each peak response map `(P, H, W)`: `(P, J)`, PRM's metric.

    contours: those of the proposals, where they are known already. responses `(P, H, W)`: what tells background, the map of each peak's
    class; the peak response maps themselves where it is not given.
    """
    # PRM takes background from the class response map; IAM's section 3.2 leaves the term out.
    per_pixel = settings.gamma * SIDE ** 2 / max(proposals.shape[1] * proposals.shape[2], 1)
    told = prms if responses is None else responses
    if told.shape != prms.shape:
        raise Problem(f"There are class responses {tuple(told.shape)} for peak response maps {tuple(prms.shape)}; give one a peak, of the same size.")
    background = told < settings.background * told.mean((1, 2), keepdim=True)
    return matching_scores(prms, proposals, settings, contours) - per_pixel * products(background, proposals)


def matching_scores(prms: Tensor, proposals: Tensor, settings: RetrievalSettings, contours: Tensor | None = None) -> Tensor:
    """f_ij of section 3.2, `(P, J)`: the share of each map inside each proposal, and on its contour. Arguments as of `retrieval_scores`."""
    shares = normalised(prms, proposals)
    on_contour = products(shares, contour(proposals, settings.width) if contours is None else contours)
    return settings.alpha * products(shares, proposals) + settings.beta * on_contour


def pseudo_masks(prms: Tensor, proposals: Tensor, settings: RetrievalSettings, k: int, contours: Tensor | None = None) -> list[Tensor]:
    """For each of the P peaks the positions of its at most k candidates among the proposals, best first; maybe none.

    Arguments as of `retrieval_scores`. Of the k best by `matching_scores` those go that hold less than `settings.overlap` of every map.
    """
    return candidates(ranked(matching_scores(prms, proposals, settings, contours), prms, proposals, settings.overlap, k), k)


def ranked(scores: Tensor, prms: Tensor, proposals: Tensor, overlap: float, most: int) -> Tensor:
    """The places of each peak's `most` best proposals by scores `(P, J)`: `(P, at most most)`, best first; -1 for those that hold less than
    `overlap` of every map."""
    if most < 1:
        raise Problem(f"k = {most}: at least one proposal must be kept for each peak; give a whole number from 1.")
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :most]
    if not best.numel():
        return best
    held = products(normalised(prms, proposals), proposals).amax(0)   # max_i M^i * S^j: of any peak, not of one's own
    return best.masked_fill((held[best] < overlap) | ~_any_pixel(prms > 0)[:, None], -1)


def candidates(places: Tensor, k: int) -> list[Tensor]:
    """Of `ranked` proposals those from which each peak's pseudo masks are drawn, for a k up to `most`."""
    return [row[row >= 0] for row in places[:, :k]]


def draw(candidates: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """One of each peak's candidates at random, `(P,)`; -1 for a peak without any. Drawn anew for every forward pass (section 3.2)."""
    chance = torch.rand(len(candidates), generator=generator, dtype=torch.float64, device=generator.device).tolist()
    return torch.tensor([int(some[int(c * len(some))]) if len(some) else -1 for some, c in zip(candidates, chance, strict=True)], dtype=torch.long)


def contour(masks: Tensor, width: int = 3) -> Tensor:
    """The morphological gradient of masks `(J, H, W)` bool: dilation without erosion by a square. The image's border is no contour."""
    return _dilated(masks, width // 2) & _dilated(~masks, width // 2)   # erosion is what the dilated rest leaves


def products(maps: Tensor, masks: Tensor) -> Tensor:
    """The sum of each map `(P, H, W)` inside each mask `(J, H, W)` bool: `(P, J)` on the maps' device.

    One matrix product over all of them, of which a block of masks at a time becomes numbers.
    """
    rows = maps.flatten(1).float()
    blocks = masks.split(max(1, BLOCK // max(rows.shape[1], 1)))
    return torch.cat([rows @ block.flatten(1).to(rows).T for block in blocks], dim=1)


def normalised(prms: Tensor, proposals: Tensor) -> Tensor:
    """Maps `(P, H, W)` that sum to 1, or are zero everywhere; checked to be of the proposals' size."""
    if prms.shape[1:] != proposals.shape[1:]:
        sizes = [" x ".join(map(str, maps.shape[:0:-1])) for maps in (prms, proposals)]
        raise Problem(f"The peak response maps are {sizes[0]} pixels and the proposals {sizes[1]}; bring both to one working size.")
    if not prms.isfinite().all() or (prms < 0).any():
        raise Problem("A peak response map holds negative values or some that are no finite numbers; clamp it at 0, and leave it zero "
                      "where there is nothing to divide by its sum.")
    total = prms.sum((1, 2), keepdim=True)
    return prms / torch.where(total > 0, total, 1)


def _any_pixel(masks: Tensor) -> Tensor:
    return masks.flatten(1).any(1)


def _dilated(masks: Tensor, radius: int) -> Tensor:
    """By a square of 2 radius + 1 pixels, first along rows, then along columns."""
    for axis in (1, 2):
        grown = masks.clone()
        for shift in range(1, min(radius, masks.shape[axis] - 1) + 1):
            rest = masks.shape[axis] - shift
            grown.narrow(axis, shift, rest).logical_or_(masks.narrow(axis, 0, rest))
            grown.narrow(axis, 0, rest).logical_or_(masks.narrow(axis, shift, rest))
        masks = grown
    return masks
