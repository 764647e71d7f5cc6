"""Boxes as sets of pixels, and components by filling: slow and literal."""
import numpy as np

from lib.metrics.localisation import Rule

Pixels = set[tuple[int, int]]
RULES: tuple[Rule, ...] = ("largest", "all")


def drawn(*rows: str) -> np.ndarray:
    return np.array([list(row) for row in rows]) == "#"


def box(*corners: int) -> np.ndarray:
    return np.array([corners])


def random_boxes(seed: int, number: int, size: tuple[int, int] = (24, 18)) -> np.ndarray:
    """Boxes of at least one pixel, inside an image of `size` (width, height)."""
    rng = np.random.default_rng(seed)
    boxes = []
    for _ in range(number):
        xmin, xmax = sorted(rng.choice(size[0] + 1, 2, replace=False))
        ymin, ymax = sorted(rng.choice(size[1] + 1, 2, replace=False))
        boxes.append((xmin, ymin, xmax, ymax))
    return np.array(boxes)


def pixels(corners: np.ndarray) -> Pixels:
    return {(x, y) for x in range(corners[0], corners[2]) for y in range(corners[1], corners[3])}


def flooded(mask: np.ndarray) -> list[Pixels]:
    """The 8-connected components, by filling from each pixel in scan order."""
    free = {(int(x), int(y)): None for y, x in np.argwhere(mask)}
    components = []
    while free:
        waiting = [next(iter(free))]
        component = set()
        while waiting:
            x, y = waiting.pop()
            if (x, y) in free:
                del free[x, y]
                component.add((x, y))
                waiting += [(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        components.append(component)
    return components


def around(component: Pixels) -> list[int]:
    xs = [x for x, _ in component]
    ys = [y for _, y in component]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]
