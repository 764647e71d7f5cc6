"""What the benchmark times of IAM: peak response maps and filling, beside how others compute them."""
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import unfold

from lib.base.parallel import device
from lib.base.race import Effort, Race, Runner
from lib.maps.peak_response import peak_response_maps
from lib.nets import load_network
from lib.nets.fcn import fully_convolutional
from lib.papers.iam.filling import fill, filling_weights
from lib.papers.iam.prm_speed import hooked, one_by_one
from lib.papers.iam.speed import top_peaks

NETWORK = "efficientnet_lite0"
SIDE = 224      # of the classifier's squares, in the default tier
PEAKS = 8
CLASSES = 20    # VOC's
CHANNELS = 16   # of the filled maps
ENCODED = 28    # their side: a quarter of the peak response maps' 112
MAPS: tuple[int, ...] = (1, 4, 16)
FASTER = 3.0    # this suite is to be, than a backward pass each, and than unfolding


def peak_races(effort: Effort, params: Any) -> Iterator[Race]:
    """Peaks of one image."""
    yield peaks(SIDE // 3 if effort.quick else SIDE)


def filling_races(effort: Effort, params: Any) -> Iterator[Race]:
    """Filling, for several numbers of peaks."""
    for number in MAPS[:1] if effort.quick else MAPS:
        yield filling(number)


def peaks(side: int) -> Race:
    """Peak response maps of one image, from the image on: all at once, or a backward pass each."""
    torch.manual_seed(0)
    classes = [str(number) for number in range(CLASSES)]
    fcn = fully_convolutional(load_network(NETWORK), classes, pooling="peaks")
    fcn = fcn.requires_grad_(False).to(device(), memory_format=torch.channels_last)
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    image = image.to(fcn.device, memory_format=torch.channels_last)
    with torch.no_grad():
        found = top_peaks(fcn.score_maps(image), PEAKS)
    peer = Runner("one backward pass each, as the authors' code",
                  lambda: one_by_one(*hooked(fcn, image), found), lambda maps: maps, FASTER)
    return Race("prm", f"{PEAKS} peaks of an image", 1, lambda: peak_response_maps(fcn, image, found, PEAKS),
                [peer], tolerance=1e-3, front=True)


def filling(number: int) -> Race:
    """All steps of the filling for so many peaks' maps: shifted slices, or windows unfolded at each step."""
    draw = torch.Generator().manual_seed(0)
    cues = torch.rand(number, CHANNELS, ENCODED, ENCODED, generator=draw).to(device())
    raw = torch.randn(number, CHANNELS, 9, ENCODED, ENCODED, generator=draw).to(device())
    weights = filling_weights(raw)

    @torch.inference_mode()
    def ours() -> Tensor:
        return fill(cues, weights, ENCODED)

    peer = Runner("unfold at each step", unfolding(cues, weights), lambda maps: maps, FASTER)
    return Race("filling", f"{number} peaks, {ENCODED} steps", 1, ours, [peer], front=number == MAPS[1])


def unfolding(cues: Tensor, weights: Tensor) -> Callable[[], Tensor]:
    """The same steps with torch's windows of 3 x 3."""
    @torch.inference_mode()
    def run() -> Tensor:
        filled = cues
        for _ in range(ENCODED):
            windows = unfold(filled.flatten(0, 1)[:, None], 3, padding=1).view(weights.shape)
            filled = (windows * weights).sum(2)
        return filled

    return run


RACES = {"prm": peak_races, "filling": filling_races}
