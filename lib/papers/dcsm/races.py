"""What the benchmark times of DCSM: raw maps of many photographs, by one process and by two."""
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from lib.base.parallel import device
from lib.base.race import Effort, Race, jobs_race
from lib.data.drawn import drawn_photos
from lib.nets.fcn import Fcn
from lib.papers.dcsm.maps import image_maps
from lib.papers.dcsm.method import load_folded
from lib.papers.dcsm.settings import MapsSettings
from lib.papers.dcsm.untrained import write
from lib.papers.found import Request

TIER = "collage"
CLASSES: tuple[str, ...] = tuple("abcdefgh")


def raw_maps(effort: Effort, params: Any) -> Iterator[Race]:
    """At the default tier's size, with a head that is not trained."""
    run = params.tier[TIER].dcsm_maps
    with TemporaryDirectory() as folder:
        weights = write(Request("dcsm", TIER), params, Path(folder), CLASSES)
        fcn = load_folded(weights, next(iter(run.networks)))
    side = run.side // 2 if effort.quick else run.side
    make = partial(_maker, fcn, params.dcsm_maps, side)
    yield jobs_race("raw maps of DCSM", make, drawn_photos(4 if effort.quick else 24))


def _maker(fcn: Fcn, settings: MapsSettings, side: int) -> Callable[[Image.Image], np.ndarray]:
    fcn = fcn.to(device())

    def make(photo: Image.Image) -> np.ndarray:
        arrays = image_maps(fcn, photo, settings, side, ablations=False)
        return np.concatenate([array.ravel() for array in arrays.values()])
    return make


RACES = {"jobs": raw_maps}
