"""Proposals of whole splits, found once: one file an image, at the size at which they are found; and how good they are."""
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.base.files import digest, write_json
from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import VOID, Dataset, Sample, subset
from lib.proposals import segments as finder
from lib.proposals.segments import _resized, load_proposals, proposals, quality, save_proposals

Loader = Callable[..., np.ndarray]   # () or ((H, W)) -> masks (P, H, W) bool
CONSTANTS = ("SIDE", "SCALES", "LEAST", "VARIANTS", "AREA", "SAME", "MOST")   # of lib.proposals.segments
FINGERPRINT = "fingerprint.json"   # beside the splits: what the proposals follow from
LEVELS = (0.5, 0.7)                # overlaps at which an object counts as found


def compute(dataset: Dataset, wanted: Mapping[str, int | None], folder: Path, code: Mapping[str, Any],
            workers: int | None = None) -> None:
    """Find the proposals of `wanted` (split -> number of images, None: all), as `folder/<split>/<id>.npz`.

    Images that are there already, from the same data, constants and code, are kept; damaged files are found again, and images that
    are no longer wanted go. `code`: digests of the definitions that decide what comes out, by name. `workers` processes, as many as
    there are cores where it is not given; 1: this one alone.
    """
    jobs = [(sample, folder / split / f"{sample.id}.npz") for split, number in wanted.items() for sample in subset(dataset.split(split), number)]
    constants = {name: getattr(finder, name) for name in CONSTANTS}
    _start(folder, {"data": dataset.hash, "constants": constants, "code": dict(code)})
    _sweep(folder, {path for _, path in jobs})
    workers, label = min(workers or os.cpu_count() or 1, len(jobs)), f"proposals, {dataset.name}"
    if workers > 1:
        _find_side_by_side(jobs, workers, label)
    else:
        for job in progress(jobs, label):
            _find(job)


def open_proposals(folder: Path, split: str, ids: Collection[str] = ()) -> dict[str, Loader]:
    """Id -> loader of a split's proposals; all of `ids` must be there.

    `loader()` gives masks `(P, h, w)` bool of the size at which they were found, `loader((H, W))` of the size that is asked for.
    """
    found = {path.stem: partial(_load, path) for path in sorted((folder / split).glob("*.npz")) if not path.name.startswith(".")}
    missing = [id for id in ids if id not in found]
    if missing or not found:
        what = f'no proposals of the image "{missing[0]}"' if missing else "no proposals"
        raise Problem(f"{folder / split}: there are {what}; run the stage that finds them, with this split and as many images as are used.")
    return found


@dataclass(frozen=True)
class ProposalQuality:
    """Of N images: for each object (by rising number in the instance mask) the best overlap in 0..1 of any proposal, and how many there are."""
    overlaps: list[np.ndarray]   # N times (O,)
    proposals: np.ndarray        # (N,)

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """recall50, recall70 and abo in percent of objects, and proposals an image: `(S,)` each, under image weights `(S, N)`."""
        sums = np.array([[len(best), best.sum(), *((best >= level).sum() for level in LEVELS)] for best in self.overlaps])
        objects, *found = (weights @ sums).T
        share = [100 * part / np.maximum(objects, 1e-12) for part in found]
        return {"recall50": share[1], "recall70": share[2], "abo": share[0], "proposals": weights @ self.proposals}


def proposal_quality(samples: Sequence[Sample], loaders: Mapping[str, Loader]) -> ProposalQuality:
    """Compare proposals with instance masks (1 .. 254 are objects, 255 is void), at the masks' size."""
    overlaps, number = [], []
    for sample in progress(samples, "quality of the proposals"):
        if sample.id not in loaders:
            raise Problem(f'There are no proposals of the image "{sample.id}"; run the stage that finds them for it too.')
        truth = sample.mask("instance_masks")
        masks = loaders[sample.id](truth.shape)
        overlaps.append(quality(masks, [truth == i for i in np.unique(truth) if i not in (0, VOID)], truth != VOID))
        number.append(len(masks))
    if not any(len(best) for best in overlaps):
        raise Problem(f"None of the {len(samples)} images has an object in its instance mask, so there is nothing to compare the proposals with.")
    return ProposalQuality(overlaps, np.array(number))


def _find(job: tuple[Sample, Path]) -> None:
    """At the size at which segments are found: half the bytes and a tenth of the time to load, and larger masks would hold no more."""
    sample, path = job
    if path.is_file() and _readable(path):
        return
    photo = sample.photo()
    photo.thumbnail((finder.SIDE, finder.SIDE), Image.Resampling.BOX, reducing_gap=None)   # never enlarges
    save_proposals(path, proposals(photo))


def _find_side_by_side(jobs: Sequence[tuple[Sample, Path]], workers: int, label: str) -> None:
    """Processes are spawned: a fork would inherit locks of torch's threads."""
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
            for _ in progress(pool.map(_find, jobs), label, total=len(jobs)):
                pass
    except BrokenProcessPool:
        raise Problem(f"{label}: a process was killed, perhaps for want of memory; run it again with fewer workers, it goes on where it was.") from None


def _readable(path: Path) -> bool:
    try:
        load_proposals(path)
    except Problem:
        return False
    return True


def _load(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    masks = load_proposals(path)
    return masks if shape in (None, masks.shape[1:]) else _resized(masks, *shape)


def _one_thread() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _start(folder: Path, facts: dict) -> None:
    """Empty the folder unless its proposals follow from the same facts."""
    path, fingerprint = folder / FINGERPRINT, {"fingerprint": digest(facts)}
    if not path.is_file() or _json(path) != fingerprint:
        if folder.exists():
            shutil.rmtree(folder)
        write_json(path, fingerprint)


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _sweep(folder: Path, wanted: set[Path]) -> None:
    """Remove images that are no longer asked for, and what a killed run left."""
    for path in folder.rglob("*"):
        if path.is_file() and path not in wanted and path != folder / FINGERPRINT:
            path.unlink()
