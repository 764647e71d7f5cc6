"""Score-CAM's constants; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass

from lib.base.runs import TableRun
from lib.base.strict import bounded


@dataclass(frozen=True)
class ScoreCamSettings:
    """How the method is run.

    side     of the square that the network sees
    batch    masked images of one forward pass
    images   of the test split, spread evenly
    """
    side: int = bounded(32, 1024)
    batch: int = bounded(1, 4096)
    images: int = bounded(2, 100_000)


@dataclass(frozen=True)
class Params:
    """Score-CAM's constants in params.yaml."""
    scorecam: ScoreCamSettings


@dataclass(frozen=True)
class Tier:
    """Score-CAM is not trained: it runs on the tier's own data set and networks."""

    @property
    def scorecam(self) -> TableRun:
        return TableRun(self.dataset, self.networks)


STAGES: tuple[str, ...] = ()
NOTEBOOKS = ("scorecam",)
USUAL: dict[str, tuple[str, ...]] = {}


def check(params: Params) -> None:
    """No two constants can contradict each other."""


def check_tier(name: str, tier: Tier, params: Params) -> None:
    """Nothing has to be there before the notebook."""
