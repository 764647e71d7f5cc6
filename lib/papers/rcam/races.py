"""What the benchmark times of rCAM: an image, beside the forward passes and the CRF that it consists of."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib.base.race import Effort, Race, Runner
from lib.data.drawn import drawn_photos
from lib.nets.network import Network
from lib.papers.rcam.method import crf, rcam, to_batch
from lib.papers.rcam.settings import RcamSettings
from lib.papers.rcam.tables import open_network

NETWORK = "efficientnet_lite0"
BATCHES: tuple[int, ...] = (1, 8)
SLACK = 1.5   # the method may take so many times as long as those parts


def races(effort: Effort, params: Any) -> Iterator[Race]:
    """All seven rows of table 1, for an image and for a batch."""
    settings = params.rcam
    if effort.quick:
        settings = replace(settings, sizes=[side // 2 for side in settings.sizes])
    network = open_network(NETWORK, settings)
    for size in BATCHES[:1] if effort.quick else BATCHES:
        yield race(network, drawn_photos(size), settings)


def race(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> Race:
    """The method, and what is left of it without shape, guidance and fusion."""
    fused = rcam(network, photos, settings).maps["rcam3"]
    where = next(network.parameters()).device

    @torch.inference_mode()
    def parts() -> Tensor:
        for side in settings.sizes:
            network(to_batch(photos, side).to(where))
        return crf(photos, fused, settings.crf)

    passes = f"its {len(settings.sizes)} forward passes and its CRF"
    peer = Runner(passes, parts, maps=lambda maps: maps, least=round(1 / SLACK, 3))
    size = len(photos)
    return Race("rcam", f"whole method, batch {size}", size,
                lambda: rcam(network, photos, settings).maps["rcam"], [peer], front=size == 1)


RACES = {"rcam": races}
