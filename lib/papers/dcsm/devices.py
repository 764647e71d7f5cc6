"""DCSM's maps on any device, as `lib.gpu_check` compares them: saliency maps up to the CRF."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib.nets.fcn import Fcn, fully_convolutional
from lib.nets.fold import fold_normalisation
from lib.nets.network import Network
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.method import enlarged, raw_maps, saliency

CLASSES = tuple(f"class {number}" for number in range(20))
SIDE = 320   # what the paper's 500 pixels are


def maps_on(network: Network, photos: Sequence[Image.Image], params: Any,
            device: torch.device) -> Callable[[], dict[str, Tensor]]:
    """A function that computes the maps of the photographs, the network of the CPU moved to the device."""
    fcn = untrained(network, device)
    settings = params.dcsm

    def maps() -> dict[str, Tensor]:
        found = {}
        for number, photo in enumerate(photos, start=1):
            raw = raw_maps(fcn, photo, settings, SIDE)
            small = enlarged(raw, settings.map_stride)
            found[f"saliency {number}"] = saliency(small, settings, blocks(fcn.trunk))
        return found

    return maps


def untrained(network: Network, device: torch.device) -> Fcn:
    """A multi-label network with the same random head each time, folded, on a device."""
    torch.manual_seed(0)
    fcn = fold_normalisation(fully_convolutional(network, CLASSES)).requires_grad_(False)
    return fcn.to(device, memory_format=torch.channels_last)
