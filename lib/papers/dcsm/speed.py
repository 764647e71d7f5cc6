"""How long DCSM's maps take, in a process of its own.

The backward pass for all candidates at once, from one forward pass, against a loop over classes that runs
forward and backward each time. `python -m lib.papers.dcsm.speed WEIGHTS PHOTO SETTINGS SIDE`, where SETTINGS
are JSON.
"""
import json
import sys
from dataclasses import asdict
from pathlib import Path

from lib.base.process import answer_of, medians
from lib.base.strict import build
from lib.papers.dcsm.settings import DcsmSettings

CLASSES = 8   # of the comparison


def measure(weights: Path, photo: Path, settings: DcsmSettings, side: int) -> dict[str, float]:
    """Medians in milliseconds."""
    words = [str(weights), str(photo), json.dumps(asdict(settings)), str(side)]
    failure = f"the speed of {weights.parent.name} could not be measured"
    return answer_of("lib.papers.dcsm.speed", words, failure)


def measure_here(weights: Path, path: Path, settings: DcsmSettings, side: int) -> dict[str, float]:
    """Medians in milliseconds, measured in this process."""
    import torch

    from lib.data.images import read_rgb
    from lib.nets.fcn import Fcn, load_fcn
    from lib.nets.fold import fold_normalisation
    from lib.papers.dcsm.blocks import blocks, layers
    from lib.papers.dcsm.method import forward_pass, longest_side, middle, raw_maps, segment

    photo = read_rgb(path)
    plain = load_fcn(weights)
    folded = fold_normalisation(load_fcn(weights))
    chosen = layers(folded.trunk, settings.blocks)
    longest = longest_side(middle(settings.scales), side)
    classes = torch.arange(min(CLASSES, len(folded.classes)))[None]
    raw = raw_maps(folded, photo, settings, side)

    def together() -> None:
        forward_pass(folded, photo, longest, chosen, guided=True).gradients(classes)

    def one_by_one(fcn: Fcn) -> None:
        for one in classes[0]:
            forward_pass(fcn, photo, longest, chosen, guided=True).gradients(one[None, None])

    number = classes.numel()
    return medians({
        "maps, all scales and candidates": lambda: raw_maps(folded, photo, settings, side),
        "subtraction, aggregation and CRF": lambda: segment(photo, raw, settings, blocks(folded.trunk)),
        f"{number} classes together": together,
        f"{number} classes, a loop that runs forward and back": lambda: one_by_one(plain),
        f"{number} classes, the same loop with folded normalisation": lambda: one_by_one(folded),
    })


if __name__ == "__main__":
    weights, photo, settings, side = sys.argv[1:]
    own = build(DcsmSettings, json.loads(settings), "settings")
    print(json.dumps(measure_here(Path(weights), Path(photo), own, int(side))))
