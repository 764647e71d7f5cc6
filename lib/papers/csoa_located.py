"""What a trained network of CSoA found on a split, as a file; free of torch, since notebooks start from it."""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.files import whole_file
from lib.metrics.localisation import Localised
from lib.problem import Problem

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
