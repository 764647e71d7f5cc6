"""IAM's table 2: seconds an image by stage, PRM with proposals against IAM with the ConvCRF, on one device in one run."""
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import Sample
from lib.data.images import shrunk
from lib.maps.peaks import Peaks, is_peak
from lib.metrics.bootstrap import Scores, draws
from lib.papers.iam import prm_speed
from lib.papers.iam.instances import SIDE, by_convcrf, iam_instances, prm_instances
from lib.papers.iam.method import Seen, activate, look, present
from lib.papers.iam.rows import Trained
from lib.papers.iam.settings import MAIN
from lib.proposals.segments import proposals
from lib.training.batches import square

ROUNDS = 3


def table2(of: Trained, samples: Sequence[Sample], chance: tuple[int, float, int]) -> dict[str, Scores]:
    """Rows as `summarise` takes them: means over images, each the median of rounds; `shared` is the part of feed_forward that both need."""
    times = [seconds(of, sample) for sample in progress(samples, "timing, image by image")]
    weights = draws(len(times), chance[0], chance[2])
    columns = {name: weights @ np.array([one[name] for one in times]) for name in times[0]}
    rows: dict[str, Scores] = {"prm": {"feed_forward": columns["shared"], "proposal_extraction": columns["extraction"],
                                       "proposal_retrieval": columns["retrieval"]},
                               "iam": {"feed_forward": columns["shared"] + columns["filling"], "crf": columns["crf"]}}
    return {row: {**parts, "total": sum(parts.values()), "without_shared": sum(parts.values()) - columns["shared"]} for row, parts in rows.items()}


def seconds(of: Trained, sample: Sample) -> dict[str, float]:
    """Of one image: classifier and peak response maps (shared), filling, ConvCRF, extraction of proposals and retrieval among them."""
    photo, training, settings = sample.photo(), of.network.filling, of.settings
    small, shape = shrunk(photo, SIDE), (photo.height, photo.width)
    rounds: list[dict[str, float]] = []
    for _ in range(1 + ROUNDS):
        times: dict[str, float] = {}
        seen: Seen = _timed(times, "shared", lambda: look(of.fcn, [photo], training.side, training.map_side, present(settings.peaks)))
        maps: Tensor = _timed(times, "filling", lambda: activate(of.of(MAIN), seen))
        _timed(times, "crf", lambda: iam_instances(photo, seen, maps, settings, by_convcrf(settings.crf)))
        found: np.ndarray = _timed(times, "extraction", lambda: proposals(small))
        _timed(times, "retrieval", lambda: prm_instances(seen, found, shape, settings))
        rounds.append(times)
    return {name: float(np.median([times[name] for times in rounds[1:]])) for name in rounds[0]}


def peaks_at_once(of: Trained, samples: Sequence[Sample], number: int, chance: tuple[int, float, int]) -> tuple[dict[str, Scores], dict[str, float]]:
    """(rows, details of the first image): milliseconds for `number` peaks of an image in one pass, and with one backward pass for each."""
    device, measured = next(of.fcn.parameters()).device, []
    for sample in progress(samples, f"{number} peaks at once and one by one"):
        rgb = square(sample.photo(), of.network.filling.side)[None].to(device, memory_format=torch.channels_last)
        peaks = top_peaks(of.fcn.score_maps(rgb), number)
        if len(peaks) < number:
            raise Problem(f'The image "{sample.id}" has {len(peaks)} peaks where {number} are to be timed; ask for fewer.')
        measured.append(prm_speed.measure(of.fcn, rgb, peaks))
    weights = draws(len(measured), chance[0], chance[2])
    names = {"one_pass": (f"{number} peaks in one pass", "one pass: down"),
             "one_by_one": (f"{number} peaks, one backward pass each", "one backward pass each: all of them")}
    rows = {row: {metric: weights @ np.array([one[name] for one in measured]) for metric, name in zip(("whole_ms", "down_ms"), pair)}
            for row, pair in names.items()}
    return rows, measured[0]


def top_peaks(maps: Tensor, number: int) -> Peaks:
    """The highest peaks of one image's class maps `(1, K, h, w)`, of whatever class."""
    kept = is_peak(maps)
    image, label, row, column = kept.nonzero().unbind(1)
    values = maps[image, label, row, column]
    best = values.argsort(descending=True, stable=True)[:number].sort().values
    return Peaks(image[best], label[best], row[best], column[best], values[best])


def _timed(times: dict[str, float], name: str, action: Callable[[], Any]) -> Any:
    start = perf_counter()
    found = action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    times[name] = perf_counter() - start
    return found
