"""IAM's maps on any device, as `lib.gpu_check` compares them: from given peaks to the ConvCRF."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lib.maps.cam import each_maximum_is_one
from lib.maps.peaks import Peaks
from lib.nets.fcn import fully_convolutional
from lib.nets.network import Network
from lib.papers.iam.filling import ExtentFilling
from lib.papers.iam.instances import REFINED_SIDE
from lib.papers.iam.method import activate, refined, run_classifier

CLASSES = tuple(f"class {number}" for number in range(20))
PEAKS = 6   # of an image
SIDE = 224
MAP_SIDE = 112
LIVELY = 3   # times the usual weights of the layers before a softmax or a sigmoid


def maps_on(network: Network, photos: Sequence[Image.Image], params: Any,
            device: torch.device) -> Callable[[], dict[str, Tensor]]:
    """A function that computes the maps of the photographs, the network of the CPU moved to the device."""
    torch.manual_seed(0)
    fcn = fully_convolutional(network, CLASSES, pooling="peaks").requires_grad_(False)
    fcn = fcn.to(device, memory_format=torch.channels_last)
    depths = [level.shape[1] for level in run_classifier(fcn, photos[:1], SIDE, MAP_SIDE, given).levels]
    filling = _lively(ExtentFilling(depths, params.iam_filling.channels, params.iam_filling.width)).to(device)

    def maps() -> dict[str, Tensor]:
        output = run_classifier(fcn, photos, SIDE, MAP_SIDE, given)
        activations = activate(filling, output)
        first = refined(photos[0], activations[:PEAKS], params.iam.crf, REFINED_SIDE)
        prms = each_maximum_is_one(output.prms)
        return {"peak response": prms, "activation": activations, "ConvCRF": first}

    return maps


def _lively(filling: ExtentFilling) -> ExtentFilling:
    """An untrained module whose activation maps are not flat."""
    filling = filling.requires_grad_(False).eval()
    for module in filling.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    filling.head.weight.mul_(LIVELY)
    filling.logit.weight.mul_(LIVELY)
    return filling


def given(maps: Tensor) -> Peaks:
    """Peaks at given places: those that are found differ where rounding moves one."""
    batch, _, height, width = maps.shape
    number = torch.arange(batch * PEAKS, device=maps.device)
    image, place = number // PEAKS, number % PEAKS
    row, column = (2 * place + 1) % height, (3 * place + 2) % width
    return Peaks(image, place, row, column, maps[image, place, row, column])
