"""Plain values from YAML turned into typed dataclasses: an unknown key, a wrong type or a value out of range is named."""
import dataclasses
import re
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lib.base.problem import Problem, nearest


def bounded(low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field whose number (or every number in it) lies in [low, high]."""
    return dataclasses.field(metadata={"low": low, "high": high})


def build(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind` (a dataclass, list[...], tuple[...], dict[str, ...], Literal, a union or a plain type)."""
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        return _build_union(kind, value, where)
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(kind)):   # 8.0 and True equal 8 and 1
            raise Problem(f'{where}: "{value}" is not a choice{nearest(value, get_args(kind))}')
        return value
    if origin in (list, tuple):
        return _build_sequence(kind, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise Problem(f"{where}: must be a mapping, not {_shown(value)}.")
        return {str(k): build(get_args(kind)[1], v, f"{where}.{k}") for k, v in value.items()}
    return _build_plain(kind, value, where)


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise Problem(f"{where or 'params.yaml'}: must be a mapping with the keys {', '.join(f.name for f in dataclasses.fields(kind))}, not {_shown(value)}.")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in fields:
            raise Problem(f'{prefix}{key}: there is no such parameter{nearest(key, fields)}')
    required = [f.name for f in fields.values() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    if missing := [name for name in required if name not in value]:
        raise Problem(f"{prefix}{missing[0]}: the parameter is missing; every one must be given.")
    hints = get_type_hints(kind)
    built = {key: build(hints[key], entry, f"{prefix}{key}") for key, entry in value.items()}
    for key, entry in built.items():
        _check_bounds(entry, fields[key].metadata, f"{prefix}{key}")
    return kind(**built)


def _build_union(kind: Any, value: Any, where: str) -> Any:
    problems = []
    for choice in get_args(kind):
        if choice is type(None):
            if value is None:
                return None
            continue
        try:
            return build(choice, value, where)
        except Problem as problem:
            problems.append(problem)
    raise problems[0]


def _build_sequence(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)) or not value:
        raise Problem(f"{where}: must be a list with at least one entry, not {_shown(value)}.")
    items = [build(get_args(kind)[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    return tuple(items) if get_origin(kind) is tuple else items


def _build_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        return float(value)   # 1e-3: without a point, YAML 1.1 takes it for a word
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
        raise Problem(f"{where}: must be {names.get(kind, kind)}, not {_shown(value)}.")
    return value


def _check_bounds(value: Any, bounds: Any, where: str) -> None:
    if isinstance(value, (list, tuple)):
        for i, entry in enumerate(value):
            _check_bounds(entry, bounds, f"{where}[{i}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = bounds.get("low"), bounds.get("high")
        if not value == value or (low is not None and value < low) or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"at most {high}" if low is None else f"between {low} and {high}"
            raise Problem(f"{where}: {value} is out of range, it must be {limits}.")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else "empty" if value in (None, [], {}) else str(value)
