"""Every method's maps on the GPU against the CPU's, and how long both take: `python -m lib.gpu_check`.

It needs neither DVC, papermill nor pydensecrf: what is compared ends where the dense CRF would begin. Where
the weights of EfficientNet-Lite0 are not installed, they are random; both devices have the same ones.
"""
import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.base.files import write_json
from lib.base.parallel import device as own_device
from lib.base.problem import Problem, exit_status
from lib.base.process import medians
from lib.data.images import read_rgb
from lib.nets import load_network
from lib.nets.network import Network
from lib.papers import PAPERS
from lib.params import load_params

NETWORK = "efficientnet_lite0"
# Of maps whose largest value is about 1, in single precision without TF32. Sums in another order differ in
# the seventh digit; principal components, and masks that are cut at a mean, make more of it in places.
MEAN = 1e-4
LARGEST = 1e-2
ROUNDS = 3
SIZES: tuple[tuple[int, int], ...] = ((320, 240), (240, 300))   # of the photographs that are made up

Maps = Callable[[], Mapping[str, Tensor]]   # computes maps by their names


@dataclass(frozen=True)
class Compared:
    """A paper's map on a device and on the CPU: how far apart, in the mean and at most.

    spread         from the CPU's least value to its largest: a flat map would agree with any other
    milliseconds   of all maps of the paper together
    """
    paper: str
    name: str
    mean: float
    largest: float
    spread: float
    milliseconds: float
    cpu_milliseconds: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within what is allowed; one that is no number is not."""
        return self.mean <= MEAN and self.largest <= LARGEST


def main(words: list[str] | None = None) -> int:
    """0 if all maps agree; 1, after a sentence, if some do not or there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m lib.gpu_check", description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path, help="photographs (default: two that are made up)")
    parser.add_argument("--json", type=Path, help="write what was measured there")
    args = parser.parse_args(words)
    return exit_status(lambda: _check(args), "Interrupted.")


def _check(args: argparse.Namespace) -> None:
    device = own_device()
    if device.type == "cpu":
        raise Problem("There is no GPU here that torch can use; run this where torch.cuda.is_available().")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    photos = [read_rgb(path) for path in args.photos] or made_up()
    found = compare(device, photos)
    if args.json:
        write_json(args.json, [asdict(one) for one in found])
    wrong = [one for one in found if not one.agrees]
    if wrong:
        names = ", ".join(f"{one.paper} {one.name}" for one in wrong)
        raise Problem(f"{len(wrong)} of {len(found)} maps differ from the CPU's by more than {MEAN:g} in the "
                      f"mean or {LARGEST:g} at most: {names}.")
    print(f"All {len(found)} maps agree with the CPU's: at most {MEAN:g} in the mean, {LARGEST:g} anywhere.")


def compare(device: torch.device, photos: Sequence[Image.Image], papers: Sequence[str] = (),
            params: Any = None) -> list[Compared]:
    """Maps of photographs on a device and on the CPU, printed as they come; by default of all papers."""
    params = params or load_params()
    found = []
    for paper in papers or PAPERS:
        if find_spec(f"lib.papers.{paper}.devices") is None:
            continue
        maps_on = import_module(f"lib.papers.{paper}.devices").maps_on
        theirs = maps_on(network(), photos, params, device)
        own = maps_on(network(), photos, params, torch.device("cpu"))
        for one in _compared(paper, theirs, own):
            print(f"{one.paper:8s} {one.name:24s} {one.mean:9.1e} in the mean {one.largest:9.1e} at most "
                  f"{one.milliseconds:9.1f} ms {one.cpu_milliseconds:9.1f} ms on the CPU")
            found.append(one)
    return found


def _compared(paper: str, theirs: Maps, own: Maps) -> list[Compared]:
    times = medians({"device": theirs, "cpu": own}, ROUNDS)
    expected = own()
    found = []
    for name, values in theirs().items():
        wanted = expected[name].detach().double()
        difference = (values.detach().cpu().double() - wanted).abs()
        found.append(Compared(
            paper, name, float(difference.mean()), float(difference.max()),
            float(wanted.max() - wanted.min()), times["device"], times["cpu"]))
    return found


def network() -> Network:
    """The network of all papers, on the CPU, with the same weights each time."""
    torch.manual_seed(0)
    try:
        return load_network(NETWORK)
    except Problem:   # its weights are not installed
        return load_network(NETWORK, pretrained=False)


def made_up() -> list[Image.Image]:
    """Photographs of nothing: rectangles on a slope of colours, with noise."""
    photos = []
    for number, (width, height) in enumerate(SIZES):
        draw = np.random.default_rng(number)
        slope = np.linspace(40, 200, width)[None, :, None] * draw.uniform(0.4, 1, 3)
        values = np.broadcast_to(slope, (height, width, 3)) + draw.normal(0, 8, (height, width, 3))
        for _ in range(4):
            x, y = int(draw.uniform(0, 0.7) * width), int(draw.uniform(0, 0.7) * height)
            values[y:y + height // 4, x:x + width // 5] = draw.uniform(0, 255, 3)
        photos.append(Image.fromarray(values.clip(0, 255).astype(np.uint8)))
    return photos


if __name__ == "__main__":
    sys.exit(main())
