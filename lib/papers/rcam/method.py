"""High-resolution class activation maps (rCAM), section 3 of the paper: two scales, shape guidance, fusion, CRF."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.maps.cam import cam, normalise, winner_under_max_pooling
from lib.nets.network import Network
from lib.papers.rcam.settings import RcamSettings
from lib.refine.crf import refine_foreground
from lib.refine.guided_filter import guided_filter
from lib.refine.settings import CrfSettings
from lib.refine.shape import principal_components
from lib.refine.variogram import empirical_variogram, fit_gaussian

SIDE = 224   # maps are fused and refined at this side (section 3.4)


class Scale(NamedTuple):
    """What the network says about a batch at one input size: last maps, class probabilities, shape S."""
    features: Tensor        # (B, D, h, w)
    probability: Tensor     # (B, K)
    guide: Tensor           # (B, components, H, W)


class Window(NamedTuple):
    """The guided filter's radius for each image `(B,)` and where the variogram's fit failed `(B,)`."""
    radius: Tensor
    failed: Tensor


class Rcam(NamedTuple):
    """Heat maps `(B, 1, 224, 224)` in 0..1 by row of table 1, the class of each image, and the variogram's failures."""
    maps: dict[str, Tensor]
    classes: Tensor
    failed: Tensor


def to_batch(photos: Sequence[Image.Image], side: int) -> Tensor:
    """Photographs, squeezed to a square by bilinear interpolation, as `(B, 3, side, side)` in 0..1."""
    squares = [np.asarray(photo.resize((side, side), Image.Resampling.BILINEAR)) for photo in photos]
    batch = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
    return batch.contiguous(memory_format=torch.channels_last)


def shape(activations: dict[str, Tensor], network: Network, stride: int, components: int) -> Tensor:
    """S of section 3.2: the leading components of all response maps at one stride."""
    return principal_components([activations[name] for name in network.responses[stride]], components)


@torch.inference_mode()
def look(network: Network, photos: Sequence[Image.Image], side: int, settings: RcamSettings) -> Scale:
    """One forward pass at one input size (sections 3.1 and 3.2)."""
    device = next(network.parameters()).device
    names = [network.features, *network.responses[settings.guide_stride]]
    seen = network.activations(to_batch(photos, side).to(device), names)
    guide = shape(seen, network, settings.guide_stride, settings.components)
    return Scale(seen[network.features], seen["logits"].softmax(1), guide)


def window(guide: Tensor, settings: RcamSettings) -> Window:
    """The guided filter's window from the guide's variogram (section 3.3), never larger than half the guide."""
    side = min(guide.shape[2:])
    if isinstance(settings.window, int):
        return Window(torch.full((len(guide),), settings.window, device=guide.device), torch.zeros(len(guide), dtype=torch.bool))
    lags = max(4, round(settings.max_lag * side))
    fit = fit_gaussian(empirical_variogram(guide[:, :settings.lag_components], min(lags, side - 1)))
    radius = fit.sigma if settings.window == "radius" else fit.sigma / 2
    return Window(radius.round().long().clamp(1, side // 2), fit.failed)


def shape_guidance(coarse: Tensor, guides: Sequence[Tensor], windows: Sequence[Window], eps: float) -> Tensor:
    """eq. 2-4: through every guide in turn, G^f(U(CAM), S), U the bilinear enlargement to the guide's size."""
    for guide, found in zip(guides, windows):
        enlarged = interpolate(coarse, guide.shape[2:], mode="bilinear", align_corners=False)
        coarse = guided_filter(enlarged, guide, found.radius, eps)
    return coarse


def fuse(refined: Sequence[Tensor], probabilities: Sequence[Tensor], classes: Tensor) -> Tensor:
    """eq. 5: sum over scales of rCAM_j P_j(id_x1), at 224 x 224."""
    pick = [p.gather(1, classes[:, None])[:, :, None, None] for p in probabilities]
    return torch.stack([full_size(r) * p for r, p in zip(refined, pick)]).sum(0)


def full_size(maps: Tensor) -> Tensor:
    """Bilinear enlargement to 224 x 224."""
    return interpolate(maps.float(), (SIDE, SIDE), mode="bilinear", align_corners=False)


def crf(photos: Sequence[Image.Image], maps: Tensor, settings: CrfSettings) -> Tensor:
    """Section 3.4: the dense CRF on (rCAM3, 1 - rCAM3), rCAM3 in 0..1; the foreground's marginal `(B, 1, 224, 224)`."""
    images = [np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for photo in photos]
    refined = [refine_foreground(image, heat, settings) for image, heat in zip(images, maps[:, 0].cpu().numpy())]
    return torch.from_numpy(np.stack(refined)).unsqueeze(1)


class Refined(NamedTuple):
    """rCAM3 before normalisation, every rCAM_j on its guide's grid, the class of each image, the last guide's windows."""
    fusion: Tensor
    refined: list[Tensor]
    classes: Tensor
    window: Window


@torch.inference_mode()
def refine(scales: Sequence[Scale], weight: Tensor, settings: RcamSettings) -> Refined:
    """Sections 3.3 and 3.4 up to eq. 5, from what the network said at every scale; the class is the top class of the first."""
    windows = [window(scale.guide, settings) for scale in scales]
    classes = scales[0].probability.argmax(1)
    guides = [scale.guide for scale in scales]
    refined = [shape_guidance(cam(s.features, weight, classes), guides[j:], windows[j:], settings.eps) for j, s in enumerate(scales)]
    return Refined(fuse(refined, [s.probability for s in scales], classes), refined, classes, windows[-1])


@torch.inference_mode()
def rcam(network: Network, photos: Sequence[Image.Image], settings: RcamSettings) -> Rcam:
    """All seven rows of table 1 for a batch of photographs of any sizes."""
    scales = [look(network, photos, side, settings) for side in settings.sizes]
    weight, bias = network.classifier
    fusion, refined, classes, found = refine(scales, weight, settings)
    strongest = winner_under_max_pooling(scales[0].features, weight, bias)
    rows = {"g_weak": cam(scales[0].features, weight, strongest)}
    rows |= {f"cam{j}": cam(s.features, weight, classes) for j, s in enumerate(scales, start=1)}
    rows |= {f"rcam{j}": values for j, values in enumerate(refined, start=1)}
    maps = {row: normalise(full_size(values)).cpu() for row, values in (rows | {"rcam3": fusion}).items()}
    return Rcam(maps | {"rcam": crf(photos, maps["rcam3"], settings.crf)}, classes, found.failed)
