"""Raw maps of whole splits, computed once per network and kept as float16, one file an image.

All tables of DCSM start from them.
"""
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lib.base.files import sha256, whole_file, write_json
from lib.base.parallel import device
from lib.base.problem import Problem
from lib.base.shards import WHOLE, FilledFolder, Shard
from lib.data.dataset import Dataset, Sample, subset
from lib.maps.backprop import Traced
from lib.nets.fcn import IMAGE, Fcn
from lib.papers.dcsm.blocks import blocks, layers
from lib.papers.dcsm.method import (
    Candidates,
    RawMaps,
    candidates,
    class_scores,
    forward_pass,
    load_folded,
    longest_side,
    middle,
    strongest_is_one,
)
from lib.papers.dcsm.settings import MapsImages, MapsRun, MapsSettings

# Kinds of maps in a file.
GUIDED = "guided"       # by guided backpropagation, of `candidates` classes
WIDE = "wide"           # the same for many more candidates
PLAIN = "plain"         # by plain backpropagation
SIMONYAN = "simonyan"   # plain, at the image, of the targets alone

BLOCKS = "blocks.json"     # beside them: which layers each block of the network means
ABLATIONS = "_ablations"   # ending of the folder with what only the ablation tables need


@dataclass(frozen=True)
class Key:
    """Which map an array of a file is; `str` of it is the array's name."""
    kind: str
    scale: int
    layer: str

    def __str__(self) -> str:
        return f"{self.kind}|{self.scale}|{self.layer}"

    @staticmethod
    def read(name: str) -> "Key | None":
        """The key with this name; None for the arrays of a file that are no maps."""
        parts = name.split("|")
        return Key(parts[0], int(parts[1]), parts[2]) if len(parts) == 3 else None


@dataclass(frozen=True)
class Pass:
    """One forward pass: at which scale, and whether the backward pass from it is guided."""
    scale: int
    guided: bool


@dataclass(frozen=True)
class Job:
    """One backward pass: which kind of map, at which scale, at which layers, for how many of the candidates.

    `classes` None means the targets.
    """
    kind: str
    scale: int
    layers: tuple[str, ...]
    classes: int | None

    @property
    def forward(self) -> Pass:
        """The forward pass that it starts from; jobs may share it."""
        return Pass(self.scale, self.kind in (GUIDED, WIDE))


@dataclass(frozen=True)
class Part:
    """The images of one folder of raw maps; `ablations`: with what only the ablation tables need."""
    folder: str
    samples: Sequence[Sample]
    ablations: bool

    def files(self, place: Path) -> "list[RawFile]":
        """Their files in the folder of a network."""
        folder = place / self.folder
        return [RawFile(sample, folder / f"{sample.id}.npz", self.ablations) for sample in self.samples]


@dataclass(frozen=True)
class RawFile:
    """The file with the raw maps of one image; `ablations`: with what only the ablation tables need."""
    sample: Sample
    path: Path
    ablations: bool


# Whole splits

@dataclass(frozen=True)
class MapFolders:
    """Where the trained networks lie, and where their raw maps go: a folder for each in both."""
    weights: Path
    maps: Path


def compute(dataset: Dataset, run: MapsRun, settings: MapsSettings, folders: MapFolders,
            code: Mapping[str, Any], share: Shard = WHOLE) -> None:
    """Raw maps of every network of the tier.

    Images that are there already, from the same weights, settings and code, are kept. `code`: digests of the
    definitions that decide what comes out, by name.
    """
    for network, images in run.networks.items():
        weights = folders.weights / network / "weights.safetensors"
        fcn = load_folded(weights, network)
        place = folders.maps / network
        files: list[RawFile] = []
        for part in _parts(dataset, images):
            files += part.files(place)
        facts = {"weights": sha256(weights), "data": dataset.hash, "side": run.side,
                 "settings": asdict(settings), "code": dict(code)}
        filled = FilledFolder(place, facts, [place / BLOCKS])
        filled.begin(files, share)
        write_json(place / BLOCKS, blocks(fcn.trunk))
        filled.fill(partial(writer, fcn, settings, run.side), files, f"raw maps, {network}", share)


def writer(fcn: Fcn, settings: MapsSettings, side: int) -> Callable[[RawFile], None]:
    """A function that makes the file of an image; networks are sent to other processes by way of the CPU."""
    fcn = fcn.to(device())

    def make(file: RawFile) -> None:
        write(file.path, image_maps(fcn, file.sample.photo(), settings, side, file.ablations))
    return make


def _parts(dataset: Dataset, images: MapsImages) -> list[Part]:
    """Validation and test images, and those test images that the ablations are run on."""
    test = subset(dataset.split("test"), images.test)
    return [Part("val", subset(dataset.split("val"), images.val), ablations=False),
            Part("test", test, ablations=False),
            Part("test" + ABLATIONS, subset(test, images.ablations), ablations=True)]


# One image

def image_maps(fcn: Fcn, photo: Image.Image, settings: MapsSettings, side: int,
               ablations: bool) -> dict[str, np.ndarray]:
    """Everything that a file holds.

    The order of the classes, how many of them are targets, their scores by scale, the image's size, and the
    maps by kind, scale and layer.
    """
    jobs = _ablation_jobs(fcn, settings) if ablations else _main_jobs(fcn, settings)
    passes = _Passes(fcn, photo, side, jobs)
    scores = passes.scores(settings.scales)
    best_first = candidates(scores, settings.threshold, min(settings.wide, scores.shape[1]))
    arrays = {
        "order": np.array(best_first.order),
        "kept": np.array(best_first.kept),
        "scores": scores.numpy(),
        "size": np.array(photo.size),
    }
    for job in jobs:
        classes = best_first.order[:max(best_first.kept, job.classes or 0)]
        for layer, maps in passes.gradients(job, classes).items():
            arrays[str(Key(job.kind, job.scale, layer))] = _compact(maps[0], layer)
    return arrays


