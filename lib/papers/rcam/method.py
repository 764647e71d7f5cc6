"""High-resolution class activation maps (rCAM, section 3): two scales, shape guidance, fusion, CRF."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.images import square_tensor
from lib.maps.cam import cam, normalise, winner_under_max_pooling
from lib.nets.network import Network
from lib.papers.rcam.settings import RcamSettings
from lib.refine.crf import refine_foreground
from lib.refine.guided_filter import guided_filter
from lib.refine.settings import CrfSettings
from lib.refine.shape import principal_components
from lib.refine.variogram import empirical_variogram, fit_gaussian

MAP_SIDE = 224   # maps are fused and refined at this side (section 3.4)


class Scale(NamedTuple):
    """The forward pass of a batch at one input size: last feature maps, class probabilities, shape S."""
    features: Tensor        # (B, D, h, w)
    probability: Tensor     # (B, K)
    guide: Tensor           # (B, components, H, W)


class Window(NamedTuple):
    """The guided filter's radius for each image `(B,)` and where the variogram's fit failed `(B,)`."""
    radius: Tensor
    failed: Tensor


class Rcam(NamedTuple):
    """Heat maps of a batch, one entry of `maps` for each row of table 1.

    maps      {row: `(B, 1, 224, 224)` in 0..1}
    classes   the class of each image `(B,)`
    failed    where the variogram could not be fitted `(B,)`
    """
    maps: dict[str, Tensor]
    classes: Tensor
    failed: Tensor


class Refined(NamedTuple):
    """The maps of a batch before normalisation.

    fusion    rCAM3, eq. 5
    refined   every rCAM_j on the grid of the last guide
    classes   the class of each image `(B,)`
    window    of the last guide
    """
    fusion: Tensor
    refined: list[Tensor]
    classes: Tensor
    window: Window


def to_batch(photos: Sequence[Image.Image], side: int) -> Tensor:
    """Photographs, squeezed to a square by bilinear interpolation, as `(B, 3, side, side)` in 0..1."""
    squares = torch.stack([square_tensor(photo, side) for photo in photos])
    return (squares.float() / 255).contiguous(memory_format=torch.channels_last)


def shape_components(responses: dict[str, Tensor], network: Network, stride: int, components: int) -> Tensor:
    """S of section 3.2: the leading principal components of all response maps at one stride."""
    return principal_components([responses[name] for name in network.responses[stride]], components)


@torch.inference_mode()
def forward_pass(network: Network, photos: Sequence[Image.Image], side: int, settings: RcamSettings) -> Scale:
    """One forward pass at one input size (sections 3.1 and 3.2)."""
    device = next(network.parameters()).device
    layers = [network.features, *network.responses[settings.guide_stride]]
    outputs = network.activations(to_batch(photos, side).to(device), layers)
    guide = shape_components(outputs, network, settings.guide_stride, settings.components)
    return Scale(outputs[network.features], outputs["logits"].softmax(1), guide)


def window(guide: Tensor, settings: RcamSettings) -> Window:
    """The guided filter's window from the guide's variogram (section 3.3), at most half the guide."""
    side = min(guide.shape[2:])
    if isinstance(settings.window, int):
        radius = torch.full((len(guide),), settings.window, device=guide.device)
        return Window(radius, torch.zeros_like(radius, dtype=torch.bool))
    lags = max(4, round(settings.max_lag * side))
    fit = fit_gaussian(empirical_variogram(guide[:, :settings.lag_components], min(lags, side - 1)))
    radius = fit.sigma if settings.window == "radius" else fit.sigma / 2
    return Window(radius.round().long().clamp(1, side // 2), fit.failed)


def shape_guidance(coarse: Tensor, guides: Sequence[Tensor], windows: Sequence[Window], eps: float) -> Tensor:
    """A map through every guide in turn, G^f(U(CAM), S) (eq. 2-4); U enlarges it to the guide's size."""
    for guide, guide_window in zip(guides, windows, strict=True):
        enlarged = interpolate(coarse, guide.shape[2:], mode="bilinear", align_corners=False)
        coarse = guided_filter(enlarged, guide, guide_window.radius, eps)
    return coarse


