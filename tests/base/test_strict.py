"""Plain values become typed dataclasses, and what does not fit says where it stands."""
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from lib.base.problem import Problem, nearest
from lib.base.strict import bounded, build


@dataclass(frozen=True)
class Inner:
    count: int = bounded(1, 3)
    kind: Literal["a", "b"] | None = bounded()
    weights: tuple[float, ...] = bounded(0, 1)


@dataclass(frozen=True)
class Outer:
    inner: list[Inner]
    named: dict[str, int]
    optional: str = field(default="kept")


def test_build_gives_exactly_the_declared_types() -> None:
    built = build(Outer, {"inner": [{"count": 2, "kind": None, "weights": [0, 1]}], "named": {1: 5}}, "")
    assert built == Outer([Inner(2, None, (0.0, 1.0))], {"1": 5}, "kept")
    assert all(type(w) is float for w in built.inner[0].weights)


@pytest.mark.parametrize(
    "value, words",
    [
        (
            {"inner": [{"count": 4, "kind": "a", "weights": [0]}], "named": {}},
            "top.inner[0].count: 4 is out of range",
        ),
        (
            {"inner": [{"count": 1, "kind": "c", "weights": [0]}], "named": {}},
            'top.inner[0].kind: "c" is not a choice (known: a, b)',
        ),
        (
            {"inner": [{"count": 1, "kind": "a", "weights": [0, 2]}], "named": {}},
            "top.inner[0].weights[1]: 2.0 is out of range",
        ),
        (
            {"inner": [{"count": 1, "kind": "a", "weights": [0]}], "named": {"x": "y"}},
            'top.named.x: must be a whole number, not "y"',
        ),
        (
            {"inner": [7], "named": {}},
            "top.inner[0]: must be a mapping with the keys count, kind, weights, not 7",
        ),
    ],
)
def test_build_says_where(value: Any, words: str) -> None:
    with pytest.raises(Problem) as caught:
        build(Outer, value, "top")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "word, known, hint",
    [
        ("seeds", ["seed", "tiers"], '; did you mean "seed"?'),
        (7, [2, 4], " (known: 2, 4)"),
        ("x", [], " (known: none)"),
    ],
)
def test_nearest(word: Any, known: list[Any], hint: str) -> None:
    assert nearest(word, known) == hint
