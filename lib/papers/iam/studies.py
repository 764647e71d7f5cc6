"""What pseudo masks are worth, by what ranks the proposals (section 3.2): of validation images, whose truth is only looked at for this."""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.data.dataset import VOID, Sample
from lib.metrics.bootstrap import Scores, compare, draws, summarise
from lib.papers.iam.figures import field
from lib.papers.iam.instances import enlarged
from lib.papers.iam.method import responses, unsquared
from lib.papers.iam.prm import contour, matching_scores, normalised, products, retrieval_scores
from lib.papers.iam.rows import Scene, Trained, scenes
from lib.papers.iam.settings import MAIN, FillingJob, IamSettings


def rankings(settings: IamSettings) -> dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]]:
    """Name -> scores `(P, J)` from maps, proposals, their contours and class responses."""
    retrieval = settings.retrieval
    return {"matching": lambda maps, masks, edges, _: matching_scores(maps, masks, retrieval, edges),
            "retrieval": lambda maps, masks, edges, told: retrieval_scores(maps, masks, retrieval, edges, told),
            "retrieval, background of the PRM": lambda maps, masks, edges, _: retrieval_scores(maps, masks, retrieval, edges)}


def target_rows(of: Trained, samples: Sequence[Sample], ks: Sequence[int], chance: tuple[int, float, int]) -> dict[str, Any]:
    """Rows `retrieval, k = 5`: mean overlap and area of the k best proposals, in percent, over peaks that stand on an object of their class."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for number, scene in enumerate(scenes(of, samples, [], "pseudo masks")):
        for row, overlap, area in _of_scene(of, scene, ks):
            found.setdefault(row, []).append((number, overlap, area))
    weights = draws(len(samples), chance[0], chance[2])
    return summarise({row: _means(rows, weights) for row, rows in found.items()}, chance[1])


def _of_scene(of: Trained, scene: Scene, ks: Sequence[int]) -> list[tuple[str, float, float]]:
    masks, shape = torch.from_numpy(scene.proposals), scene.proposals.shape[1:]
    maps = unsquared(scene.seen.prms.cpu(), *shape)
    truth = truth_masks(scene, shape)
    share, overlap = products(normalised(maps, truth), truth), overlaps(masks, truth)
    area, edges, told, rows = masks.flatten(1).float().mean(1), contour(masks, of.settings.retrieval.width), responses(scene.seen, shape), []
    own = torch.tensor(list(scene.classes.values()))[None] == scene.seen.peaks.label.cpu()[:, None]
    place = torch.where(own & (share > 0), share, -1)
    for name, score in rankings(of.settings).items():
        order = score(maps, masks, edges, told).argsort(dim=1, descending=True, stable=True)
        for p in (place.amax(1) > 0).nonzero()[:, 0].tolist() if len(truth) and len(masks) else ():
            for k in ks:
                best = order[p, :k]
                rows.append((f"{name}, k = {k}", 100 * float(overlap[best, place[p].argmax()].mean()), 100 * float(area[best].mean())))
    return rows


def overlaps(masks: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union `(J, T)` of masks `(J, H, W)` with masks `(T, H, W)`."""
    common = products(truth.float(), masks).T
    return common / (masks.flatten(1).sum(1)[:, None] + truth.flatten(1).sum(1) - common).clamp(min=1)


def truth_masks(scene: Scene, shape: Sequence[int]) -> Tensor:
    """The objects of an image at another size, `(T, *shape)` bool."""
    own = np.array([scene.numbers == number for number in scene.classes]).reshape(-1, *scene.shape)
    return torch.from_numpy(enlarged(torch.from_numpy(own), tuple(shape)))


def _means(rows: Sequence[tuple[int, float, float]], weights: np.ndarray) -> Scores:
    """Over peaks, images drawn with replacement."""
    image, *columns = np.array(rows).T
    own = weights[:, image.astype(int)]
    return {metric: (own @ column) / np.maximum(own.sum(1), 1e-12) for metric, column in zip(("target_iou", "target_area"), columns)}


APART = 4   # places of the encoded map between the two arrows of a pair


def boundary_table(of: Trained, samples: Sequence[Sample], chance: tuple[int, float, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Share of opposed pairs of arrows in percent, across boundaries and inside one object; over images that have both kinds;
    nothing where none has."""
    job, found = FillingJob(MAIN, of.network.seeds[0]), []
    for scene in scenes(of, samples, [job], "arrows at boundaries"):
        arrows, (x, y) = field(of, scene, job)
        rows, columns = ((places * n).astype(int) for places, n in ((y, scene.shape[0]), (x, scene.shape[1])))
        across, inside = opposed(arrows, scene.numbers[rows, columns])
        if len(across) and len(inside):
            found.append((100 * across.mean(), 100 * inside.mean()))
    if not found:
        return {}, {}
    values = np.array(found)
    weights = draws(len(values), chance[0], chance[2])
    scored: dict[str, Scores] = {row: {"opposed": weights @ column} for row, column in zip(("across", "inside"), values.T)}
    return summarise(scored, chance[1]), compare(scored, [("across", "inside")], chance[1])


def opposed(arrows: np.ndarray, numbers: np.ndarray, apart: int = APART) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs of arrows `(2, h, w)`, `apart` places from each other in a row or column, point in opposite directions along it.

    Booleans: of pairs across a boundary of the instance mask `(h, w)`, and of pairs on one object. Void places take no part.
    """
    across, inside = [], []
    for part, labels in ((arrows[0], numbers), (arrows[1].T, numbers.T)):   # to the right along rows, down along columns
        first, second, a, b = part[:, :-apart], part[:, apart:], labels[:, :-apart], labels[:, apart:]
        against, known = first * second < 0, (a != VOID) & (b != VOID)
        across.append(against[known & (a != b)])
        inside.append(against[known & (a == b) & (a > 0)])
    return np.concatenate(across), np.concatenate(inside)
