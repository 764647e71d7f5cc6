"""What `python -m lib segment prm`, `segment iam` and `evaluate iam` do."""
import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib.base.paths import BUILD
from lib.base.problem import Problem, nearest
from lib.papers.found import Found, Method
from lib.papers.iam.settings import settings_of
from lib.params import Params, load_params, tier_of

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample
    from lib.nets.fcn import Fcn
    from lib.papers.iam.filling import ExtentFilling
    from lib.papers.iam.instances import Found as Instances


def segmenter(args: argparse.Namespace) -> Method:
    """By the tier's classifier and IAM-S5, or, with --weights, that filling module on the tier's classifier; PRM finds its proposals itself."""
    from lib.data.images import shrunk
    from lib.papers.iam.instances import SIDE, by_convcrf, iam_instances, prm_instances
    from lib.papers.iam.method import activate, look, present
    from lib.proposals.segments import proposals

    params = load_params()
    settings, (fcn, filling, side, map_side) = settings_of(params.iam_filling, params.iam), _trained(args, params)

    def found(photo: Image.Image) -> Found:
        seen = look(fcn, [photo], side, map_side, present(settings.peaks))
        instances = (iam_instances(photo, seen, activate(filling, seen), settings, by_convcrf(settings.crf)) if args.method == "iam" else
                     prm_instances(seen, proposals(shrunk(photo, SIDE)), (photo.height, photo.width), settings))
        return _as_found(instances, photo, fcn.classes)
    return lambda photos: [found(photo) for photo in photos]


def evaluate(args: argparse.Namespace, dataset: "Dataset", samples: Sequence["Sample"]) -> tuple[str, str, dict]:
    """Table 1's rows of PRM and IAM; proposals are found first, in a folder for the time being. Every peak counts."""
    import tempfile

    from lib.papers.iam.rows import opened, same_classes, table_rows
    from lib.papers.iam.settings import MAIN
    from lib.papers.iam.tables import by_seed, table
    from lib.proposals.store import compute

    params = load_params()
    network, chance = _network(args, params), params.bootstrap
    run, build = params.tier[args.tier].iam_train, BUILD / args.tier
    of = opened(run, settings_of(params.iam_filling, params.iam), [network], args.data, build / "iam_train", build / "proposals")[network]
    same_classes(of.fcn, dataset)
    for kind in ("class_masks", "instance_masks"):
        samples[0].mask(kind)   # what is missing is named before the expensive part
    with tempfile.TemporaryDirectory() as folder:
        compute(dataset, {args.split: args.images}, Path(folder), [])
        rows = by_seed(table_rows(of.on(Path(folder)), samples, [MAIN], [], "comparing"))
    found = {row: [[image.compared for image in images] for images in seeds] for row, seeds in rows.items()}
    return network, f"{len(samples)} images", table(found, {}, [], (chance.samples, chance.level, params.seed))[0]


def _as_found(instances: "Instances", photo: Image.Image, classes: Sequence[str]) -> Found:
    """The most confident instance on top; a pixel's foreground value is the confidence of its instance, at least one half."""
    import torch

    labels, heat = np.zeros((photo.height, photo.width), np.uint8), np.zeros((photo.height, photo.width), np.float32)
    for mask, label, score in list(zip(instances.masks, instances.classes, instances.scores))[::-1]:
        labels[mask], heat[mask] = label + 1, max(0.5, score)
    return Found(torch.from_numpy(heat)[None], labels, classes, [f"{classes[k]} {score:.2f}" for k, score in zip(instances.classes, instances.scores)])


def _trained(args: argparse.Namespace, params: Params) -> "tuple[Fcn, ExtentFilling, int, int]":
    """Classifier, filling module, and the sides of what both see."""
    from lib.base.parallel import device_here
    from lib.nets.fcn import load_fcn
    from lib.papers.iam.filling import load_filling, read_filling
    from lib.papers.iam.settings import MAIN, FillingJob

    network = _network(args, params)
    folder, seeds = BUILD / args.tier / "iam_train" / network, params.tier[args.tier].iam_train.networks[network].seeds
    weights = args.weights or folder / FillingJob(MAIN, seeds[0]).name / "weights.safetensors"
    header = read_filling(weights)
    return (load_fcn(folder / "weights.safetensors", network).to(device_here()), load_filling(weights, network).to(device_here()), header["side"],
            header["map_side"])


def _network(args: argparse.Namespace, params: Params) -> str:
    networks = tier_of(params, args.tier).iam_train.networks
    if args.network not in (None, *networks):
        raise Problem(f'--network: IAM is not trained with "{args.network}" in tier {args.tier}{nearest(args.network, networks)}')
    return args.network or next(iter(networks))
