"""DCSM as a class-agnostic foreground map, to stand in rCAM's table 2."""
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.dataset import Sample
from lib.metrics.scoring import HeatMaps, Scored, score
from lib.nets.fcn import Fcn
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.method import enlarge, enlarged, raw_maps, saliency, with_background
from lib.papers.dcsm.settings import DcsmSettings
from lib.refine.crf import dense_crf

RCAM_SIDE = 224   # pixels of rCAM's maps
AT_ONCE = 4       # images; the maps of each are computed by themselves


def marginals(fcn: Fcn, photo: Image.Image, settings: DcsmSettings,
              side: int) -> tuple[np.ndarray, list[int]]:
    """Probabilities `(1 + T, H, W)` of background and targets after the CRF, and the targets' numbers."""
    raw = raw_maps(fcn, photo, settings, side)
    maps = enlarge(saliency(enlarged(raw, settings.map_stride), settings, blocks(fcn.trunk)), photo.size)
    return dense_crf(np.asarray(photo), with_background(maps), settings.crf), raw.candidates.targets


def foreground(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int) -> Tensor:
    """One minus the background's probability `(1, 1, 224, 224)`."""
    probability, _ = marginals(fcn, photo, settings, side)
    heat = torch.from_numpy(1 - probability[0])[None, None]
    size = (RCAM_SIDE, RCAM_SIDE)
    return interpolate(heat, size, mode="bilinear", align_corners=False, antialias=True)


def rcam_table2(fcn: Fcn, samples: Sequence[Sample], settings: DcsmSettings, side: int) -> Scored:
    """The row of DCSM, scored as rCAM's rows are."""
    return score(samples, AT_ONCE, partial(_foregrounds, fcn, settings, side), f"rCAM's table 2, {fcn.name}")


def _foregrounds(fcn: Fcn, settings: DcsmSettings, side: int) -> HeatMaps:
    def maps(part: Sequence[Sample]) -> Mapping[str, Tensor]:
        return {"dcsm": torch.cat([foreground(fcn, sample.photo(), settings, side) for sample in part])}
    return maps
