"""Raw maps of whole splits, computed once per network and kept as float16, one file an image: what DCSM's tables share."""
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lib.base.files import digest, sha256, whole_file, write_json
from lib.base.parallel import device
from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import Dataset, Sample, subset
from lib.maps.backprop import Traced
from lib.nets.fcn import IMAGE, Fcn, load_fcn
from lib.nets.fold import fold_normalisation
from lib.papers.dcsm.blocks import blocks, layers
from lib.papers.dcsm.method import Candidates, RawMaps, candidates, look, pixels, strongest_is_one
from lib.papers.dcsm.settings import MapsRun, MapsSettings

GUIDED, PLAIN, WIDE, SIMONYAN = "guided", "plain", "wide", "simonyan"   # kinds of maps in a file
BLOCKS = "blocks.json"     # beside them: which layers each block of the network means
ABLATIONS = "_ablations"   # ending of the folder with what only the ablation tables need


@dataclass(frozen=True)
class Job:
    """One way back: which kind of map, at which scale, at which layers, for how many of the candidates (None: the targets)."""
    kind: str
    scale: int
    layers: tuple[str, ...]
    classes: int | None

    @property
    def guided(self) -> bool:
        return self.kind in (GUIDED, WIDE)

    @property
    def look(self) -> tuple[int, bool]:
        """Jobs of one look share its forward pass."""
        return self.scale, self.guided


def compute(dataset: Dataset, run: MapsRun, settings: MapsSettings, weights: Path, folder: Path,
            code: Mapping[str, Any]) -> None:
    """Raw maps of every network of the tier; images that are there already, from the same weights, settings and code, are kept.

    `code`: digests of the definitions that decide what comes out, by name.
    """
    for network, images in run.networks.items():
        file = weights / network / "weights.safetensors"
        fcn = fold_normalisation(load_fcn(file, network)).to(device())
        _start(folder / network, {"weights": sha256(file), "data": dataset.hash, "side": run.side, "settings": asdict(settings),
                                  "code": dict(code)})
        write_json(folder / network / BLOCKS, blocks(fcn.trunk))
        test = subset(dataset.split("test"), images.test)
        for split, samples, more in (("val", subset(dataset.split("val"), images.val), False), ("test", test, False),
                                     ("test", subset(test, images.ablations), True)):
            target = folder / network / (split + ABLATIONS * more)
            _sweep(target, {f"{sample.id}.npz" for sample in samples})
            for sample in progress(samples, f"raw maps, {network}, {target.name}"):
                if not (path := target / f"{sample.id}.npz").is_file():
                    write(path, image_maps(fcn, sample.photo(), settings, run.side, more))


def image_maps(fcn: Fcn, photo: Image.Image, settings: MapsSettings, side: int, ablations: bool) -> dict[str, np.ndarray]:
    """Everything a file holds: the order of classes, how many are targets, scores by scale, and maps by kind, scale and layer."""
    jobs = _ablation_jobs(fcn, settings) if ablations else _jobs(fcn, settings)
    names = _passes(jobs)
    seen = {key: look(fcn, photo, pixels(key[0], side), names[key], key[1]) for key in names if key[1] and key[0] in settings.scales}
    scores = torch.cat([traced.scores.detach().amax((2, 3)).sigmoid().cpu() for traced in seen.values()])
    found = candidates(scores, settings.threshold, min(settings.wide, scores.shape[1]))
    arrays = {"order": np.array(found.order), "kept": np.array(found.kept), "scores": scores.numpy(), "size": np.array(photo.size)}
    for place, job in enumerate(jobs):
        if job.look not in seen:
            seen[job.look] = look(fcn, photo, pixels(job.scale, side), names[job.look], job.guided)
        last = all(later.look != job.look for later in jobs[place + 1:])   # then its graph is freed
        traced = Traced(seen[job.look].scores, {name: seen[job.look].layers[name] for name in job.layers})
        classes = torch.tensor([found.order[:max(found.kept, job.classes or 0)]])
        for layer, maps in traced.gradients(classes, last=last).items():
            arrays[f"{job.kind}|{job.scale}|{layer}"] = _compact(maps[0], layer)
        if last:
            del seen[job.look]
    return arrays


