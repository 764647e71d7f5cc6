"""PRM's retrieval of instance masks by peak response maps, and what IAM's pseudo masks are drawn from."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.papers.iam.settings import RetrievalSettings

BLOCK = 2 ** 24    # pixels of masks that are numbers (float32) at one time: 64 MiB
GAMMA_SIDE = 448   # of the image in whose pixels gamma counts


@dataclass(frozen=True)
class Retrieved:
    """Masks `(R, H, W)` bool with classes, confidences and their peaks' numbers `(R,)`, the surest first."""
    masks: Tensor
    classes: Tensor
    scores: Tensor
    peaks: Tensor


def retrieve(prms: Tensor, classes: Tensor, confidences: Tensor, proposals: Tensor,
             settings: RetrievalSettings, responses: Tensor | None = None) -> Retrieved:
    """PRM's instance masks: the best proposal of each peak, after non-maximum suppression.

    Arguments as of `retrieval_scores`, and the peaks' classes and confidences `(P,)`. A peak whose map is
    zero everywhere has no mask, and without proposals none has.
    """
    scores = retrieval_scores(prms, proposals, settings, responses=responses)
    is_empty = ~_any_pixel(proposals)
    scores = scores.masked_fill(is_empty.to(scores.device), -torch.inf)
    has_match = _any_pixel(prms > 0) & scores.isfinite().any(1)
    peaks = has_match.cpu().nonzero().flatten()
    best = scores.cpu()[peaks].argmax(1) if len(peaks) else peaks   # of equal scores the first
    masks = proposals[best.to(proposals.device)]
    classes = classes.cpu()[peaks]
    confidences = confidences.cpu()[peaks]
    kept = suppressed(masks, classes, confidences, settings.nms)
    return Retrieved(masks[kept.to(masks.device)], classes[kept], confidences[kept], peaks[kept])


def suppressed(masks: Tensor, classes: Tensor, confidences: Tensor, overlap: float) -> Tensor:
    """Non-maximum suppression: the positions of the masks `(R, H, W)` that remain, by falling confidence.

    Of two masks of a class that overlap by `overlap` or more the less confident goes.
    """
    is_rival = (mask_overlaps(masks, masks) >= overlap) & (classes[:, None] == classes)
    kept: list[int] = []
    for i in confidences.argsort(descending=True, stable=True).tolist():
        if not is_rival[i, kept].any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


def mask_overlaps(masks: Tensor, others: Tensor) -> Tensor:
    """Intersection over union `(J, T)` of masks `(J, H, W)` with others `(T, H, W)` bool.

    In float64, on the CPU; 0 where both are empty.
    """
    common = products(others.float(), masks).T.cpu().double()
    areas = masks.flatten(1).sum(1).cpu()
    other_areas = others.flatten(1).sum(1).cpu()
    union = areas[:, None] + other_areas - common
    return common / union.clamp(min=1)


def retrieval_scores(prms: Tensor, proposals: Tensor, settings: RetrievalSettings,
                     contours: Tensor | None = None, responses: Tensor | None = None) -> Tensor:
    """PRM's metric `(P, J)`: how well each proposal `(J, H, W)` bool fits each peak response map `(P, H, W)`.

    contours    those of the proposals, where they are known already
    responses   `(P, H, W)`: what tells background, the map of each peak's class; without them the peak
                response maps themselves
    """
    # PRM takes background from the class response map; IAM's section 3.2 leaves the term out.
    per_pixel = settings.gamma * GAMMA_SIDE ** 2 / max(proposals.shape[1] * proposals.shape[2], 1)
    told = prms if responses is None else responses
    if told.shape != prms.shape:
        raise Problem(f"There are class responses {tuple(told.shape)} for peak response maps "
                      f"{tuple(prms.shape)}; give one a peak, of the same size.")
    background = told < settings.background * told.mean((1, 2), keepdim=True)
    fit = matching_scores(prms, proposals, settings, contours)
    return fit - per_pixel * products(background, proposals)


def matching_scores(prms: Tensor, proposals: Tensor, settings: RetrievalSettings,
                    contours: Tensor | None = None) -> Tensor:
    """f_ij of section 3.2, `(P, J)`: the share of each map inside each proposal, and on its contour.

    Arguments as of `retrieval_scores`.
    """
    shares = normalised(prms, proposals)
    edges = contour(proposals, settings.width) if contours is None else contours
    on_contour = products(shares, edges)
    return settings.alpha * products(shares, proposals) + settings.beta * on_contour


def ranked(scores: Tensor, prms: Tensor, proposals: Tensor, overlap: float, most: int) -> Tensor:
    """The places of each peak's best proposals by scores `(P, J)`, best first: `(P, at most most)`.

    -1 stands for a proposal that holds less than `overlap` of every map.
    """
    if most < 1:
        raise Problem(f"k = {most}: at least one proposal must be kept for each peak; "
                      "give a whole number from 1.")
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :most]
    if not best.numel():
        return best
    # max_i M^i * S^j: what a proposal holds of any peak's map, not of its own.
    held = products(normalised(prms, proposals), proposals).amax(0)
    holds_too_little = held[best] < overlap
    has_no_map = ~_any_pixel(prms > 0)
    return best.masked_fill(holds_too_little | has_no_map[:, None], -1)


def candidates(places: Tensor, k: int) -> list[Tensor]:
    """Those of the `ranked` proposals from which a peak's pseudo masks are drawn, for a k up to `most`."""
    return [row[row >= 0] for row in places[:, :k]]


def draw(candidates: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """One of each peak's candidates at random, `(P,)`; -1 for a peak without any.

    Drawn anew for every forward pass (section 3.2).
    """
    uniform = torch.rand(len(candidates), generator=generator, dtype=torch.float64, device=generator.device)
    drawn = []
    for some, value in zip(candidates, uniform.tolist(), strict=True):
        drawn.append(int(some[int(value * len(some))]) if len(some) else -1)
    return torch.tensor(drawn, dtype=torch.long)


def contour(masks: Tensor, width: int = 3) -> Tensor:
    """The morphological gradient of masks `(J, H, W)` bool: dilation without erosion by a square.

    The image's border is no contour.
    """
    not_eroded = _dilated(~masks, width // 2)   # erosion is what the dilated rest leaves
    return _dilated(masks, width // 2) & not_eroded


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
        raise Problem(f"The peak response maps are {_size(prms)} pixels and the proposals "
                      f"{_size(proposals)}; bring both to one working size.")
    if not prms.isfinite().all() or (prms < 0).any():
        raise Problem("A peak response map holds negative values or some that are no finite numbers; clamp "
                      "it at 0, and leave it zero where there is nothing to divide by its sum.")
    total = prms.sum((1, 2), keepdim=True)
    return prms / torch.where(total > 0, total, 1)


def _size(maps: Tensor) -> str:
    return " x ".join(map(str, maps.shape[:0:-1]))


def _any_pixel(masks: Tensor) -> Tensor:
    return masks.flatten(1).any(1)


def _dilated(masks: Tensor, radius: int) -> Tensor:
    """Grown by a square of 2 radius + 1 pixels, first along rows, then along columns."""
    for axis in (1, 2):
        grown = masks.clone()
        for shift in range(1, min(radius, masks.shape[axis] - 1) + 1):
            rest = masks.shape[axis] - shift
            grown.narrow(axis, shift, rest).logical_or_(masks.narrow(axis, 0, rest))
            grown.narrow(axis, 0, rest).logical_or_(masks.narrow(axis, shift, rest))
        masks = grown
    return masks
