"""All methods of the suite on the same images, each in a process of its own.

`python -m lib.comparison METHOD TIER NETWORK FOLDER DATA ID...` is that process; it leaves maps in FOLDER.
"""
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lib.base.paths import BUILD
from lib.base.process import answer_of, peak_mb
from lib.data.dataset import VOID, Dataset, Sample, subset
from lib.methods import default_threshold, segmenter
from lib.metrics.bootstrap import Chance, Scores
from lib.metrics.fmeasure import Curves, curve
from lib.metrics.miou import Confusions, confusion
from lib.papers.found import Found, Request
from lib.proposals.segments import known
from lib.proposals.store import loaders
from lib.report.figures import heat, photograph, picture_grid
from lib.report.provenance import device_used

TIMED = 12   # images, spread evenly
METHODS: tuple[str, ...] = ("rcam", "rcam_box", "dcsm", "csoa", "prm", "iam")


@dataclass(frozen=True)
class Ran:
    """The maps of one method on N images.

    heats     foreground of every image, in its own size
    labels    where the method tells classes apart: label maps by the data set's numbers
    seconds   for each image that was timed, `(T,)`
    memory    the most that its process held, in MB
    device    that it ran on
    """
    heats: list[np.ndarray]
    labels: list[np.ndarray] | None
    seconds: np.ndarray
    memory: float
    device: str = ""


def run(method: str, tier: str, network: str, dataset: Dataset, samples: Sequence[Sample]) -> Ran:
    """Run one method in a process of its own: memory is its own, and a cold start weighs on nobody else."""
    with TemporaryDirectory() as folder:
        ids = [sample.id for sample in samples]
        words = [method, tier, network, folder, str(dataset.folder), *ids]
        facts = answer_of("lib.comparison", words, f"comparison: {method} on {network} failed")
        parts = [np.load(Path(folder) / f"{id}.npz") for id in ids]
        heats = [part["heat"] for part in parts]
        labels = None
        if facts["classes"]:
            labels = [renumbered(part["labels"], facts["classes"], dataset.classes) for part in parts]
        return Ran(heats, labels, np.array(facts["seconds"]), facts["memory"], facts["device"])


def scores(ran: Ran, samples: Sequence[Sample], classes: Sequence[str], chance: Chance) -> Scores:
    """Foreground F and error, seconds an image and memory; mean IoU where the method tells classes apart."""
    weights = chance.draws(len(samples))
    curves = []
    for heat_map, sample in zip(ran.heats, samples, strict=True):
        curves.append(curve(heat_map, *sample.foreground()))
    foreground = Curves.of(curves).scores(weights)
    scored = {metric: foreground[metric] for metric in ("ods", "ois", "mae")}
    if ran.labels is not None:
        scored |= _class_scores(ran.labels, samples, classes, weights)
    seconds = chance.draws(len(ran.seconds)) @ ran.seconds
    return scored | {"seconds": seconds, "memory": np.full(len(weights), ran.memory)}


def map_grid(ran: Mapping[str, Ran], samples: Sequence[Sample], images: int) -> Figure:
    """Photographs, truth, and every method's foreground, on so many images spread evenly."""
    rows, labels = [], []
    for place in subset(range(len(samples)), images):
        sample = samples[place]
        truth = sample.foreground()[0].astype(float)
        maps = [heat(one.heats[place]) for one in ran.values()]
        rows.append([photograph(sample.photo()), heat(truth), *maps])
        labels.append(sample.labels[0] if sample.labels else "")
    return picture_grid(rows, ["photograph", "truth", *ran], labels)


def renumbered(labels: np.ndarray, own: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """A label map by the data set's class numbers; a network may know some of them only, in another order."""
    table = np.zeros(VOID + 1, dtype=np.uint8)
    table[1:1 + len(own)] = [classes.index(name) + 1 for name in own]
    return table[labels]


def _class_scores(labels: Sequence[np.ndarray], samples: Sequence[Sample], classes: Sequence[str],
                  weights: np.ndarray) -> Scores:
    """Mean IoU over the background and the classes that the images are labelled with."""
    named = {classes.index(name) + 1 for sample in samples for name in sample.labels}
    counts = []
    for label_map, sample in zip(labels, samples, strict=True):
        counts.append(confusion(sample.mask("class_masks"), label_map, len(classes) + 1))
    return Confusions.of(counts).scores(weights, sorted({0} | named))


def _here(method: str, tier: str, network: str, folder: Path, dataset: Path, ids: Sequence[str]) -> None:
    """The process of one method: maps into `folder`, facts as JSON on standard output.

    Images that are not timed are spared what was found in them before.
    """
    request = Request(method, tier, network, threshold=default_threshold(method))
    timed = set(subset(ids, TIMED))
    proposals = loaders(BUILD / tier / "proposals" / dataset.name / "test")
    samples = {sample.id: sample for sample in Dataset(dataset, check=False).samples}
    maps_of = segmenter(request)
    maps_of([samples[ids[0]].photo()])   # warms up
    seconds: list[float] = []
    classes: list[str] = []
    for id in ids:
        photo = samples[id].photo()
        start = perf_counter()
        spared = known(proposals[id]()) if id in proposals and id not in timed else nullcontext()
        with spared:
            found = maps_of([photo])[0]
        if id in timed:
            seconds.append(perf_counter() - start)
        classes = list(found.classes)
        _keep(found, photo, folder / f"{id}.npz")
    facts = {"seconds": seconds, "memory": round(peak_mb()), "classes": classes, "device": device_used()}
    print(json.dumps(facts))


def _keep(found: Found, photo: Image.Image, path: Path) -> None:
    small = Image.fromarray(found.heat[0].float().cpu().numpy())
    heat_map = np.asarray(small.resize(photo.size, Image.Resampling.BILINEAR)).clip(0, 1)
    labels = {} if found.labels is None else {"labels": found.labels}
    np.savez_compressed(path, heat=heat_map, **labels)


if __name__ == "__main__":
    _here(*sys.argv[1:4], Path(sys.argv[4]), Path(sys.argv[5]), sys.argv[6:])
