"""CSoA's tables: boxes of trained networks against the truth, at every threshold, from one CAM or from the union of both."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.dataset import Box, Sample
from lib.metrics.bootstrap import draws
from lib.metrics.localisation import Localised, best_overlap, centred, errors, max_box_acc, max_box_acc_v2, overlaps, truth_boxes, whole_image
from lib.nets.two_classifiers import TwoClassifiers
from lib.papers.csoa import binary, probabilities
from lib.papers.csoa_losses import own_map
from lib.progress import progress
from lib.training.csoa_batches import squeezed

MAPS = ("union", "s_l", "s_f")   # of both CAMs, or of one


@dataclass(frozen=True)
class Located:
    """What one network found on N images: the place of the true class, and the overlap of its boxes at T thresholds by map and rule."""
    ids: list[str]
    rank: np.ndarray                            # (N,)
    largest: Mapping[str, np.ndarray]           # map -> (N, T), the largest component's box
    every: np.ndarray                           # (N, T), the best of all components of the union (MaxBoxAccV2)

    def at(self, maps: str = "union") -> Localised:
        return Localised(self.rank, self.largest[maps])


@torch.inference_mode()
def locate(net: TwoClassifiers, samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]], side: int, thresholds: Sequence[float], batch: int,
           label: str) -> Located:
    """Maps of the true class at the image's size, binarised at every threshold (eq. 13), and their boxes (section 4.2)."""
    device = next(net.parameters()).device
    rank, found, every = [], {name: [] for name in (MAPS if net.w_f is not None else ("union", "s_l"))}, []
    for start in progress(range(0, len(samples), batch), label):
        part = samples[start:start + batch]
        classes = torch.tensor([net.classes.index(s.labels[0]) for s in part], device=device)
        s_l, s_f = net(torch.stack([squeezed(s.photo(), side) for s in part]).to(device, memory_format=torch.channels_last))
        rank += _ranks(probabilities(s_l, s_f), classes)
        own = {"s_l": own_map(s_l, classes)} | ({} if s_f is None else {"s_f": own_map(s_f, classes)})
        for place, sample in enumerate(part):
            size = sample.photo().size
            truth = truth_boxes(boxes[sample.id], sample.labels[0], size, sample.id)
            masks = _masks({name: maps[place] for name, maps in own.items()}, size, thresholds)
            for name in found:
                found[name].append([best_overlap(mask, truth, "largest") for mask in masks[name]])
            every.append([best_overlap(mask, truth, "all") for mask in masks["union"]])
    return Located([s.id for s in samples], np.array(rank), {name: np.array(rows) for name, rows in found.items()}, np.array(every))


def _ranks(scores: Tensor, classes: Tensor) -> list[int]:
    """The place of the true class, 0 for the best; of equal scores the first class comes first."""
    order = scores.argsort(1, descending=True, stable=True)
    return (order == classes[:, None]).int().argmax(1).tolist()


def _masks(maps: Mapping[str, Tensor], size: tuple[int, int], thresholds: Sequence[float]) -> dict[str, list[np.ndarray]]:
    """eq. 13 at every threshold, of each map `(h, w)` enlarged to the image's size (width, height), and the union of all."""
    large = {name: interpolate(m[None, None].float(), size[::-1], mode="bilinear", align_corners=False)[0, 0] for name, m in maps.items()}
    found = {name: [binary(m, threshold).cpu().numpy() for threshold in thresholds] for name, m in large.items()}
    return {"union": [np.logical_or.reduce(masks) for masks in zip(*found.values())]} | found


def baselines(samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]]) -> dict[str, np.ndarray]:
    """Overlaps `(N, 1)` of boxes that look at nothing: the whole image, and the centred one of half its area."""
    found: dict[str, list[float]] = {"whole_image": [], "centred_box": []}
    for sample in samples:
        size = sample.photo().size
        truth = truth_boxes(boxes[sample.id], sample.labels[0], size, sample.id)
        for name, box in (("whole_image", whole_image(size)), ("centred_box", centred(size))):
            found[name].append(float(overlaps(box, truth).max()))
    return {name: np.array(values)[:, None] for name, values in found.items()}


def scores(found: Sequence[Located], threshold: int, samples: int, seed: int, maps: str = "union") -> dict[str, np.ndarray]:
    """Every error, and MaxBoxAcc, MaxBoxAccV2, averaged over the seeds that were trained `(1 + samples,)`: draws take images and seeds."""
    weights = draws(len(found[0].ids), samples, seed)
    each = [errors(one.at(maps), weights, threshold) | {"max_box_acc": max_box_acc(one.largest[maps], weights), "max_box_acc_v2": max_box_acc_v2(one.every, weights)}
            for one in found]
    chosen = draws(len(found), samples, seed + 1)   # (1 + samples, seeds)
    return {metric: (chosen * np.stack([part[metric] for part in each], axis=1)).sum(1) for metric in each[0]}


def best_threshold(found: Sequence[Located], maps: str = "union") -> int:
    """Number of the threshold with the least top-1 localisation error, averaged over seeds; for validation images."""
    alike = np.full((1, len(found[0].ids)), 1 / len(found[0].ids))
    count = found[0].largest[maps].shape[1]
    return int(np.argmin([np.mean([errors(one.at(maps), alike, t)["loc1"][0] for one in found]) for t in range(count)]))
