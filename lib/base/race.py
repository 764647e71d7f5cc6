"""The same work by this suite and by others: compared first, then timed side by side."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lib.base.environment import environment
from lib.base.problem import Problem
from lib.base.process import rounds_of
from lib.base.work import JOBS, each

OURS = "this suite"
FASTER_BY_TWO = 1.7   # how many times as fast two processes are to be
MANY = 24             # items from which on it stands on the front page


@dataclass(frozen=True)
class Effort:
    """How often everything is done: rounds that warm up, then rounds that count."""
    warm_ups: int = 10
    rounds: int = 20
    quick: bool = False   # smaller images and fewer settings, to see that all runs


@dataclass(frozen=True)
class Runner:
    """Somebody else who does the work of a race.

    run     does it once
    maps    what `run` returned -> maps as this suite has them; None for work without maps
    least   how many times as fast this suite has to be; None: it is shown, and nothing is asked for
    """
    name: str
    run: Callable[[], Any]
    maps: Callable[[Any], Any] | None = None
    least: float | None = None


@dataclass(frozen=True)
class Race:
    """Work at one setting, done by this suite and by its peers.

    row         of the benchmark
    images      that one call of `ours` works on
    ours        does the work once and returns maps
    tolerance   how far the maps of a peer may be from ours, as a share of our largest value
    front       whether it stands on the front page
    """
    row: str
    setting: str
    images: int
    ours: Callable[[], Any]
    peers: Sequence[Runner]
    tolerance: float = 1e-4
    front: bool = False


def jobs_race(work: str, make: Callable[[], Callable[[Any], np.ndarray]], items: Sequence[Any]) -> Race:
    """Two processes beside one, by `lib.base.work.each`; what they make is the same to the last digit."""
    by_one = partial(_by, 1, work, make, items)
    by_two = partial(_by, 2, work, make, items)
    one = Runner("one process", by_one, maps=lambda made: made, least=FASTER_BY_TWO)
    setting = f"{work} of {len(items)} photographs, two processes"
    return Race("jobs", setting, len(items), by_two, [one], tolerance=0.0, front=len(items) >= MANY)


def _by(processes: int, work: str, make: Callable, items: Sequence[Any]) -> np.ndarray:
    """Everything that is made, one after the other."""
    with environment({JOBS: str(processes)}):
        made = list(each(make, items, work))
    return np.concatenate([one.ravel() for one in made])


def run(race: Race, effort: Effort) -> dict[str, Any]:
    """What the race measured, as JSON holds it; maps that differ are a `Problem` and nothing is timed.

    ms        {name: milliseconds of a call: median and quartiles}
    against   {peer: how many times as fast this suite is, by the quotients within a round; what was asked
              for, and whether it was met; how far the maps are apart}
    """
    apart = {peer.name: difference(race, peer) for peer in race.peers}
    actions = {OURS: race.ours} | {peer.name: peer.run for peer in race.peers}
    times = rounds_of(actions, effort.rounds, effort.warm_ups)
    against = {}
    for peer in race.peers:
        quotients = np.divide(times[peer.name], times[OURS])
        compared = quartiles(quotients) | {"difference": apart[peer.name]}
        if peer.least is not None:
            compared |= {"least": peer.least, "met": compared["median"] >= peer.least}
        against[peer.name] = compared
    return {"setting": race.setting, "images": race.images, "front": race.front,
            "ms": {name: quartiles(values) for name, values in times.items()}, "against": against}


def difference(race: Race, peer: Runner) -> float | None:
    """How far a peer's maps are from ours, as a share of our largest value; None where it makes none."""
    if peer.maps is None:
        return None
    where = f"{race.row}, {race.setting}"
    ours = _as_array(race.ours())
    theirs = _as_array(peer.maps(peer.run()))
    if ours.shape != theirs.shape:
        raise Problem(f"{where}: maps of {peer.name} are {theirs.shape}, ours {ours.shape}; "
                      "they cannot be compared, so nothing was timed.")
    largest = np.abs(ours).max()
    if not largest > 0:
        raise Problem(f"{where}: our maps are zero everywhere, so that nothing is compared.")
    apart = float(np.abs(ours - theirs).max() / largest)
    if not apart <= race.tolerance:
        raise Problem(f"{where}: maps of {peer.name} differ from ours by {apart:.1e} of the largest value, "
                      f"more than {race.tolerance:.0e}; what is not the same is not timed.")
    return apart


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles, to four digits."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": _four_digits(median), "low": _four_digits(low), "high": _four_digits(high)}


def _as_array(maps: Any) -> np.ndarray:
    """Maps as numbers of NumPy, from whatever device they are on."""
    if hasattr(maps, "detach"):
        maps = maps.detach().cpu().numpy()
    return np.asarray(maps, dtype=np.float64)


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")
