"""Numbers as text, to the digits that their interval supports."""
import math
from typing import Any

EMPTY = "—"
EXACT = 3   # decimals where the interval has no width


def digits(low: float, high: float) -> int:
    """Decimals to show: down to the first significant digit of the half width, one further when that digit is a 1."""
    half = float(f"{(high - low) / 2:.6g}")
    if not (math.isfinite(half) and half > 0):
        return EXACT
    exponent = math.floor(math.log10(half))
    leading = int(f"{half:.6e}"[0])
    return min(max(-exponent + (leading == 1), 0), 6)


def known(value: Any) -> bool:
    """Whether a metric's `{"mean", "low", "high"}` is there and finite."""
    return isinstance(value, dict) and all(
        isinstance(value.get(k), (int, float)) and math.isfinite(value[k]) for k in ("mean", "low", "high"))


def with_interval(value: dict[str, float] | None, unit: str = "") -> str:
    """`0.63 [0.60, 0.66]`; a dash where there is no value."""
    if not known(value):
        return EMPTY
    places = digits(value["low"], value["high"])
    mean, low, high = (_fixed(value[k], places) for k in ("mean", "low", "high"))
    return f"{mean}{unit} [{low}, {high}]"


def _fixed(number: float, places: int) -> str:
    return f"{round(number, places) + 0.0:.{places}f}"   # + 0.0: no "-0.00"
