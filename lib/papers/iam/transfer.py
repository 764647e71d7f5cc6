"""IAM on what its filling module never learnt: finer classes (table 3), saliency (table 4), classes that were held out."""
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.data.dataset import Box, Sample
from lib.metrics.instances import Compared
from lib.metrics.localisation import Localised, best_overlap, centred, overlaps, truth_boxes, whole_image
from lib.metrics.scoring import Scored, batches
from lib.nets.fcn import Fcn
from lib.papers.csoa.runs import Located
from lib.papers.iam.method import Seen, activate, look, no_peaks, strongest, unsquared
from lib.papers.iam.rows import BATCH, Trained
from lib.papers.iam.settings import MAIN


def maps_of(of: Trained, seen: Seen, images: int) -> dict[str, Tensor]:
    """One map an image `(B, m, m)`, the maximum over the peaks of its best class: CAM, PRM, IAM, and IAM that never saw the held-out classes."""
    best, side = seen.scores.argmax(1), of.network.filling.map_side
    own = seen.maps[torch.arange(images), best][:, None]
    found = {"cam": torch.nn.functional.interpolate(own, (side, side), mode="bilinear", align_corners=False)[:, 0].clamp(min=0)}
    peaks = {"prm": seen.prms} | {row: activate(filling, seen) for row, filling in fillings(of).items()}
    return found | {row: torch.stack([maps[seen.peaks.image == b].amax(0) for b in range(images)]) for row, maps in peaks.items()}


def fillings(of: Trained) -> dict[str, torch.nn.Module]:
    """The main module of the first seed, and the one with classes held out, where there is one."""
    jobs = {job for job in of.fillings if job.unseen and job.seed == of.network.seeds[0]}
    return {"iam": of.of(MAIN)} | {"iam_unseen": of.fillings[job] for job in jobs}


def located(of: Trained, samples: Sequence[Sample], boxes: Mapping[str, Sequence[Box]]) -> dict[str, np.ndarray]:
    """Table 3: row -> overlaps `(N,)` of the box around the largest piece of what exceeds a map's mean with a truth box of the image's class."""
    found: dict[str, list[float]] = {}
    training = of.network.filling
    for part in batches(samples, BATCH, "boxes"):
        photos = [sample.photo() for sample in part]
        maps = maps_of(of, look(of.fcn, photos, training.side, training.map_side, strongest(of.settings.peaks)), len(part))
        for place, (sample, photo) in enumerate(zip(part, photos)):
            truth = truth_boxes(boxes[sample.id], sample.labels[0], photo.size, sample.id)
            for row, several in maps.items():
                heat = unsquared(several[place:place + 1], photo.height, photo.width)[0]
                found.setdefault(row, []).append(best_overlap((heat > heat.mean()).cpu().numpy(), truth, "largest"))
            for row, box in (("whole_image", whole_image(photo.size)), ("centred_box", centred(photo.size))):
                found.setdefault(row, []).append(float(overlaps(box, truth).max()))
    return {row: np.array(values) for row, values in found.items()}


def ranks_of(named: Located, ids: Sequence[str]) -> np.ndarray:
    """The places of the true classes `(N,)` by the network of another notebook, which must have looked at all of these images."""
    place = {id: i for i, id in enumerate(named.ids)}
    if missing := [id for id in ids if id not in place]:
        raise Problem(f'Notebook csoa did not look at the image "{missing[0]}", so its class is not known; run the stage csoa_train for all of them.')
    return named.rank[[place[id] for id in ids]]


def with_classes(overlap: np.ndarray, rank: np.ndarray) -> Localised:
    """Boxes that know no class, with the classes that another network named (place of the true one, 0 is best)."""
    return Localised(rank, overlap[:, None])


def salient(of: Trained, imagenet: Fcn, samples: Sequence[Sample]) -> Scored:
    """Table 4: peaks are those of an ImageNet network's best class; what is filled from there, and how far, the classifier and the filling
    modules say, which know nothing of those classes."""
    scored, training = Scored(), of.network.filling
    for part in batches(samples, BATCH, "saliency"):
        photos = [sample.photo() for sample in part]
        cues = look(imagenet, photos, training.side, training.map_side, strongest(of.settings.peaks))
        levels = look(of.fcn, photos, training.side, training.map_side, no_peaks).levels
        maps = maps_of(of, replace(cues, levels=levels), len(part))
        for place, (sample, photo) in enumerate(zip(part, photos)):
            heats = {row: unsquared(saliency(row, several[place:place + 1]), photo.height, photo.width)[None].cpu() for row, several in maps.items()}
            scored.add(heats, [sample])
    return scored


def saliency(row: str, maps: Tensor) -> Tensor:
    """A map `(1, m, m)` in 0..1; of an activation map what is above one half, as ReLU leaves of its logit (section 4.3)."""
    if row.startswith("iam"):
        maps = torch.logit(maps, 1e-6).clamp(min=0)
    return maps / maps.amax().clamp(min=1e-12)


def restricted(images: Sequence[Compared], classes: Sequence[int]) -> list[Compared]:
    """The same images with the predictions and truths of some classes alone."""
    return [_only(image, np.array(sorted(classes))) for image in images]


def _only(image: Compared, classes: np.ndarray) -> Compared:
    mine, true = np.isin(image.classes, classes), np.isin(image.truth_classes, classes)
    return Compared(image.classes[mine], image.scores[mine], image.iou[mine][:, true], image.truth_classes[true], image.truth_shares[true])
