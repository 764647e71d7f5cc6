"""The same work on many photographs by one process, and by two of one thread each."""
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from lib.base.race import Effort, Race, jobs_race
from lib.data.drawn import drawn_photos
from lib.data.images import shrunk
from lib.params import load_params
from lib.proposals.segments import SEGMENT_SIDE, proposals
from lib.refine.crf import refine_foreground

FEW = Effort(warm_ups=1, rounds=3)   # a round takes half a minute
SIDE = 224    # of the photographs that CRFs work on


def races(effort: Effort) -> Iterator[Race]:
    """Proposals and CRFs; several numbers of photographs say what the start of the processes costs."""
    photos = drawn_photos(4 if effort.quick else 24)
    numbers = (4,) if effort.quick else (8, 24)
    for number in numbers:
        yield jobs_race("proposals", _proposer, photos[:number])
    fields = [photo.resize((SIDE, SIDE)) for photo in photos] * (1 if effort.quick else 4)
    yield jobs_race("dense CRFs", _refiner, fields)


def _proposer() -> Callable[[Image.Image], np.ndarray]:
    return lambda photo: proposals(shrunk(photo, SEGMENT_SIDE))


def _refiner() -> Callable[[Image.Image], np.ndarray]:
    settings = load_params().rcam.crf

    def refine(photo: Image.Image) -> np.ndarray:
        grey = np.asarray(photo.convert("L"), dtype=np.float32) / 255
        return refine_foreground(np.asarray(photo), grey, settings)
    return refine
