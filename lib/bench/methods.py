"""Whole methods, each in a process of its own: time against batch and size, and peak memory."""
from collections.abc import Iterator
from typing import Any

from lib.base.process import answer_of
from lib.base.progress import progress
from lib.base.race import OURS, Effort
from lib.methods import segments

TIER = "collage"
BATCHES = {1: 5, 8: 2, 32: 1}        # images at a time, and rounds
SIDES: tuple[int, ...] = (160, 320, 640)
USUAL_SIDE = 320                     # longest side of the photographs
USUAL_BATCH = 4                      # of `segment`: where memory is measured
LEFT_OUT: tuple[str, ...] = ("g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3")   # steps of a method
QUICK = "csoa"


def measured(effort: Effort) -> Iterator[dict[str, Any]]:
    """Every method at every batch and size, as entries of the row."""
    names = [name for name in segments() if name not in LEFT_OUT]
    for name in progress([QUICK] if effort.quick else names, "methods"):
        settings = [(1, 1, USUAL_SIDE)] if effort.quick else all_settings()
        for batch, rounds, side in settings:
            yield entry(name, batch, rounds, side)


def all_settings() -> list[tuple[int, int, int]]:
    """(batch, rounds, side): every batch at the usual side, then other sides one image at a time."""
    by_batch = [(batch, rounds, USUAL_SIDE) for batch, rounds in BATCHES.items()]
    by_side = [(1, BATCHES[1], side) for side in SIDES if side != USUAL_SIDE]
    return [*by_batch, (USUAL_BATCH, 1, USUAL_SIDE), *by_side]


def entry(name: str, batch: int, rounds: int, side: int) -> dict[str, Any]:
    """One method at one setting."""
    words = [name, TIER, str(batch), str(side), str(rounds)]
    answer = answer_of("lib.bench.method", words, f"bench: {name} could not be measured")
    weights = "" if answer["trained"] else ", untrained weights"
    return {"setting": f"{name}, batch {batch}, side {side}{weights}", "images": 1,
            "front": batch == 1 and side == USUAL_SIDE, "method": name, "batch": batch, "side": side,
            "ms": {OURS: answer["ms"]}, "against": {}, "peak_mb": answer["peak_mb"]}
