"""Numbers as text, to the digits that their interval supports."""
import math
from typing import Any

EMPTY = "—"
EXACT = 3   # decimals where the interval has no width
MOST = 6    # decimals at most


def digits(low: float, high: float) -> int:
    """Decimals to show: to the first significant digit of the half width, one more where that is a 1."""
    half = float(f"{(high - low) / 2:.6g}")
    if not (math.isfinite(half) and half > 0):
        return EXACT
    decimals = -math.floor(math.log10(half))
    if f"{half:.6e}".startswith("1"):
        decimals += 1
    return min(max(decimals, 0), MOST)


def known(value: Any) -> bool:
    """Whether a metric's `{"mean", "low", "high"}` is there and finite."""
    if not isinstance(value, dict):
        return False
    numbers = [value.get(key) for key in ("mean", "low", "high")]
    return all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)


def with_interval(value: dict[str, float] | None) -> str:
    """`0.63 [0.60, 0.66]`; a dash where there is no value."""
    if not known(value):
        return EMPTY
    places = digits(value["low"], value["high"])
    mean, low, high = (_fixed(value[k], places) for k in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _fixed(number: float, places: int) -> str:
    return f"{round(number, places) + 0.0:.{places}f}"   # + 0.0: no "-0.00"
