"""Networks that need no training do what `segment` asks of trained ones."""
from pathlib import Path

from PIL import Image

from lib.methods import segmenter
from lib.papers.dcsm.untrained import write
from lib.papers.found import Request
from lib.params import load_params


def test_untrained_networks_segment(tmp_path: Path) -> None:
    classes = ("spoon", "fork", "knife")
    weights = write(Request("dcsm", "smoke"), load_params(), tmp_path, classes)
    maps_of = segmenter(Request("dcsm", "smoke", weights=weights))
    found, = maps_of([Image.effect_mandelbrot((60, 40), (-2, -1, 1, 1), 50).convert("RGB")])
    assert tuple(found.classes) == classes and found.labels.shape == (40, 60)
