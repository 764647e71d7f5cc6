"""One method in a process of its own: milliseconds an image, and the most memory that it held.

`python -m lib.bench.method METHOD TIER BATCH SIDE ROUNDS`; prints one line of JSON.
"""
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lib.base.problem import Problem
from lib.base.process import peak_mb, rounds_of
from lib.base.race import quartiles
from lib.data.drawn import USUAL_SIZE, drawn_photos
from lib.methods import segmenter, segments
from lib.papers.found import Request, Segmenter
from lib.params import load_params

CLASSES: tuple[str, ...] = tuple(f"class{number}" for number in range(1, 13))   # of an untrained network


def measure(method: str, tier: str, batch: int, side: int, rounds: int) -> dict[str, Any]:
    """Time and memory of a batch of drawn photographs whose longest side is `side`; one round warms up."""
    maps_of, trained = opened(Request(method, tier))
    width = side
    height = round(side * USUAL_SIZE[1] / USUAL_SIZE[0])
    photos = drawn_photos(batch, (width, height))
    times = rounds_of({method: lambda: maps_of(photos)}, rounds)[method]
    by_image = quartiles([time / batch for time in times])
    return {"ms": by_image, "trained": trained, "peak_mb": round(peak_mb())}


def opened(request: Request) -> tuple[Segmenter, bool]:
    """The method with the networks that the tier trained, or with untrained ones where there are none."""
    try:
        return segmenter(request), True
    except Problem:
        write = _untrained(request.method)
        if write is None:
            raise
        with tempfile.TemporaryDirectory() as folder:
            weights = write(request, load_params(), Path(folder), CLASSES)
            return segmenter(replace(request, weights=weights)), False


def _untrained(method: str) -> Callable[..., Path] | None:
    """The paper's own way to write untrained networks; None where it trains none."""
    paper = segments()[method].__package__.rpartition(".")[2]
    if find_spec(f"lib.papers.{paper}.untrained") is None:
        return None
    return import_module(f"lib.papers.{paper}.untrained").write


if __name__ == "__main__":
    name, tier, *numbers = sys.argv[1:]
    print(json.dumps(measure(name, tier, *(int(number) for number in numbers))))
