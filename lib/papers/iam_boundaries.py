"""Do filling weights turn at the boundaries of objects (section 3.2, figure 5)? Arrows on both sides of a boundary, and inside objects."""
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.data.dataset import VOID, Sample
from lib.metrics.bootstrap import Scores, compare, draws, summarise
from lib.papers.iam_figures import field
from lib.papers.iam_jobs import MAIN, FillingJob
from lib.papers.iam_rows import Trained, scenes

APART = 4   # places of the encoded map between the two arrows of a pair


def boundary_table(of: Trained, samples: Sequence[Sample], chance: tuple[int, float, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Share of opposed pairs of arrows in percent, across boundaries and inside one object; over images that have both kinds;
    nothing where none has."""
    job, found = FillingJob(MAIN, of.network.seeds[0]), []
    for scene in scenes(of, samples, [job], "arrows at boundaries"):
        arrows, (x, y) = field(of, scene, job)
        rows, columns = ((places * n).astype(int) for places, n in ((y, scene.shape[0]), (x, scene.shape[1])))
        across, inside = opposed(arrows, scene.numbers[rows, columns])
        if len(across) and len(inside):
            found.append((100 * across.mean(), 100 * inside.mean()))
    if not found:
        return {}, {}
    values = np.array(found)
    weights = draws(len(values), chance[0], chance[2])
    scored: dict[str, Scores] = {row: {"opposed": weights @ column} for row, column in zip(("across", "inside"), values.T)}
    return summarise(scored, chance[1]), compare(scored, [("across", "inside")], chance[1])


def opposed(arrows: np.ndarray, numbers: np.ndarray, apart: int = APART) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs of arrows `(2, h, w)`, `apart` places from each other in a row or column, point in opposite directions along it.

    Booleans: of pairs across a boundary of the instance mask `(h, w)`, and of pairs on one object. Void places take no part.
    """
    across, inside = [], []
    for part, labels in ((arrows[0], numbers), (arrows[1].T, numbers.T)):   # to the right along rows, down along columns
        first, second, a, b = part[:, :-apart], part[:, apart:], labels[:, :-apart], labels[:, apart:]
        against, known = first * second < 0, (a != VOID) & (b != VOID)
        across.append(against[known & (a != b)])
        inside.append(against[known & (a == b) & (a > 0)])
    return np.concatenate(across), np.concatenate(inside)
