"""CSoA on any photograph: its class, where it is, and the box around it (section 3.2, inference)."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.metrics.localisation import boxes_of
from lib.nets.two_classifiers import TwoClassifiers
from lib.papers.csoa import probabilities
from lib.papers.csoa_losses import own_map


class Segmented(NamedTuple):
    """Of one photograph: the best class, `heat` `(1, side, side)`, above theta where either map is (eq. 13), and the box in its pixels."""
    name: str
    heat: Tensor
    box: tuple[int, int, int, int] | None


@torch.inference_mode()
def segment(net: TwoClassifiers, photos: Sequence[Image.Image], side: int, theta: float) -> list[Segmented]:
    """The best class of every photograph, which is squeezed to a square as in training."""
    squares = [torch.from_numpy(np.array(photo.resize((side, side), Image.Resampling.BILINEAR))).permute(2, 0, 1) for photo in photos]
    device = next(net.parameters()).device
    s_l, s_f = net(torch.stack(squares).float().div(255).to(device, memory_format=torch.channels_last))
    best = probabilities(s_l, s_f).argmax(1)
    heats = torch.stack([_share(own_map(maps, best), side) for maps in (s_l, s_f) if maps is not None]).amax(0).cpu()
    return [Segmented(net.classes[place], heat[None], _box(heat, theta, photo.size)) for place, heat, photo in zip(best.tolist(), heats, photos)]


def _share(maps: Tensor, side: int) -> Tensor:
    """Maps `(B, h, w)` as a share of their own maximum `(B, side, side)`; 0 where a map is nowhere positive."""
    large = interpolate(maps[:, None].float(), (side, side), mode="bilinear", align_corners=False)[:, 0].clamp(min=0)
    return large / large.amax((1, 2), keepdim=True).clamp(min=1e-9)


def _box(heat: Tensor, theta: float, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    found = boxes_of((heat > theta).numpy(), "largest")
    scale = np.array([*size, *size]) / heat.shape[-1]
    return tuple(int(v) for v in np.rint(found[0] * scale)) if len(found) else None
