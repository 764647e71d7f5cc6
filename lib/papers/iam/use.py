"""PRM and IAM on one's own photographs and data sets: `segment` and `evaluate` of the command line."""
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lib.base.paths import BUILD
from lib.base.problem import Problem, nearest
from lib.papers.found import Evaluated, Found, Request, Segmenter
from lib.papers.iam.settings import settings_of

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample
    from lib.nets.fcn import Fcn
    from lib.papers.iam.filling import ExtentFilling
    from lib.papers.iam.instances import Found as Instances

SEGMENTS = ("prm", "iam")
EVALUATES = ("iam",)


def segmenter(request: Request, params: Any) -> Segmenter:
    """Photographs -> instances, by the tier's classifier and IAM-S5, or the filling module in `weights` on that classifier.

    PRM finds its proposals itself.
    """
    from lib.data.images import shrunk
    from lib.papers.iam.instances import SIDE, by_convcrf, iam_instances, prm_instances
    from lib.papers.iam.method import activate, look, present
    from lib.proposals.segments import proposals

    settings = settings_of(params.iam_filling, params.iam)
    fcn, filling, side, map_side = _trained(request, params)

    def find(photo: Image.Image) -> Found:
        seen = look(fcn, [photo], side, map_side, present(settings.peaks))
        if request.method == "iam":
            instances = iam_instances(photo, seen, activate(filling, seen), settings, by_convcrf(settings.crf))
        else:
            size = (photo.height, photo.width)
            instances = prm_instances(seen, proposals(shrunk(photo, SIDE)), size, settings)
        return _found(instances, photo, fcn.classes)
    return lambda photos: [find(photo) for photo in photos]


def evaluate(request: Request, params: Any, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """Table 1's rows of PRM and IAM; proposals are found first, in a temporary folder. Every peak counts."""
    from lib.papers.iam.rows import opened, same_classes, table_rows
    from lib.papers.iam.settings import MAIN
    from lib.papers.iam.tables import by_seed, table
    from lib.proposals.store import compute

    network = _network(request, params)
    run = params.tier[request.tier].iam_train
    build = BUILD / request.tier
    settings = settings_of(params.iam_filling, params.iam)
    of = opened(run, settings, [network], dataset.folder, build / "iam_train", build / "proposals")[network]
    same_classes(of.fcn, dataset)
    for kind in ("class_masks", "instance_masks"):
        samples[0].mask(kind)   # one that is missing is named before the expensive part
    with tempfile.TemporaryDirectory() as folder:
        compute(dataset, {request.split: request.images}, Path(folder), {})
        rows = by_seed(table_rows(of.on(Path(folder)), samples, [MAIN], [], "comparing"))
    compared = {}
    for row, seeds in rows.items():
        compared[row] = [[image.compared for image in images] for images in seeds]
    chance = params.chance
    return Evaluated(network, len(samples), table(compared, {}, [], (chance.samples, chance.level, chance.seed))[0])


def _found(instances: "Instances", photo: Image.Image, classes: Sequence[str]) -> Found:
    """The most confident instance on top; a pixel's foreground value is the confidence of its instance, at least one half."""
    import torch

    labels, heat = np.zeros((photo.height, photo.width), np.uint8), np.zeros((photo.height, photo.width), np.float32)
    for mask, label, score in list(zip(instances.masks, instances.classes, instances.scores))[::-1]:
        labels[mask], heat[mask] = label + 1, max(0.5, score)
    return Found(torch.from_numpy(heat)[None], labels, classes, [f"{classes[k]} {score:.2f}" for k, score in zip(instances.classes, instances.scores)])


def _trained(request: Request, params: Any) -> "tuple[Fcn, ExtentFilling, int, int]":
    """Classifier, filling module, and the sides of what both see."""
    from lib.base.parallel import device
    from lib.nets.fcn import load_fcn
    from lib.papers.iam.filling import load_filling, read_filling
    from lib.papers.iam.settings import MAIN, FillingJob

    network = _network(request, params)
    folder = BUILD / request.tier / "iam_train" / network
    first = FillingJob(MAIN, params.tier[request.tier].iam_train.networks[network].seeds[0])
    weights = request.weights or folder / first.name / "weights.safetensors"
    header = read_filling(weights)
    fcn = load_fcn(folder / "weights.safetensors", network).to(device())
    filling = load_filling(weights, network).to(device())
    return fcn, filling, header["side"], header["map_side"]


def _network(request: Request, params: Any) -> str:
    networks = params.tier[request.tier].iam_train.networks
    if request.network not in (None, *networks):
        raise Problem(f'--network: IAM is not trained with "{request.network}" in tier {request.tier}'
                      f"{nearest(request.network, networks)}")
    return request.network or next(iter(networks))