def fuse(refined: Sequence[Tensor], probabilities: Sequence[Tensor], classes: Tensor) -> Tensor:
    """rCAM3 at 224 x 224 (eq. 5): sum over scales j of rCAM_j P_j(id_x1), id_x1 the class of each image."""
    weighted = []
    for maps, probability in zip(refined, probabilities, strict=True):
        of_class = probability.gather(1, classes[:, None])[:, :, None, None]
        weighted.append(full_size(maps) * of_class)
    return torch.stack(weighted).sum(0)


def full_size(maps: Tensor) -> Tensor:
    """Bilinear enlargement to 224 x 224."""
    return interpolate(maps.float(), (MAP_SIDE, MAP_SIDE), mode="bilinear", align_corners=False)


def crf(photos: Sequence[Image.Image], maps: Tensor, settings: CrfSettings) -> Tensor:
    """The foreground's marginals `(B, 1, 224, 224)` of the dense CRF on (rCAM3, 1 - rCAM3) (section 3.4)."""
    heats = maps[:, 0].cpu().numpy()
    refined = []
    for photo, heat in zip(photos, heats, strict=True):
        image = np.asarray(photo.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BILINEAR))
        refined.append(refine_foreground(image, heat, settings))
    return torch.from_numpy(np.stack(refined)).unsqueeze(1)


@torch.inference_mode()
def refine(scales: Sequence[Scale], weight: Tensor, settings: RcamSettings) -> Refined:
    """Sections 3.3 and 3.4 up to eq. 5, from every scale; the class is the top class of the first."""
    classes = scales[0].probability.argmax(1)
    guides = [scale.guide for scale in scales]
    windows = [window(guide, settings) for guide in guides]
    refined = []
    for j, scale in enumerate(scales):
        coarse = cam(scale.features, weight, classes)
        refined.append(shape_guidance(coarse, guides[j:], windows[j:], settings.eps))
    fusion = fuse(refined, [scale.probability for scale in scales], classes)
    return Refined(fusion, refined, classes, windows[-1])


@torch.inference_mode()
def rcam(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> Rcam:
    """All seven rows of table 1 for a batch of photographs of any sizes.

    >>> from PIL import Image
    >>> from lib.papers.rcam.tables import open_network
    >>> from lib.params import load_params
    >>> settings = load_params().rcam
    >>> photo = Image.new("RGB", (320, 240), (90, 120, 60))
    >>> maps = rcam(open_network("efficientnet_lite0", settings), [photo], settings).maps
    >>> list(maps)
    ['g_weak', 'cam1', 'cam2', 'rcam1', 'rcam2', 'rcam3', 'rcam']
    >>> maps["rcam"].shape
    torch.Size([1, 1, 224, 224])
    """
    ours, rows = before_crf(network, photos, settings)
    maps = {row: values.cpu() for row, values in rows.items()}
    maps["rcam"] = crf(photos, maps["rcam3"], settings.crf)
    return Rcam(maps, ours.classes, ours.window.failed)


@torch.inference_mode()
def before_crf(network: Network, photos: Sequence[Image.Image],
               settings: RcamSettings) -> tuple[Refined, dict[str, Tensor]]:
    """The maps of every row but the last, `(B, 1, 224, 224)` in 0..1, on the network's device.

    With what they come from.
    """
    scales = [forward_pass(network, photos, side, settings) for side in settings.sizes]
    weight, bias = network.classifier
    ours = refine(scales, weight, settings)
    strongest = winner_under_max_pooling(scales[0].features, weight, bias)
    rows = {"g_weak": cam(scales[0].features, weight, strongest)}
    for j, scale in enumerate(scales, start=1):
        rows[f"cam{j}"] = cam(scale.features, weight, ours.classes)
    for j, refined in enumerate(ours.refined, start=1):
        rows[f"rcam{j}"] = refined
    rows["rcam3"] = ours.fusion   # takes the place of a third refined map, should there be three scales
    return ours, {row: normalise(full_size(values)) for row, values in rows.items()}


def joined(parts: Sequence[Rcam]) -> Rcam:
    """The parts of a batch as the batch."""
    maps = {}
    for row in parts[0].maps:
        maps[row] = torch.cat([part.maps[row] for part in parts])
    classes = torch.cat([part.classes for part in parts])
    failed = torch.cat([part.failed for part in parts])
    return Rcam(maps, classes, failed)
