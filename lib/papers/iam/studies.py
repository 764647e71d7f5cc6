"""Questions of IAM's notebooks that no table of the paper answers.

How good are the proposals? What are pseudo masks worth, by what ranks the proposals (section 3.2)? On
validation images, whose truth is only looked at for this. And do filling weights turn at the boundaries of
objects (section 3.2, figure 5)? Arrows on either side of a boundary, and inside objects.
"""
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.data.dataset import VOID, Sample
from lib.metrics.bootstrap import Chance, Scores, Table, summarise, table
from lib.papers.iam.figures import field
from lib.papers.iam.instances import enlarged
from lib.papers.iam.method import class_responses, unsquared
from lib.papers.iam.prm import (
    contour,
    mask_overlaps,
    matching_scores,
    normalised,
    products,
    retrieval_scores,
)
from lib.papers.iam.rows import Scene
from lib.papers.iam.settings import IamSettings
from lib.papers.iam.trained import Trained
from lib.proposals.store import open_proposals, proposal_quality


def proposal_table(trained: Trained, samples: Sequence[Sample], chance: Chance) -> Table:
    """How well the proposals of images cover their objects."""
    loaders = open_proposals(trained.proposals, samples[0].split, [sample.id for sample in samples])
    quality = proposal_quality(samples, loaders)
    return table({"proposals": quality.scores(chance.draws(len(samples)))}, [], chance)


# Peak response maps, proposals, their contours and class responses -> scores (P, J).
Ranking = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def rankings(settings: IamSettings) -> dict[str, Ranking]:
    """The ways to rank proposals, by name."""
    retrieval = settings.retrieval

    def matching(prms: Tensor, masks: Tensor, edges: Tensor, responses: Tensor) -> Tensor:
        return matching_scores(prms, masks, retrieval, edges)

    def by_class_map(prms: Tensor, masks: Tensor, edges: Tensor, responses: Tensor) -> Tensor:
        return retrieval_scores(prms, masks, retrieval, edges, responses)

    def by_own_map(prms: Tensor, masks: Tensor, edges: Tensor, responses: Tensor) -> Tensor:
        return retrieval_scores(prms, masks, retrieval, edges)

    return {"matching": matching, "retrieval": by_class_map, "retrieval, background of the PRM": by_own_map}


@dataclass(frozen=True)
class PseudoMasks:
    """The k best proposals of one peak: mean overlap with its object and mean area, in percent."""
    overlap: float
    area: float


def target_rows(images: Sequence[Sequence[tuple[str, PseudoMasks]]],
                chance: Chance) -> dict[str, dict[str, dict[str, float]]]:
    """Rows `retrieval, k = 5`: mean overlap and area of the k best proposals, in percent.

    Over the peaks of all images, of each image what `pseudo_masks_of` finds in it.
    """
    rows: dict[str, list[tuple[int, PseudoMasks]]] = {}
    for image, found in enumerate(images):
        for row, pseudo_masks in found:
            rows.setdefault(row, []).append((image, pseudo_masks))
    weights = chance.draws(len(images))
    return summarise({row: _means(entries, weights) for row, entries in rows.items()}, chance.level)


def pseudo_masks_of(settings: IamSettings, scene: Scene,
                    ks: Sequence[int]) -> Iterator[tuple[str, PseudoMasks]]:
    """Row by row, for every peak that stands on an object of its class."""
    masks = torch.from_numpy(scene.proposals)
    shape = masks.shape[1:]
    truth = truth_masks(scene, shape)
    if not len(truth) or not len(masks):
        return
    prms = unsquared(scene.output.prms.cpu(), *shape)
    object_of = _objects(scene, prms, truth)
    overlap = mask_overlaps(masks, truth).float()
    area = masks.flatten(1).float().mean(1)
    edges = contour(masks, settings.retrieval.width)
    responses = class_responses(scene.output, shape)
    for name, score in rankings(settings).items():
        order = score(prms, masks, edges, responses).argsort(dim=1, descending=True, stable=True)
        for peak, place in object_of.items():
            for k in ks:
                best = order[peak, :k]
                yield f"{name}, k = {k}", PseudoMasks(100 * float(overlap[best, place].mean()),
                                                      100 * float(area[best].mean()))


