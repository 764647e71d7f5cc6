"""Score-CAM (section 3): a channel counts by how much the class gains where the channel is active."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.images import square_tensor
from lib.maps.cam import cam, normalise
from lib.nets.network import Network
from lib.papers.scorecam.settings import ScoreCamSettings


class ScoreCam(NamedTuple):
    """The maps of a batch.

    maps      {row: `(B, 1, h, w)` in 0..1}
    classes   the best class of each image `(B,)`
    images    as the network saw them `(B, 3, S, S)` in 0..1
    """
    maps: dict[str, Tensor]
    classes: Tensor
    images: Tensor


@torch.inference_mode()
def score_cam(network: Network, photos: Sequence[Image.Image], settings: ScoreCamSettings) -> ScoreCam:
    """Algorithm 1 for the best class of each photograph, with CAM beside it."""
    device = next(network.parameters()).device
    images = torch.stack([square_tensor(photo, settings.side) for photo in photos]).to(device) / 255
    outputs = network.activations(images, [network.features])
    features = outputs[network.features]
    classes = outputs["logits"].argmax(1)
    maps = []
    for image, channels, target in zip(images, features, classes, strict=True):
        gains = increases(network, image, channels, int(target), settings.batch)
        maps.append(combined(channels, gains))
    weight, _ = network.classifier
    rows = {"cam": normalise(cam(features, weight, classes)), "scorecam": normalise(torch.stack(maps))}
    return ScoreCam(rows, classes, images)


def masks(channels: Tensor, side: int) -> Tensor:
    """H_k of eq. 5 and 6: channels `(D, h, w)` enlarged and stretched to 0..1, `(D, 1, side, side)`."""
    enlarged = interpolate(channels[:, None], (side, side), mode="bilinear", align_corners=False)
    return normalise(enlarged)


def increases(network: Network, image: Tensor, channels: Tensor, target: int, batch: int) -> Tensor:
    """C(A_k) = f(X o H_k) - f(X_b) of definition 2, for every channel `(D,)`; X_b is a black image."""
    image = image[None]
    baseline = network(torch.zeros_like(image))[0, target]
    scores = []
    for part in channels.split(batch):
        masked = image * masks(part, image.shape[-1])
        scores.append(network(masked)[:, target])
    return torch.cat(scores) - baseline


def combined(channels: Tensor, gains: Tensor) -> Tensor:
    """Eq. 7: relu(sum_k alpha_k A_k) with alpha the softmax over the gains, `(1, h, w)`.

    A channel that has one value everywhere masks nothing, so it has no say.
    """
    varies = channels.amax((1, 2)) > channels.amin((1, 2))
    alpha = torch.where(varies, gains, -torch.inf).softmax(0)
    return torch.relu(torch.einsum("k,khw->hw", alpha, channels))[None]


@torch.inference_mode()
def confidences(network: Network, images: Tensor, maps: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Section 4.2: the class's probability on images `(B,)`, and on what maps leave of them `(B,)`."""
    shown = interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
    places = torch.arange(len(images), device=images.device)
    before = network(images).softmax(1)[places, classes]
    after = network(images * shown).softmax(1)[places, classes]
    return before, after