def load_raw(path: Path, kind: str = GUIDED) -> RawMaps:
    """The maps of one kind in a file."""
    with _opened(path) as file:
        order, kept = file["order"].tolist(), int(file["kept"])
        maps = {(int(scale), layer): torch.from_numpy(file[key].astype(np.float32))
                for key in file.files if key.count("|") == 2 for name, scale, layer in [key.split("|")] if name == kind}
        if not maps:
            raise Problem(f'{path}: holds no maps of the kind "{kind}"; run the stage dcsm_maps again.')
        return RawMaps(maps, Candidates(order[:max(len(m) for m in maps.values())], kept), tuple(file["size"].tolist()))


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
        raise Problem(f"{path}: raw maps that cannot be read ({error}); delete the file and run the stage dcsm_maps again.") from None


def samples_with_maps(samples: Sequence[Sample], folder: Path) -> list[tuple[Sample, Path]]:
    """The samples whose raw maps lie in a folder, with their files."""
    found = [(s, folder / f"{s.id}.npz") for s in samples if (folder / f"{s.id}.npz").is_file()]
    if not found:
        raise Problem(f"{folder}: there are no raw maps; run the stage dcsm_maps (dvc repro dcsm_maps).")
    return found


def _jobs(fcn: Fcn, settings: MapsSettings) -> list[Job]:
    """Guided maps of the main scales and blocks, and Simonyan's: plain, at the image, of the targets, at the middle scale."""
    main = tuple(layers(fcn.trunk, settings.blocks))
    middle = sorted(settings.scales)[len(settings.scales) // 2]
    return [*(Job(GUIDED, scale, main, settings.candidates) for scale in settings.scales), Job(SIMONYAN, middle, (IMAGE,), None)]


def _ablation_jobs(fcn: Fcn, settings: MapsSettings) -> list[Job]:
    """The lower blocks, the other scales, many candidates, and plain backpropagation."""
    main, lower = tuple(layers(fcn.trunk, settings.blocks)), tuple(layers(fcn.trunk, settings.other_blocks))
    return [job for scale in settings.scales for job in (Job(WIDE, scale, main, settings.wide), Job(GUIDED, scale, lower, settings.candidates),
                                                         Job(PLAIN, scale, main, settings.candidates))
            ] + [Job(GUIDED, scale, main, settings.candidates) for scale in settings.other_scales]


def _passes(jobs: Sequence[Job]) -> Mapping[tuple[int, bool], list[str]]:
    """One forward pass for each scale and rule of the way back, with every layer that any job needs there."""
    found: dict[tuple[int, bool], list[str]] = {}
    for job in jobs:
        names = found.setdefault(job.look, [])
        names += [name for name in job.layers if name not in names]
    return found


def _compact(maps: Tensor, layer: str) -> np.ndarray:
    """`(C, h, w)` float16, the strongest value 1; at the image itself half the resolution is enough."""
    small = avg_pool2d(maps[None], 2)[0] if layer == IMAGE else maps
    return strongest_is_one(small).half().cpu().numpy()


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """What `image_maps` found, as the file that `load_raw` reads; whole or not at all."""
    with whole_file(path) as part:
        np.savez(part, **arrays)


def _sweep(folder: Path, wanted: set[str]) -> None:
    """Remove images that are no longer asked for, and what a killed run left."""
    for path in folder.glob("*"):
        if path.name not in wanted:
            path.unlink()


def _start(folder: Path, facts: dict) -> None:
    """Empty the folder unless its maps come from the same weights, data, settings and code."""
    print_of = {"fingerprint": digest(facts)}
    path = folder / "fingerprint.json"
    if not path.is_file() or json.loads(path.read_text(encoding="utf-8")) != print_of:
        if folder.exists():
            shutil.rmtree(folder)
        write_json(path, print_of)
