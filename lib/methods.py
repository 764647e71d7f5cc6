"""Every method of the suite as one thing: photographs in, foreground maps and, where it tells classes apart, label maps out."""
import argparse
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib.base.paths import BUILD
from lib.base.problem import Problem, nearest
from lib.papers.found import Found, Method
from lib.params import load_params, tier_of

if TYPE_CHECKING:
    from torch import Tensor

    from lib.nets.fcn import Fcn
    from lib.papers.dcsm.settings import DcsmSettings

STEPS = ("g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam")
METHODS = (*STEPS, "rcam_box", "dcsm", "csoa", "prm", "iam")






def method_of(args: argparse.Namespace) -> Method:
    """Photographs -> what is found in each, by `args.method`; `args` also has network, tier, weights and threshold."""
    if args.method not in METHODS:
        raise Problem(f'segment: there is no method "{args.method}"{nearest(args.method, METHODS)}')
    if args.method == "dcsm":
        params, fcn = load_params(), multi_label(args)
        return lambda photos: [_dcsm(fcn, photo, params.dcsm, params.tier[args.tier].dcsm_maps.side) for photo in photos]
    if args.method == "csoa":
        from lib.papers.csoa.use import segmenter
        look, classes = segmenter(args)
        return lambda photos: [Found(one.heat, _where(one.heat, args.threshold, photo, classes.index(one.name)), classes, [f"{one.name}, box {one.box}"])
                               for one, photo in zip(look(photos), photos)]
    if args.method in ("prm", "iam"):
        from lib.papers.iam.use import segmenter as instances
        return instances(args)
    from lib.papers.rcam.box import rcam_box
    from lib.papers.rcam.method import rcam
    from lib.papers.rcam.tables import open_network

    settings = load_params().rcam
    network = open_network(args.network or "efficientnet_lite0", settings)
    if args.method == "rcam_box":
        return lambda photos: [Found(heat) for heat in rcam_box(network, photos, settings)]
    return lambda photos: [Found(heat) for heat in rcam(network, photos, settings).maps[args.method]]


def default_threshold(method: str) -> float:
    """From which value a pixel is foreground."""
    return load_params().csoa_thresholds.chosen if method == "csoa" else 0.5


def multi_label(args: argparse.Namespace) -> "Fcn":
    """DCSM's network that the tier's training stage left, or the one in --weights."""
    from lib.nets.fcn import load_fcn
    from lib.nets.fold import fold_normalisation
    from lib.papers.rcam.tables import default_device

    name = args.network or next(iter(tier_of(load_params(), args.tier).dcsm_train.networks))
    weights = args.weights or BUILD / args.tier / "dcsm_train" / name / "weights.safetensors"
    return fold_normalisation(load_fcn(weights, args.network)).to(default_device())


def _dcsm(fcn: "Fcn", photo: Image.Image, settings: "DcsmSettings", side: int) -> Found:
    import torch

    from lib.papers.dcsm.method import label_map
    from lib.papers.dcsm.use import marginals

    probability, targets = marginals(fcn, photo, settings, side)
    return Found(torch.from_numpy(1 - probability[:1]), label_map(probability, targets), fcn.classes, [fcn.classes[target] for target in targets])


def _where(heat: "Tensor", threshold: float, photo: Image.Image, number: int) -> np.ndarray:
    """One class where a map exceeds a threshold."""
    large = np.asarray(Image.fromarray(heat[0].numpy()).resize(photo.size, Image.Resampling.BILINEAR))
    return np.where(large >= threshold, number + 1, 0).astype(np.uint8)
