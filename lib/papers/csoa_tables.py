"""CSoA's tables: errors of trained networks over images and seeds, and of boxes that look at nothing."""
from collections.abc import Mapping, Sequence

import numpy as np

from lib.data.dataset import Box, Sample
from lib.metrics.bootstrap import draws
from lib.metrics.localisation import centred, errors, max_box_acc, max_box_acc_v2, overlaps, truth_boxes, whole_image
from lib.papers.csoa_locate import Located


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
