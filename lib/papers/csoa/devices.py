"""CSoA's maps on any device, as `lib.gpu_check` compares them, and the derivatives of its losses."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib.data.images import square_tensor
from lib.data.loading import to_device
from lib.nets.network import Network
from lib.papers.csoa.batches import stacked
from lib.papers.csoa.locate import best_maps
from lib.papers.csoa.method import Extractor, losses
from lib.papers.csoa.two_classifiers import TwoClassifiers

CLASSES = tuple(f"class {number}" for number in range(10))
SIDE = 224
EMBEDDED_SIDE = 64
WIDTH = 64


def maps_on(network: Network, photos: Sequence[Image.Image], params: Any,
            device: torch.device) -> Callable[[], dict[str, Tensor]]:
    """A function that computes the maps of the photographs, the network of the CPU moved to the device."""
    torch.manual_seed(0)
    net = TwoClassifiers(network, "stage4", CLASSES, WIDTH).to(device, memory_format=torch.channels_last)
    extractor = Extractor(network)
    images = to_device(stacked([square_tensor(photo, SIDE) for photo in photos]), device)
    classes = torch.arange(len(photos), device=device) % 2
    learnt = [net.w_l[-1].weight, net.w_f[-1].weight]

    def maps() -> dict[str, Tensor]:
        with torch.no_grad():
            _, heats = best_maps(net, images)
        parts = losses(net, extractor, images, classes, params.csoa, EMBEDDED_SIDE)
        loss = parts.total(params.csoa.alpha, params.csoa.weight)
        slopes = torch.autograd.grad(loss, learnt)
        of_losses = {f"slope of {name}": slope / slope.abs().amax()
                     for name, slope in zip(("W_L", "W_F"), slopes, strict=True)}
        return {"heat": heats, "losses": torch.stack([parts.cls, parts.inner, parts.coaug])} | of_losses

    return maps
