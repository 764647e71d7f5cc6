"""What the benchmark times of IAM: the same maps by both ways, and networks that need no training."""
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base.race import Effort, difference
from lib.methods import segmenter
from lib.papers.found import Request
from lib.papers.iam.races import RACES, filling, peaks
from lib.papers.iam.untrained import write
from lib.params import load_params


def test_peaks_at_once_and_one_by_one() -> None:
    race = peaks(96)
    peer, = race.peers
    assert race.ours().shape == (8, 96, 96) and difference(race, peer) < 1e-4


def test_filling_by_slices_and_by_windows() -> None:
    race = filling(2)
    peer, = race.peers
    assert difference(race, peer) < 1e-5


def test_every_row_has_races() -> None:
    assert set(RACES) == {"prm", "filling"}
    assert len(list(RACES["filling"](Effort(quick=True), load_params()))) == 1


def test_untrained_networks_segment(tmp_path: Path) -> None:
    """The classifier beside the filling module is taken: it has other classes than the tier's."""
    classes = ("spoon", "fork")
    weights = write(Request("iam", "smoke"), load_params(), tmp_path, classes)
    maps_of = segmenter(Request("iam", "smoke", weights=weights))
    found, = maps_of([Image.effect_mandelbrot((60, 40), (-2, -1, 1, 1), 50).convert("RGB")])
    assert tuple(found.classes) == classes and found.labels.shape == (40, 60)
    assert set(np.unique(found.labels)) <= {0, 1, 2}
