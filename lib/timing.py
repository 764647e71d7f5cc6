"""How long actions take, side by side."""
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

ROUNDS = 5


def medians(actions: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds, of so many rounds after one that warms up; the actions take turns, so that a busy moment meets all of them.

    An action that starts work on a GPU waits for it.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(1 + ROUNDS):
        for name, action in actions.items():
            start = perf_counter()
            action()
            times[name].append(1000 * (perf_counter() - start))
    return {name: round(median(values[1:]), 1) for name, values in times.items()}
