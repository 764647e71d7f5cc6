"""The poster's maps on any device, as `lib.gpu_check` compares them: up to the CRF, and zoom-out features."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib.nets.network import Network
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.devices import SIDE, untrained
from lib.papers.dcsm.method import enlarged, raw_maps, saliency, to_input
from lib.papers.fcn_gbp.method import Detected, unified
from lib.papers.fcn_gbp.settings import FcnGbpSettings
from lib.refine.superpixels import pool, slic


def maps_on(network: Network, photos: Sequence[Image.Image], params: Any,
            device: torch.device) -> Callable[[], dict[str, Tensor]]:
    """A function that computes the maps of the photographs, the network of the CPU moved to the device."""
    fcn = untrained(network, device)
    grid = params.fcn_gbp
    settings = FcnGbpSettings(grid.least_probability, grid.enhance[0], grid.maximum[0], grid.least_map,
                              grid.alpha[0], params.dcsm.crf)
    regions = [slic(photo, grid.zof.superpixels) for photo in photos]

    @torch.no_grad()
    def maps() -> dict[str, Tensor]:
        found = {}
        for number, photo in enumerate(photos, start=1):
            raw = raw_maps(fcn, photo, params.dcsm, SIDE)
            saliency_maps = saliency(enlarged(raw, params.dcsm.map_stride), params.dcsm, blocks(fcn.trunk))
            scores, layers = fcn.scores_and_layers(to_input(photo, SIDE).to(device), [fcn.trunk.features])
            kept = raw.candidates.targets
            detected = Detected(scores[0].amax((1, 2)).sigmoid(), kept, saliency_maps)
            chosen = range(len(kept))   # all
            class_maps = scores[0, kept].sigmoid()
            size = (photo.height, photo.width)
            found[f"FCN + GBP {number}"] = unified(class_maps, detected, chosen, size, settings)
            features = pool(layers[fcn.trunk.features][0].contiguous(), regions[number - 1])
            found[f"zoom-out {number}"] = features / features.abs().amax()
        return found

    return maps
