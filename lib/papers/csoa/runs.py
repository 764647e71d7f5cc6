"""Which networks a run of CSoA trains, and what a trained one found on a split, as a file.

Free of torch, since notebooks start from it.
"""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.base.files import whole_file
from lib.base.problem import Problem
from lib.metrics.localisation import Localised
from lib.papers.csoa.settings import CsoaRun, Position, Variant

POSITION: Position = "4-5"   # the paper's, of table 1
MAPS: tuple[str, ...] = ("union", "s_l", "s_f")   # boxes come from both CAMs together, or from one of them


@dataclass(frozen=True)
class Job:
    """One network to train; a trial has constants of its own."""
    variant: Variant
    position: Position
    seed: int
    trial: str = ""

    @property
    def name(self) -> str:
        """Its folder's name, as in csoa_4-5_seed0."""
        name = f"{self.variant}_{self.position}_seed{self.seed}"
        return f"{name}_{self.trial}" if self.trial else name


def jobs(run: CsoaRun) -> list[Job]:
    """All networks of a run: seed by seed, so that an interrupted run has whole rows; trials last."""
    wanted = []
    for seed in run.seeds:
        wanted += [Job(variant, POSITION, seed) for variant in run.variants]
        wanted += [Job("csoa", position, seed) for position in run.positions or ()]
    wanted += [Job("csoa", POSITION, run.seeds[0], trial) for trial in run.trials or ()]
    return list(dict.fromkeys(wanted))   # none twice


@dataclass(frozen=True)
class Located:
    """Findings of one network on N images: the true class's place, and overlaps of boxes at T thresholds.

    ids        of the images
    rank       (N,), the place of the true class, 0 is best
    rank_ten   (N,), its place in the mean over ten crops; -1 where ten crops were not taken
    largest    map -> (N, T), the overlap of the box around the largest component
    every      (N, T), the best overlap of all components of the union (MaxBoxAccV2)
    """
    ids: list[str]
    rank: np.ndarray
    rank_ten: np.ndarray
    largest: Mapping[str, np.ndarray]
    every: np.ndarray

    def localised(self, maps: str = "union") -> Localised:
        """Places and overlaps by one of MAPS, as errors are counted from them."""
        return Localised(self.rank, self.largest[maps])


def save_located(path: Path, located: Located, fingerprint: str) -> None:
    """Write what was found, and the fingerprint of all that it follows from."""
    largest = {f"largest_{name}": overlaps for name, overlaps in located.largest.items()}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, fingerprint=fingerprint, ids=np.array(located.ids), rank=located.rank,
                            rank_ten=located.rank_ten, every=located.every, **largest)


def load_located(path: Path) -> Located:
    """Read what `save_located` wrote; a file that is missing or damaged is named."""
    saved = _read(path)
    if saved is None:
        raise Problem(f"{path}: missing or damaged; run the stage csoa_train again, "
                      "it looks anew at what is not there.")
    return saved[1]


def is_located(path: Path, fingerprint: str) -> bool:
    """Whether a file is there, whole, and of this fingerprint."""
    saved = _read(path)
    return saved is not None and saved[0] == fingerprint


def _read(path: Path) -> tuple[str, Located] | None:
    """(fingerprint, what was found), or None."""
    try:
        with np.load(path) as saved:
            kept = [name for name in MAPS if f"largest_{name}" in saved]
            largest = {name: saved[f"largest_{name}"] for name in kept}
            ids = saved["ids"].tolist()
            located = Located(ids, saved["rank"], saved["rank_ten"], largest, saved["every"])
            return str(saved["fingerprint"]), located
    except Exception:   # it is not there, or its bytes can fail anywhere in the unpacking
        return None
