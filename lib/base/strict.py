"""Values from YAML as typed dataclasses: an unknown key, a wrong type or a value out of range is named."""
import dataclasses
import re
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lib.base.names import is_plain
from lib.base.problem import Problem, nearest, quoted

NUMBER_WITHOUT_POINT = re.compile(r"[-+]?\d+[eE][-+]?\d+")   # 1e-3: YAML 1.1 takes it for a word
LONGEST_TEXT = 300   # characters of a word, which may be a path
TYPES_IN_WORDS = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


def bounded(low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field whose number (or every number in it) lies in [low, high]."""
    return dataclasses.field(metadata={"low": low, "high": high})


def build(kind: Any, value: Any, where: str) -> Any:
    """Check `value` and return it as `kind`; `where` is its place in params.yaml, which a fault is named by.

    `kind` is a dataclass, list[...], tuple[...], dict[str, ...], Literal, a union or a plain type.
    """
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        return _build_union(kind, value, where)
    if origin is Literal:
        return _build_literal(kind, value, where)
    if origin in (list, tuple):
        return _build_sequence(kind, value, where)
    if origin is dict:
        return _build_mapping(kind, value, where)
    return _build_plain(kind, value, where)


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(value, dict):
        place, keys = where or "params.yaml", ", ".join(fields)
        raise Problem(f"{place}: must be a mapping with the keys {keys}, not {_shown(value)}.")
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in fields:
            raise Problem(f"{prefix}{_shown_key(key)}: there is no such parameter{nearest(key, fields)}")
    missing = [name for name, field in fields.items() if _is_required(field) and name not in value]
    if missing:
        raise Problem(f"{prefix}{missing[0]}: the parameter is missing; every one must be given.")
    hints = get_type_hints(kind)
    built = {key: build(hints[key], entry, f"{prefix}{key}") for key, entry in value.items()}
    for key, entry in built.items():
        _check_bounds(entry, fields[key].metadata, f"{prefix}{key}")
    return kind(**built)


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _build_union(kind: Any, value: Any, where: str) -> Any:
    choices = get_args(kind)
    if value is None and type(None) in choices:
        return None
    problems = []
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return build(choice, value, where)
        except Problem as problem:
            problems.append(problem)
    raise problems[0]


def _build_literal(kind: Any, value: Any, where: str) -> Any:
    choices = get_args(kind)
    for choice in choices:
        if type(value) is type(choice) and value == choice:   # 8.0 and True equal 8 and 1
            return value
    raise Problem(f"{where}: {quoted(value)} is not a choice{nearest(value, choices)}")


def _build_sequence(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)) or not value:
        raise Problem(f"{where}: must be a list with at least one entry, not {_shown(value)}.")
    item = get_args(kind)[0]
    items = [build(item, entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if get_origin(kind) is tuple:
        return tuple(items)
    return items


def _build_mapping(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise Problem(f"{where}: must be a mapping, not {_shown(value)}.")
    item = get_args(kind)[1]
    for key in value:
        if not is_plain(str(key)):
            raise Problem(f"{where}: {quoted(key)} is no plain name; files and folders are named by it.")
    return {str(key): build(item, entry, f"{where}.{key}") for key, entry in value.items()}


def _build_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str) and NUMBER_WITHOUT_POINT.fullmatch(value):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Problem(f"{where}: must be {TYPES_IN_WORDS.get(kind, kind)}, not {_shown(value)}.")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise Problem(f"{where}: a word of {len(value):,} characters; {LONGEST_TEXT} are the most.")
    if isinstance(value, str) and not value.isprintable():
        raise Problem(f"{where}: {quoted(value)} holds characters that cannot be seen; take them out.")
    return value


def _check_bounds(value: Any, bounds: Mapping[str, float | None], where: str) -> None:
    if isinstance(value, (list, tuple)):
        for i, entry in enumerate(value):
            _check_bounds(entry, bounds, f"{where}[{i}]")
    elif isinstance(value, dict):
        for key, entry in value.items():
            _check_bounds(entry, bounds, f"{where}.{key}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = bounds.get("low"), bounds.get("high")
        too_low = low is not None and value < low
        too_high = high is not None and value > high
        is_nan = value != value
        if is_nan or too_low or too_high:
            raise Problem(f"{where}: {value} is out of range, it must be {_range_in_words(low, high)}.")


def _range_in_words(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low}"
    if low is None:
        return f"at most {high}"
    return f"between {low} and {high}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if value in (None, [], {}):
        return "empty"
    return quoted(value)[1:-1]


def _shown_key(key: Any) -> str:
    return quoted(key)[1:-1]
