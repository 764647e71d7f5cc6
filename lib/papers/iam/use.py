"""PRM and IAM on one's own photographs and data sets: `segment` and `evaluate` of the command line."""
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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
    from lib.papers.iam.instances import InstanceMasks

SEGMENTS = ("prm", "iam")
EVALUATES = ("iam",)
LEAST_HEAT = 0.5   # of a pixel of an instance, however unsure it is


def segmenter(request: Request, params: Any) -> Segmenter:
    """Photographs -> instances, by the tier's classifier and IAM-S5, or by the filling module in `weights`.

    The classifier in the folder above a module's own is the one that it was trained with, and goes before the
    tier's. PRM finds its proposals itself.
    """
    from lib.data.images import shrunk
    from lib.papers.iam.instances import REFINED_SIDE, by_convcrf, iam_instances, prm_instances
    from lib.papers.iam.method import activate, present, run_classifier
    from lib.proposals.segments import proposals

    settings = settings_of(params.iam_filling, params.iam)
    loaded = _loaded(request, params)

    def find(photo: Image.Image) -> Found:
        output = run_classifier(loaded.fcn, [photo], loaded.side, loaded.map_side, present(settings.peaks))
        if request.method == "iam":
            maps = activate(loaded.filling, output)
            instances = iam_instances(photo, output, maps, settings, by_convcrf(settings.crf))
        else:
            size = (photo.height, photo.width)
            instances = prm_instances(output, proposals(shrunk(photo, REFINED_SIDE)), size, settings)
        return _painted(instances, photo, loaded.fcn.classes)
    return lambda photos: [find(photo) for photo in photos]


def weights(request: Request, params: Any) -> list[Path]:
    """The files of the filling module, the tier's or the one that is given, and of its classifier."""
    from lib.papers.iam.settings import MAIN, FillingJob

    network = _network(request, params)
    folder = BUILD / request.tier / "iam_train" / network
    first = FillingJob(MAIN, params.tier[request.tier].iam_train.networks[network].seeds[0])
    filling = request.weights or folder / first.name / "weights.safetensors"
    beside = filling.parent.parent / "weights.safetensors"   # as the training stage leaves both
    return [filling, beside if beside.is_file() else folder / "weights.safetensors"]


def evaluate(request: Request, params: Any, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """Table 1's rows of PRM and IAM; proposals are found first, in a temporary folder. Every peak counts."""
    from lib.papers.iam.rows import table_rows
    from lib.papers.iam.settings import MAIN
    from lib.papers.iam.tables import every_peak, instance_table
    from lib.papers.iam.trained import open_trained, same_classes
    from lib.proposals.store import compute

    if request.weights is not None:
        raise Problem("--weights: IAM is evaluated with all networks that the tier trained; leave it out.")
    network = _network(request, params)
    run = params.tier[request.tier].iam_train
    settings = settings_of(params.iam_filling, params.iam)
    with tempfile.TemporaryDirectory() as folder:
        proposals = Path(folder)
        trained = open_trained(network, run, settings, dataset, BUILD / request.tier / "iam_train", proposals)
        same_classes(trained.fcn, dataset)
        for kind in ("class_masks", "instance_masks"):
            samples[0].mask(kind)   # one that is missing is named before the expensive part
        compute(dataset, {request.split: request.images}, proposals, {})
        rows = table_rows(trained, samples, [MAIN], "comparing")
    scores, _ = instance_table(every_peak(rows), [], params.chance)
    return Evaluated(network, len(samples), scores)


def _painted(instances: "InstanceMasks", photo: Image.Image, classes: Sequence[str]) -> Found:
    """The most confident instance on top; a pixel's foreground value is the confidence of its instance."""
    import torch

    labels = np.zeros((photo.height, photo.width), np.uint8)
    heat = np.zeros((photo.height, photo.width), np.float32)
    for number in range(len(instances.masks))[::-1]:
        mask = instances.masks[number]
        labels[mask] = instances.classes[number] + 1
        heat[mask] = max(LEAST_HEAT, instances.scores[number])
    pairs = zip(instances.classes, instances.scores, strict=True)
    names = [f"{classes[k]} {score:.2f}" for k, score in pairs]
    return Found(torch.from_numpy(heat)[None], labels, classes, names)


@dataclass(frozen=True)
class _Loaded:
    """Classifier and filling module, and the sides of the squares and maps that they were trained on."""
    fcn: "Fcn"
    filling: "ExtentFilling"
    side: int
    map_side: int


def _loaded(request: Request, params: Any) -> _Loaded:
    from lib.base.parallel import device
    from lib.nets.fcn import load_fcn
    from lib.papers.iam.filling import load_filling, read_filling

    network = _network(request, params)
    filling_file, classifier_file = weights(request, params)
    header = read_filling(filling_file)
    fcn = load_fcn(classifier_file, network).to(device())
    filling = load_filling(filling_file, network).to(device())
    return _Loaded(fcn, filling, header["side"], header["map_side"])


def _network(request: Request, params: Any) -> str:
    networks = params.tier[request.tier].iam_train.networks
    if request.network not in (None, *networks):
        raise Problem(f'--network: IAM is not trained with "{request.network}" in tier {request.tier}'
                      f"{nearest(request.network, networks)}")
    return request.network or next(iter(networks))
