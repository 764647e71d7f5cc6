"""Which filling modules are trained on a classifier; free of torch."""
from dataclasses import dataclass

from lib.papers.iam_settings import IamNetwork

TABLE_K = (1, 5, 9)   # of table 1
MAIN = 5               # k of the modules that sections 4.2 and 4.3 use


@dataclass(frozen=True)
class FillingJob:
    """One filling module to train; an `unseen` one never sees an image of the classes that are held out."""
    k: int
    seed: int
    unseen: bool = False

    @property
    def name(self) -> str:
        return f"k{self.k}_seed{self.seed}" + "_unseen" * self.unseen


def filling_jobs(network: IamNetwork, unseen: bool) -> list[FillingJob]:
    """Everything, seed by seed, so that an interrupted run has whole rows."""
    return [job for seed in network.seeds for job in [FillingJob(k, seed) for k in network.k] + [FillingJob(MAIN, seed, True)] * unseen]
