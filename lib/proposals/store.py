"""Proposals of whole splits, found once, one file an image at the size of the finding; and their quality."""
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.base.shards import WHOLE, FilledFolder, Shard
from lib.data.dataset import VOID, Dataset, Sample, subset
from lib.data.images import shrunk
from lib.proposals import segments
from lib.proposals.segments import load_proposals, proposals, quality, resized, save_proposals

Loader = Callable[..., np.ndarray]   # () or ((H, W)) -> masks (P, H, W) bool
LEVELS = (0.5, 0.7)                  # overlaps at which an object counts as found


@dataclass(frozen=True)
class Job:
    """One image to find proposals of, and the file that they go to."""
    sample: Sample
    path: Path


def compute(dataset: Dataset, wanted: Mapping[str, int | None], folder: Path,
            code: Mapping[str, Any], share: Shard = WHOLE) -> None:
    """Find the proposals of `wanted` (split -> number of images, None: all), as `folder/<split>/<id>.npz`.

    Images that are there already, from the same data, constants and code, are kept; damaged files are found
    again, and images that are no longer wanted go. `code`: digests of the definitions that decide what
    comes out, by name.
    """
    jobs = _jobs(dataset, wanted, folder)
    facts = {"data": dataset.hash, "constants": _constants(), "code": dict(code)}
    filled = FilledFolder(folder, facts, is_done=_readable)
    filled.begin(jobs, share)
    filled.fill(_finder, jobs, f"proposals, {dataset.name}", share)


def _jobs(dataset: Dataset, wanted: Mapping[str, int | None], folder: Path) -> list[Job]:
    jobs = []
    for split, number in wanted.items():
        for sample in subset(dataset.split(split), number):
            jobs.append(Job(sample, folder / split / f"{sample.id}.npz"))
    return jobs


def _constants() -> dict[str, Any]:
    """Constants that proposals follow from, as the fingerprint names them."""
    return {"SIDE": segments.SEGMENT_SIDE, "SCALES": segments.SCALES, "LEAST": segments.LEAST,
            "VARIANTS": segments.VARIANTS, "AREA": segments.AREA, "SAME": segments.SAME,
            "MOST": segments.MOST}


def open_proposals(folder: Path, split: str, ids: Collection[str] = ()) -> dict[str, Loader]:
    """Loaders of a split's proposals, by id; all of `ids` must be there.

    `loader()` gives masks `(P, h, w)` bool of the size at which they were found, `loader((H, W))` of the
    size that is asked for.
    """
    there = loaders(folder / split)
    missing = [id for id in ids if id not in there]
    if missing or not there:
        what = f'no proposals of the image "{missing[0]}"' if missing else "no proposals"
        raise Problem(f"{folder / split}: there are {what}; "
                      "run the stage that finds them, with this split and as many images as are used.")
    return there


def loaders(folder: Path) -> dict[str, Loader]:
    """Loaders of the proposals that lie in a folder, by id; there may be none."""
    return {path.stem: partial(_load, path) for path in sorted(folder.glob("[!.]*.npz"))}


@dataclass(frozen=True)
class ProposalQuality:
    """How well proposals of N images cover their true objects.

    overlaps   best overlap in 0..1 of any proposal with each object of an image, by rising number in the
               instance mask: N times (O,)
    proposals  how many proposals an image has: (N,)
    """
    overlaps: list[np.ndarray]
    proposals: np.ndarray

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Scores `(S,)` under image weights `(S, N)`.

        They are recall50, recall70 and abo, in percent of objects, and the number of proposals an image.
        """
        sums = weights @ np.array([_sums(best) for best in self.overlaps])
        objects = np.maximum(sums[:, 0], 1e-12)
        abo, recall50, recall70 = (100 * part / objects for part in sums[:, 1:].T)
        return {"recall50": recall50, "recall70": recall70, "abo": abo,
                "proposals": weights @ self.proposals}


def _sums(best: np.ndarray) -> list[float]:
    """Of one image: its objects, their best overlaps in sum, and how many are found at each level."""
    return [len(best), best.sum(), *((best >= level).sum() for level in LEVELS)]


def proposal_quality(samples: Sequence[Sample], loaders: Mapping[str, Loader]) -> ProposalQuality:
    """Compare proposals with instance masks (1 .. 254 are objects, 255 is void), at the masks' size."""
    overlaps: list[np.ndarray] = []
    numbers: list[int] = []
    for sample in progress(samples, "quality of the proposals"):
        if sample.id not in loaders:
            raise Problem(f'There are no proposals of the image "{sample.id}"; '
                          "run the stage that finds them for it too.")
        truth = sample.mask("instance_masks")
        masks = loaders[sample.id](truth.shape)
        objects = [truth == number for number in np.unique(truth) if number not in (0, VOID)]
        overlaps.append(quality(masks, objects, truth != VOID))
        numbers.append(len(masks))
    if not any(len(best) for best in overlaps):
        raise Problem(f"None of the {len(samples)} images has an object in its instance mask, "
                      "so there is nothing to compare the proposals with.")
    return ProposalQuality(overlaps, np.array(numbers))


def _finder() -> Callable[[Job], None]:
    return find


def find(job: Job) -> None:
    """Write the proposals of one image, at the size at which segments are found.

    That is half the bytes and a tenth of the time to load, and larger masks would hold no more.
    """
    save_proposals(job.path, proposals(shrunk(job.sample.photo(), segments.SEGMENT_SIDE)))


def _readable(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        load_proposals(path)
    except Problem:
        return False
    return True


def _load(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    masks = load_proposals(path)
    if shape is None or shape == masks.shape[1:]:
        return masks
    return resized(masks, *shape)

