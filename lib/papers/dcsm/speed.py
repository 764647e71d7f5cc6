"""How long DCSM's maps take, in a process of its own: `python -m lib.papers.dcsm.speed WEIGHTS PHOTO SIDE`.

The way back for all candidates at once, from one forward pass, against a loop over classes that runs forward and back each time.
"""
import json
import sys
from pathlib import Path

from lib.base.process import answer_of, medians

CLASSES = 8   # of the comparison


def measure(weights: Path, photo: Path, side: int) -> dict[str, float]:
    """Medians in milliseconds."""
    return answer_of("lib.papers.dcsm.speed", [str(weights), str(photo), str(side)], f"the speed of {weights.parent.name} could not be measured")


def _measure_here(weights: Path, path: Path, side: int) -> dict[str, float]:
    import torch

    from lib.data.images import read_rgb
    from lib.nets.fcn import load_fcn
    from lib.nets.fold import fold_normalisation
    from lib.papers.dcsm.blocks import blocks, layers
    from lib.papers.dcsm.method import look, pixels, raw_maps, segment
    from lib.params import load_params

    settings, photo = load_params().dcsm, read_rgb(path)
    plain, fcn = load_fcn(weights), fold_normalisation(load_fcn(weights))
    chosen, middle = layers(fcn.trunk, settings.blocks), pixels(sorted(settings.scales)[len(settings.scales) // 2], side)
    several = torch.arange(min(CLASSES, len(fcn.classes)))[None]

    def one_by_one(network: object) -> None:
        for c in several[0]:
            look(network, photo, middle, chosen, True).gradients(c[None, None])

    raw = raw_maps(fcn, photo, settings, side)
    times = {"maps, all scales and candidates": lambda: raw_maps(fcn, photo, settings, side),
             "subtraction, aggregation and CRF": lambda: segment(photo, raw, settings, blocks(fcn.trunk)),
             f"{several.numel()} classes together": lambda: look(fcn, photo, middle, chosen, True).gradients(several),
             f"{several.numel()} classes, a loop that runs forward and back": lambda: one_by_one(plain),
             f"{several.numel()} classes, the same loop with folded normalisation": lambda: one_by_one(fcn)}
    return medians(times)


if __name__ == "__main__":
    print(json.dumps(_measure_here(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
