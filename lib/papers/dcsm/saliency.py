"""DCSM as a class-agnostic foreground map, to stand in rCAM's table 2."""
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.dataset import Sample
from lib.metrics.scoring import Scored, score
from lib.nets.fcn import Fcn
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.method import enlarge, enlarged, raw_maps, saliency, with_background
from lib.papers.dcsm.settings import DcsmSettings
from lib.refine.crf import dense_crf

SIDE = 224   # of the maps, as rCAM's


def marginals(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int) -> tuple[np.ndarray, list[int]]:
    """After the CRF: the probabilities `(1 + T, H, W)` of the background and of the target classes, and which classes these are."""
    raw = raw_maps(fcn, photo, settings, side)
    maps = enlarge(saliency(enlarged(raw, settings.map_stride), settings, blocks(fcn.trunk)), photo.size)
    return dense_crf(np.asarray(photo), with_background(maps), settings.crf), raw.candidates.order[:raw.candidates.kept]


def foreground(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int) -> Tensor:
    """One minus the background's probability `(1, 1, 224, 224)`."""
    found = 1 - marginals(fcn, photo, settings, side)[0][0]
    return interpolate(torch.from_numpy(found)[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def rcam_table2(fcn: Fcn, samples: Sequence[Sample], settings: DcsmSettings, side: int, batch: int = 4) -> Scored:
    """The row of DCSM, scored as rCAM's rows are."""
    def maps(part: Sequence[Sample]) -> Mapping[str, Tensor]:
        return {"dcsm": torch.cat([foreground(fcn, sample.photo(), settings, side) for sample in part])}

    return score(samples, batch, maps, f"rCAM's table 2, {fcn.name}")