def _objects(scene: Scene, prms: Tensor, truth: Tensor) -> dict[int, int]:
    """The object of each peak: the one of its class that holds most of its map; no entry without any."""
    held = products(normalised(prms, truth), truth)
    truth_classes = torch.tensor(list(scene.classes.values()))
    is_own_class = truth_classes[None] == scene.output.peaks.label.cpu()[:, None]
    held = torch.where(is_own_class & (held > 0), held, -1)
    peaks = (held.amax(1) > 0).nonzero()[:, 0].tolist()
    return {peak: int(held[peak].argmax()) for peak in peaks}


def truth_masks(scene: Scene, shape: Sequence[int]) -> Tensor:
    """The objects of an image at another size, `(T, *shape)` bool."""
    own = np.array([scene.numbers == number for number in scene.classes]).reshape(-1, *scene.shape)
    return torch.from_numpy(enlarged(torch.from_numpy(own), tuple(shape)))


def _means(entries: Sequence[tuple[int, PseudoMasks]], weights: np.ndarray) -> Scores:
    """Means over peaks, with images drawn with replacement."""
    images = np.array([image for image, _ in entries])
    overlap = np.array([pseudo_masks.overlap for _, pseudo_masks in entries])
    area = np.array([pseudo_masks.area for _, pseudo_masks in entries])
    own = weights[:, images]
    total = np.maximum(own.sum(1), 1e-12)
    return {"target_iou": (own @ overlap) / total, "target_area": (own @ area) / total}


APART = 4   # places of the encoded map between the two arrows of a pair


@dataclass(frozen=True)
class OpposedShares:
    """Opposed pairs of arrows of one image, in percent: across boundaries, and inside one object."""
    across: float
    inside: float


def opposed_shares(trained: Trained, scene: Scene) -> OpposedShares | None:
    """The shares of an image; None where it lacks pairs of either kind."""
    arrows, (x, y) = field(trained, scene)
    rows = (y * scene.shape[0]).astype(int)
    columns = (x * scene.shape[1]).astype(int)
    are_opposed = opposed(arrows, scene.numbers[rows, columns], APART)
    if not len(are_opposed.across) or not len(are_opposed.inside):
        return None
    return OpposedShares(100 * are_opposed.across.mean(), 100 * are_opposed.inside.mean())


def boundary_table(images: Sequence[OpposedShares | None], chance: Chance) -> Table:
    """Share of opposed pairs of arrows in percent, across boundaries and inside one object.

    Over images that have both kinds; nothing where none has.
    """
    shares = [image for image in images if image is not None]
    if not shares:
        return {}, {}
    weights = chance.draws(len(shares))
    across = np.array([image.across for image in shares])
    inside = np.array([image.inside for image in shares])
    scores: dict[str, Scores] = {"across": {"opposed": weights @ across},
                                 "inside": {"opposed": weights @ inside}}
    return table(scores, [("across", "inside")], chance)


@dataclass(frozen=True)
class Opposed:
    """Which pairs of arrows are opposed, bool: of pairs across a boundary, and of pairs on one object."""
    across: np.ndarray
    inside: np.ndarray


def opposed(arrows: np.ndarray, numbers: np.ndarray, apart: int) -> Opposed:
    """Pairs of arrows `(2, h, w)` that are `apart` places from each other in a row or column.

    They are opposed along it. Void places of the instance mask `(h, w)` take no part.
    """
    along_rows = _opposed_in_rows(arrows[0], numbers, apart)
    along_columns = _opposed_in_rows(arrows[1].T, numbers.T, apart)
    return Opposed(np.concatenate([along_rows.across, along_columns.across]),
                   np.concatenate([along_rows.inside, along_columns.inside]))


def _opposed_in_rows(components: np.ndarray, numbers: np.ndarray, apart: int) -> Opposed:
    """Pairs within the rows, by the arrows' components along them."""
    first, second = numbers[:, :-apart], numbers[:, apart:]
    against = components[:, :-apart] * components[:, apart:] < 0
    is_known = (first != VOID) & (second != VOID)
    return Opposed(against[is_known & (first != second)], against[is_known & (first == second) & (first > 0)])
