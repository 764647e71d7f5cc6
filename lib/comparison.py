"""All methods of the suite on the same images, each in a process of its own: `python -m lib.comparison METHOD TIER NETWORK FOLDER DATA ID...`."""
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lib.base.process import answer_of, peak_mb
from lib.data.dataset import VOID, Dataset, Sample, subset
from lib.methods import default_threshold, segmenter
from lib.metrics.bootstrap import Chance, Scores
from lib.metrics.fmeasure import Curves, curve
from lib.metrics.miou import Confusions, confusion
from lib.papers.found import Found, Request
from lib.report.figures import heat, photograph, picture_grid

METHODS = ("rcam", "rcam_box", "dcsm", "csoa", "prm", "iam")


@dataclass(frozen=True)
class Ran:
    """What one method left of N images: maps and, where it tells classes apart, label maps by the data set's numbers; seconds `(N,)`."""
    heats: list[np.ndarray]
    labels: list[np.ndarray] | None
    seconds: np.ndarray
    memory: float


def run(method: str, tier: str, network: str, dataset: Dataset, samples: Sequence[Sample]) -> Ran:
    """In a process of its own, so that its memory is its own and a cold start weighs on nobody else."""
    with TemporaryDirectory() as folder:
        words = [method, tier, network, folder, str(dataset.folder), *(sample.id for sample in samples)]
        facts = answer_of("lib.comparison", words, f"comparison: {method} on {network} failed")
        parts = [np.load(Path(folder) / f"{sample.id}.npz") for sample in samples]
        labels = [_renumbered(part["labels"], facts["classes"], dataset.classes) for part in parts] if facts["classes"] else None
        return Ran([part["heat"] for part in parts], labels, np.array(facts["seconds"]), facts["memory"])


def scores(ran: Ran, samples: Sequence[Sample], classes: Sequence[str], chance: Chance) -> Scores:
    """Foreground F and error, mean IoU over background and classes where the method tells them apart, seconds an image and memory."""
    weights = chance.draws(len(samples))
    truth = [sample.foreground() for sample in samples]
    found = dict(Curves.of([curve(heat, *both) for heat, both in zip(ran.heats, truth)]).scores(weights))
    found = {metric: found[metric] for metric in ("ods", "ois", "mae")}
    if ran.labels is not None:
        masks = [sample.mask("class_masks") for sample in samples]
        present = sorted({0} | {classes.index(name) + 1 for sample in samples for name in sample.labels})
        counts = [confusion(mask, labels, len(classes) + 1) for mask, labels in zip(masks, ran.labels)]
        found |= Confusions.of(counts).scores(weights, present)
    return found | {"seconds": weights @ ran.seconds, "memory": np.full(len(weights), ran.memory)}


def map_grid(ran: Mapping[str, Ran], samples: Sequence[Sample], images: int) -> Figure:
    """Photographs, truth, and every method's foreground."""
    chosen = subset(range(len(samples)), images)
    rows = [[photograph(samples[i].photo()), heat(samples[i].foreground()[0].astype(float)), *(heat(one.heats[i]) for one in ran.values())] for i in chosen]
    return picture_grid(rows, ["photograph", "truth", *ran], [samples[i].labels[0] if samples[i].labels else "" for i in chosen])


def _renumbered(labels: np.ndarray, own: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """By the data set's class numbers: a network may know some of its classes only, or have them in another order."""
    table = np.zeros(VOID + 1, dtype=np.uint8)
    table[1:1 + len(own)] = [classes.index(name) + 1 for name in own]
    return table[labels]


def _here(method: str, tier: str, network: str, folder: Path, dataset: Path, ids: Sequence[str]) -> None:
    """What the process of one method does: maps into `folder`, facts as JSON on standard output."""
    request = Request(method, tier, network, threshold=default_threshold(method))
    samples = {sample.id: sample for sample in Dataset(dataset, check=False).samples}
    maps_of = segmenter(request)
    maps_of([samples[ids[0]].photo()])   # warms up
    seconds: list[float] = []
    classes: list[str] = []
    for id in ids:
        photo = samples[id].photo()
        start = perf_counter()
        found = maps_of([photo])[0]
        seconds.append(perf_counter() - start)
        classes = list(found.classes)
        _keep(found, photo, folder / f"{id}.npz")
    print(json.dumps({"seconds": seconds, "memory": round(peak_mb()), "classes": classes}))


def _keep(found: Found, photo: Image.Image, path: Path) -> None:
    small = Image.fromarray(found.heat[0].float().cpu().numpy())
    heat_map = np.asarray(small.resize(photo.size, Image.Resampling.BILINEAR)).clip(0, 1)
    labels = {} if found.labels is None else {"labels": found.labels}
    np.savez_compressed(path, heat=heat_map, **labels)


if __name__ == "__main__":
    _here(*sys.argv[1:4], Path(sys.argv[4]), Path(sys.argv[5]), sys.argv[6:])
