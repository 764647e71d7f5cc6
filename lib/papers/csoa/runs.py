"""What a trained network of CSoA found on a split, as a file; free of torch, since notebooks start from it."""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.base.files import whole_file
from lib.base.problem import Problem
from lib.metrics.localisation import Localised
from lib.papers.csoa.settings import CsoaRun, Position, Variant

POSITION: Position = "4-5"   # the paper's, of table 1


@dataclass(frozen=True)
class Job:
    """One network to train; a trial has constants of its own."""
    variant: Variant
    position: Position
    seed: int
    trial: str = ""

    @property
    def name(self) -> str:
        return "_".join([self.variant, self.position, f"seed{self.seed}"] + [self.trial] * bool(self.trial))


def jobs(run: CsoaRun) -> list[Job]:
    """Everything, seed by seed, so that an interrupted run has whole rows; trials last."""
    found = [job for seed in run.seeds for job in
             [Job(variant, POSITION, seed) for variant in run.variants] + [Job("csoa", position, seed) for position in run.positions or ()]]
    return list(dict.fromkeys(found + [Job("csoa", POSITION, run.seeds[0], trial) for trial in run.trials or ()]))


MAPS = ("union", "s_l", "s_f")   # of both CAMs, or of one


@dataclass(frozen=True)
class Located:
    """What one network found on N images: the place of the true class, and the overlap of its boxes at T thresholds by map."""
    ids: list[str]
    rank: np.ndarray                            # (N,), 0 is best
    rank_ten: np.ndarray                        # (N,), of the mean over ten crops; -1 where they were not looked at
    largest: Mapping[str, np.ndarray]           # map -> (N, T), the largest component's box
    every: np.ndarray                           # (N, T), the best of all components of the union (MaxBoxAccV2)

    def at(self, maps: str = "union") -> Localised:
        return Localised(self.rank, self.largest[maps])

    def of(self, rows: np.ndarray) -> "Located":
        """The same of some images."""
        return Located([self.ids[i] for i in rows], self.rank[rows], self.rank_ten[rows], {k: v[rows] for k, v in self.largest.items()}, self.every[rows])


def save_located(path: Path, found: Located, fingerprint: str) -> None:
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, fingerprint=fingerprint, ids=np.array(found.ids), rank=found.rank, rank_ten=found.rank_ten, every=found.every,
                            **{f"largest_{name}": values for name, values in found.largest.items()})


def load_located(path: Path, fingerprint: str | None = None) -> Located | None:
    """None where it is of another fingerprint or not there and one is asked for."""
    try:
        with np.load(path) as saved:
            if fingerprint is not None and str(saved["fingerprint"]) != fingerprint:
                return None
            maps = {name: saved[f"largest_{name}"] for name in MAPS if f"largest_{name}" in saved}
            return Located(saved["ids"].tolist(), saved["rank"], saved["rank_ten"], maps, saved["every"])
    except Exception:   # not there, or bytes that can fail anywhere in the unpacking
        if fingerprint is not None:
            return None
        raise Problem(f"{path}: missing or damaged; run the stage csoa_train again, it looks anew at what is not there.") from None
