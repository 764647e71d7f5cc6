"""The poster's rows beside DCSM's on the same images."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from lib.data.dataset import Sample
from lib.data.proposals import objectness, proposals, quality
from lib.metrics.bootstrap import draws, summarise
from lib.metrics.miou import Confusions, confusion
from lib.nets.fcn import Fcn
from lib.papers.dcsm import enlarge, enlarged, pixels, saliency, to_input
from lib.papers.dcsm_blocks import blocks
from lib.papers.dcsm_maps import load_raw, load_scores
from lib.papers.dcsm_settings import DcsmSettings
from lib.papers.dcsm_tables import Items, Row, Split, label_maps
from lib.papers.fcn_gbp import fcn_gbp, fcn_mcg, zof_gbp
from lib.papers.fcn_gbp_settings import FcnGbpSettings, ZofSettings
from lib.papers.mi_svm import MiSvm, train_mi_svm
from lib.progress import progress
from lib.refine.superpixels import pool, slic

ALPHAS = (1.0, 2.0, 4.0)   # tried on validation images


@torch.inference_mode()
def zoom_out(fcn: Fcn, sample: Sample, settings: ZofSettings, side: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Superpixels `(H, W)`, their zoom-out features `(R, D)`: the last layer of every block above the first two and the trunk's last map,
    averaged over each; and the score maps `(K, h, w)` of the same forward pass."""
    photo = sample.photo()
    names = [*dict.fromkeys([*(layers[-1] for layers in list(blocks(fcn.trunk).values())[2:]), fcn.trunk.features])]
    device = next(fcn.parameters()).device
    scores, found = fcn.look(to_input(photo, side).to(device), names)
    labels = slic(photo, settings.superpixels)
    return labels, torch.cat([pool(maps[0].cpu().contiguous(), labels) for maps in found.values()], 1).numpy(), scores[0].cpu()


def train_zof(fcn: Fcn, samples: Sequence[Sample], settings: ZofSettings, side: int, seed: int) -> MiSvm:
    """mi-SVM on the superpixels of training images, from image labels alone; every class needs an image."""
    features, bags = [], []
    for number, sample in enumerate(progress(list(samples), "zoom-out features")):
        found = zoom_out(fcn, sample, settings, side)[1]
        features.append(found)
        bags.append(np.full(len(found), number))
    labels = np.array([[name in sample.labels for name in fcn.classes] for sample in samples])
    return train_mi_svm(np.concatenate(features), np.concatenate(bags), labels, fcn.classes, settings.rounds, settings.negatives, settings.c,
                        settings.balanced, seed)


def covering(samples: Sequence[Sample], classes: Sequence[str], images: int) -> list[Sample]:
    """About `images` training images in which every class has its share: in turn the next image of each class that is not there yet."""
    queues = {name: [s for s in samples if name in s.labels] for name in classes}
    chosen: dict[str, Sample] = {}
    while len(chosen) < min(images, len(samples)) and any(queues.values()):
        for name in classes:
            while queues[name] and queues[name][0].id in chosen:
                queues[name].pop(0)
            if queues[name] and len(chosen) < images:
                sample = queues[name].pop(0)
                chosen[sample.id] = sample
    return list(chosen.values())


def score_poster(fcn: Fcn, items: Items, zof: MiSvm, settings: FcnGbpSettings, ours: DcsmSettings, split: Split, side: int,
                 rows: Mapping[str, FcnGbpSettings] | None = None) -> tuple[dict[str, Confusions], np.ndarray]:
    """Confusion matrices of fcn_gbp, zof_gbp, fcn_mcg and dcsm, or of the first three under several settings `{suffix: settings}`;
    and the best overlap of the proposals with every true object."""
    found: dict[str, list[np.ndarray]] = {}
    overlaps: list[np.ndarray] = []
    for sample, path in progress(list(items), f"poster, {fcn.name}"):
        labels, features, scores = zoom_out(fcn, sample, settings.zof, pixels(sorted(ours.scales)[len(ours.scales) // 2], side))
        raw = load_raw(path)
        kept, probability = raw.candidates.order[:raw.candidates.kept], torch.from_numpy(load_scores(path).max(0))
        maps = saliency(enlarged(raw, ours.map_stride), replace(ours, candidates=0), split.blocks)   # the poster does not subtract
        photo = sample.photo()
        masks = proposals(photo)
        overlaps.append(quality(masks, *_objects(sample)))
        objects, superpixels = objectness(photo, masks), zof.probability(features)
        results = {} if rows else label_maps(sample, path, {"dcsm": Row(ours)}, split)
        for suffix, chosen in (rows or {"": settings}).items():
            results |= {f"fcn_gbp{suffix}": fcn_gbp(photo, scores, probability, maps, kept, chosen),
                        f"zof_gbp{suffix}": zof_gbp(photo, labels, superpixels, probability, maps, kept, chosen),
                        f"fcn_mcg{suffix}": fcn_mcg(photo, scores, probability, objects, chosen)}
        for name, result in results.items():
            found.setdefault(name, []).append(confusion(sample.mask("class_masks"), result, len(split.classes) + 1))
    return {name: Confusions.of(matrices) for name, matrices in found.items()}, np.array([(len(o), o.sum(), (o >= 0.5).sum()) for o in overlaps])


def choices(settings: FcnGbpSettings) -> dict[str, FcnGbpSettings]:
    """What the poster leaves open, to be chosen on validation images."""
    return {f" {how} {maximum} {alpha:g}": replace(settings, enhance=how, maximum=maximum, alpha=alpha)
            for how, maximum, alpha in product(("product", "geometric"), ("image", "class"), ALPHAS)}


def proposal_table(counts: np.ndarray, samples: int, level: float, seed: int) -> dict[str, dict]:
    """The proposals' own quality from (objects, sum of overlaps, found at 0.5) of each image."""
    objects, overlap, hits = (draws(len(counts), samples, seed) @ counts).T
    return summarise({"proposals": {"recall": 100 * hits / objects, "abo": 100 * overlap / objects}}, level)


def _objects(sample: Sample) -> tuple[list[np.ndarray], np.ndarray]:
    """True objects and the pixels that are not void; where there are no instance masks, the classes of the class mask."""
    kind = "instance_masks" if (sample.folder / "instance_masks" / f"{sample.id}.png").exists() else "class_masks"
    truth = sample.mask(kind)
    return [truth == number for number in np.unique(truth) if number not in (0, 255)], truth != 255
