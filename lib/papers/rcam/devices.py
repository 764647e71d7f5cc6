"""rCAM's maps on any device, as `lib.gpu_check` compares them: every row up to the CRF."""
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib.nets.network import Network
from lib.papers.rcam.method import before_crf, forward_pass
from lib.refine.variogram import empirical_variogram

RADIUS = 7   # of the guided filter; a fitted one is rounded, and may be rounded differently
LAGS = 7     # of the variogram, which is compared by itself


def maps_on(network: Network, photos: Sequence[Image.Image], params: Any,
            device: torch.device) -> Callable[[], dict[str, Tensor]]:
    """A function that computes the maps of the photographs, the network of the CPU moved to the device."""
    network = network.to(device, memory_format=torch.channels_last)
    settings = replace(params.rcam, window=RADIUS)

    def maps() -> dict[str, Tensor]:
        _, rows = before_crf(network, photos, settings)
        guide = forward_pass(network, photos, settings.sizes[0], settings).guide
        gamma = empirical_variogram(guide, LAGS).gamma
        return rows | {"variogram": gamma / gamma.amax(1, keepdim=True)}

    return maps
