"""The guided filter beside OpenCV's, and the dense CRF."""
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.parallel import device
from lib.base.race import Effort, Race, Runner
from lib.data.drawn import drawn_photo
from lib.params import load_params
from lib.refine.crf import refine_foreground
from lib.refine.guided_filter import guided_filter

BATCH = 16
CHANNELS = 3
SIDES: tuple[int, ...] = (28, 56, 224)   # rCAM's guides at both of its scales, and a whole image
FRONT = 56
RADIUS = 8   # a side's share of it is the radius
EPS = 0.01
CRF_SIDE = 224


def guided_races(effort: Effort) -> Iterator[Race]:
    """A batch of maps and guides at several sizes."""
    for side in SIDES[:1] if effort.quick else SIDES:
        yield guided(side)


def guided(side: int) -> Race:
    """Smooth maps by smooth guides of three channels.

    OpenCV mirrors images at their borders where this filter cuts windows off: maps are compared inside.
    """
    import cv2

    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(BATCH, 1 + CHANNELS, side // 4, side // 4, generator=draw)
    smooth = interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    maps = smooth[:, :1].contiguous().to(device())
    guides = smooth[:, 1:].contiguous().to(device())
    radius = side // RADIUS
    radii = torch.full((BATCH,), radius, device=maps.device)
    theirs = [(guide.permute(1, 2, 0).contiguous().cpu().numpy(), source[0].cpu().numpy())
              for guide, source in zip(guides, maps, strict=True)]

    def opencv() -> list[np.ndarray]:
        return [cv2.ximgproc.guidedFilter(guide, source, radius, EPS) for guide, source in theirs]

    @torch.inference_mode()
    def ours() -> Tensor:
        return guided_filter(maps, guides, radii, EPS)[:, 0]

    def agree(filtered: list[np.ndarray]) -> np.ndarray:
        """Theirs inside, ours at the border."""
        inside = slice(2 * radius, -2 * radius)
        whole = ours().cpu().numpy().copy()
        whole[:, inside, inside] = np.stack(filtered)[:, inside, inside]
        return whole

    return Race("guided_filter", f"{BATCH} maps of {side} x {side}, {CHANNELS} channels", BATCH, ours,
                [Runner("OpenCV, guidedFilter", opencv, agree, least=1.0)], front=side == FRONT)


def crf_races(effort: Effort) -> Iterator[Race]:
    """rCAM's dense CRF of one photograph, exact, beside the lattice, which only comes near it."""
    side = CRF_SIDE // 4 if effort.quick else CRF_SIDE
    settings = load_params().rcam.crf
    image = np.asarray(drawn_photo(0, (side, side)))
    foreground = _soft_disc(side)
    lattice = Runner("pydensecrf's lattice, not exact",
                     lambda: refine_foreground(image, foreground, settings, "pydensecrf"))
    yield Race("crf", f"exact, {side} x {side}, 2 classes, {settings.iterations} iterations", 1,
               lambda: refine_foreground(image, foreground, settings, "exact"), [lattice], front=True)


def _soft_disc(side: int) -> np.ndarray:
    """A foreground's probability, high in the middle."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    distance = np.hypot(axis[:, None], axis)
    return np.clip(1.2 - distance, 0.02, 0.98)
