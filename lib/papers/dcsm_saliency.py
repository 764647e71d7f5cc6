"""DCSM as a class-agnostic foreground map, to stand in rCAM's table 2."""
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.dataset import Sample
from lib.nets.fcn import Fcn
from lib.papers.dcsm import enlarge, enlarged, raw_maps, saliency, with_background
from lib.papers.dcsm_blocks import blocks
from lib.papers.dcsm_settings import DcsmSettings
from lib.papers.scoring import Scored, score
from lib.refine.crf import dense_crf

SIDE = 224   # of the maps, as rCAM's


def foreground(fcn: Fcn, photo: Image.Image, settings: DcsmSettings, side: int) -> Tensor:
    """One minus the background's marginal after the CRF `(1, 1, 224, 224)`."""
    maps = enlarge(saliency(enlarged(raw_maps(fcn, photo, settings, side), settings.map_stride), settings, blocks(fcn.trunk)), photo.size)
    found = 1 - dense_crf(np.asarray(photo), with_background(maps), settings.crf)[0]
    return interpolate(torch.from_numpy(found)[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def rcam_table2(fcn: Fcn, samples: Sequence[Sample], settings: DcsmSettings, side: int, batch: int = 4) -> Scored:
    """The row of DCSM, scored as rCAM's rows are."""
    def maps(part: Sequence[Sample]) -> Mapping[str, Tensor]:
        return {"dcsm": torch.cat([foreground(fcn, sample.photo(), settings, side) for sample in part])}

    return score(samples, batch, maps, f"rCAM's table 2, {fcn.name}")