def _main_jobs(fcn: Fcn, settings: MapsSettings) -> list[Job]:
    """Guided maps of the main scales and blocks, and Simonyan's: plain, at the image, at the middle scale."""
    main = tuple(layers(fcn.trunk, settings.blocks))
    guided = [Job(GUIDED, scale, main, settings.candidates) for scale in settings.scales]
    return [*guided, Job(SIMONYAN, middle(settings.scales), (IMAGE,), None)]


def _ablation_jobs(fcn: Fcn, settings: MapsSettings) -> list[Job]:
    """The lower blocks, the other scales, many candidates, and plain backpropagation."""
    main = tuple(layers(fcn.trunk, settings.blocks))
    lower = tuple(layers(fcn.trunk, settings.other_blocks))
    jobs = []
    for scale in settings.scales:
        jobs += [Job(WIDE, scale, main, settings.wide), Job(GUIDED, scale, lower, settings.candidates),
                 Job(PLAIN, scale, main, settings.candidates)]
    jobs += [Job(GUIDED, scale, main, settings.candidates) for scale in settings.other_scales]
    return jobs


class _Passes:
    """The forward passes of one image: each is made once for all its jobs, and freed after the last."""

    def __init__(self, fcn: Fcn, photo: Image.Image, side: int, jobs: Sequence[Job]) -> None:
        self.fcn = fcn
        self.photo = photo
        self.side = side
        self.waiting = Counter(job.forward for job in jobs)
        self.layers = _layers_by_pass(jobs)
        self.made: dict[Pass, Traced] = {}

    def scores(self, scales: Sequence[int]) -> Tensor:
        """Class scores `(S, K)` of the guided passes at these scales."""
        wanted = [each for each in self.layers if each.guided and each.scale in scales]
        return class_scores([self._traced(each) for each in wanted])

    def gradients(self, job: Job, classes: Sequence[int]) -> dict[str, Tensor]:
        """Derivatives of one backward pass: `{layer: (1, C, h, w)}`."""
        traced = self._traced(job.forward)
        self.waiting[job.forward] -= 1
        is_last = not self.waiting[job.forward]
        if is_last:
            del self.made[job.forward]
        own = Traced(traced.scores, {name: traced.layers[name] for name in job.layers})
        return own.gradients(torch.tensor([list(classes)]), last=is_last)

    def _traced(self, forward: Pass) -> Traced:
        if forward not in self.made:
            longest = longest_side(forward.scale, self.side)
            chosen = self.layers[forward]
            self.made[forward] = forward_pass(self.fcn, self.photo, longest, chosen, forward.guided)
        return self.made[forward]


def _layers_by_pass(jobs: Sequence[Job]) -> dict[Pass, list[str]]:
    """Every layer that any job needs of a forward pass."""
    names: dict[Pass, list[str]] = {}
    for job in jobs:
        known = names.setdefault(job.forward, [])
        known += [name for name in job.layers if name not in known]
    return names


def _compact(maps: Tensor, layer: str) -> np.ndarray:
    """`(C, h, w)` float16, the strongest value 1; at the image itself half the resolution is enough."""
    small = avg_pool2d(maps[None], 2)[0] if layer == IMAGE else maps
    return strongest_is_one(small).half().cpu().numpy()


# Files

def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write what `image_maps` returned as the file that `load_raw` reads; whole or not at all."""
    with whole_file(path) as part:
        np.savez(part, **arrays)


def load_raw(path: Path, kind: str = GUIDED) -> RawMaps:
    """The maps of one kind in a file."""
    maps: dict[tuple[int, str], Tensor] = {}
    with _opened(path) as file:
        for name in file.files:
            key = Key.read(name)
            if key is not None and key.kind == kind:
                maps[key.scale, key.layer] = torch.from_numpy(file[name].astype(np.float32))
        if not maps:
            raise Problem(f'{path}: holds no maps of the kind "{kind}"; run the stage dcsm_maps again.')
        most = max(len(each) for each in maps.values())
        best_first = Candidates(file["order"].tolist()[:most], int(file["kept"]))
        return RawMaps(maps, best_first, tuple(file["size"].tolist()))


def load_scores(path: Path) -> np.ndarray:
    """Sigmoid class scores `(S, K)` at the main scales."""
    with _opened(path) as file:
        return file["scores"]


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    try:
        with np.load(path) as file:
            yield file
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise Problem(f"{path}: raw maps that cannot be read ({error}); "
                      "delete the file and run the stage dcsm_maps again.") from None


def samples_with_maps(samples: Sequence[Sample], folder: Path) -> list[tuple[Sample, Path]]:
    """The samples whose raw maps lie in a folder, with their files."""
    items = [(sample, folder / f"{sample.id}.npz") for sample in samples]
    items = [(sample, path) for sample, path in items if path.is_file()]
    if not items:
        raise Problem(f"{folder}: there are no raw maps; run the stage dcsm_maps (dvc repro dcsm_maps).")
    return items
