"""Random scenes of instances, and what was predicted of them, which several tests compare."""
import numpy as np

from lib.metrics.instances import Compared, compared

CLASSES = 3
Scene = tuple[np.ndarray, list[int], list[float], np.ndarray, dict[int, int]]


def scene(seed: int, void: float = 0.1, clash: bool = True, size: tuple[int, int] = (20, 26)) -> Scene:
    """Touching rectangles with gaps in their numbers, void, and predictions.

    Predictions are shifted copies, some of the wrong class, and noise.
    """
    rng = np.random.default_rng(seed)
    instances = np.zeros(size, dtype=np.uint8)
    numbers = (rng.choice(253, rng.integers(0, 5), replace=False) + 1).tolist()
    for n in numbers:
        y, x = rng.integers(0, size[0] - 6), rng.integers(0, size[1] - 6)
        instances[y:y + rng.integers(4, 12), x:x + rng.integers(4, 12)] = n
    truth = {n: int(rng.integers(CLASSES)) for n in numbers}
    masks = [rng.random(size) < 0.1]
    classes = [int(rng.integers(CLASSES))]
    for n in numbers * (2 if clash else 1):
        masks.append(np.roll(instances == n, rng.integers(-2, 3, 2), (0, 1)))
        classes.append(truth[n] if rng.random() < 0.8 else int(rng.integers(CLASSES)))
    instances[rng.random(size) < void] = 255
    return np.stack(masks), classes, rng.random(len(masks)).tolist(), instances, truth


def scenes(seeds: range, levels: int | None = None) -> list[Compared]:
    """With `levels`, scores are coarse, so that many are equal."""
    found = []
    for seed in seeds:
        masks, classes, scores, instances, truth = scene(seed)
        if levels:
            scores = np.floor(np.array(scores) * levels)
        found.append(compared(masks, classes, scores, instances, truth, CLASSES))
    return found
