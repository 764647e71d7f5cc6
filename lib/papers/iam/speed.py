"""IAM's table 2: seconds an image by stage, PRM with proposals and IAM with the ConvCRF, on one device."""
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from lib.base.problem import Problem
from lib.base.process import wait_for_gpu
from lib.base.progress import progress
from lib.data.dataset import Sample
from lib.data.images import shrunk
from lib.maps.peaks import Peaks, is_peak
from lib.metrics.bootstrap import Chance, Scores
from lib.papers.iam import prm_speed
from lib.papers.iam.instances import REFINED_SIDE, by_convcrf, iam_instances, prm_instances
from lib.papers.iam.method import (
    ClassifierOutput,
    activate,
    padded_squares,
    peaks_where,
    picked,
    present,
    run_classifier,
)
from lib.papers.iam.trained import Trained
from lib.proposals.segments import proposals

ROUNDS = 3


def table2(trained: Trained, samples: Sequence[Sample], chance: Chance) -> dict[str, dict[str, np.ndarray]]:
    """Draws of every stage's seconds: means over images, each the median of rounds.

    `shared` is the part of feed_forward that both methods need.
    """
    times = [seconds(trained, sample) for sample in progress(samples, "timing, image by image")]
    weights = chance.draws(len(times))
    columns = {stage: _means(times, stage, weights) for stage in times[0]}
    prm = {"feed_forward": columns["shared"], "proposal_extraction": columns["extraction"],
           "proposal_retrieval": columns["retrieval"]}
    iam = {"feed_forward": columns["shared"] + columns["filling"], "crf": columns["crf"]}
    rows = {}
    for row, parts in (("prm", prm), ("iam", iam)):
        total = sum(parts.values())
        rows[row] = {**parts, "total": total, "without_shared": total - columns["shared"]}
    return rows


def seconds(trained: Trained, sample: Sample) -> dict[str, float]:
    """One image by stage: what both methods share, filling, ConvCRF, extraction of proposals, retrieval."""
    photo = sample.photo()
    rounds = [_one_round(trained, photo) for _ in range(1 + ROUNDS)]
    return {stage: _median(rounds[1:], stage) for stage in rounds[0]}


def _one_round(trained: Trained, photo: Image.Image) -> dict[str, float]:
    training = trained.network.filling
    settings = trained.settings
    small = shrunk(photo, REFINED_SIDE)
    shape = (photo.height, photo.width)
    times: dict[str, float] = {}
    output: ClassifierOutput = _timed(times, "shared", lambda: run_classifier(
        trained.fcn, [photo], training.side, training.map_side, present(settings.peaks)))
    maps: Tensor = _timed(times, "filling", lambda: activate(trained.main, output))
    _timed(times, "crf", lambda: iam_instances(photo, output, maps, settings, by_convcrf(settings.crf)))
    masks: np.ndarray = _timed(times, "extraction", lambda: proposals(small))
    _timed(times, "retrieval", lambda: prm_instances(output, masks, shape, settings))
    return times


def peaks_at_once(trained: Trained, samples: Sequence[Sample], number: int,
                  chance: Chance) -> tuple[dict[str, Scores], dict[str, float]]:
    """Milliseconds for `number` peaks of an image in one pass, and with one backward pass for each.

    Draws over the images by row and metric, and all that was timed of the first image.
    """
    measured = []
    for sample in progress(samples, f"{number} peaks at once and one by one"):
        rgb = padded_squares(trained.fcn, [sample.photo()], trained.network.filling.side)
        peaks = top_peaks(trained.fcn.score_maps(rgb), number)
        if len(peaks) < number:
            raise Problem(f'The image "{sample.id}" has {len(peaks)} peaks where {number} are to be timed; '
                          "ask for fewer.")
        measured.append(prm_speed.measure(trained.fcn, rgb, peaks))
    weights = chance.draws(len(measured))
    rows: dict[str, Scores] = {
        "one_pass": {"whole_ms": _means(measured, prm_speed.one_pass(number), weights),
                     "down_ms": _means(measured, prm_speed.ONE_PASS_DOWN, weights)},
        "one_by_one": {"whole_ms": _means(measured, prm_speed.loop(number), weights),
                       "down_ms": _means(measured, prm_speed.LOOP_DOWN, weights)}}
    return rows, measured[0]


def top_peaks(maps: Tensor, number: int) -> Peaks:
    """The highest peaks of one image's class maps `(1, K, h, w)`, of whatever class."""
    peaks = peaks_where(maps, is_peak(maps))
    best = peaks.value.argsort(descending=True, stable=True)[:number].sort().values
    return picked(peaks, best)


def _means(times: Sequence[dict[str, float]], name: str, weights: np.ndarray) -> np.ndarray:
    """The mean over images `(S,)` of one of their times, under image weights `(S, N)`."""
    return weights @ np.array([image_times[name] for image_times in times])


def _median(rounds: Sequence[dict[str, float]], name: str) -> float:
    return float(np.median([times[name] for times in rounds]))


def _timed(times: dict[str, float], name: str, action: Callable[[], Any]) -> Any:
    start = perf_counter()
    result = action()
    wait_for_gpu()
    times[name] = perf_counter() - start
    return result
