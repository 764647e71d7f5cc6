"""The one way to read YAML: nothing in it that two readers understand differently, or that grows without end.

DVC reads params.yaml too, by YAML 1.2, and this project by YAML 1.1: where they would disagree, what stands
there is refused.
"""
import re
from pathlib import Path
from typing import Any

import yaml

from lib.base.problem import Problem, quoted

MOST_BYTES = 2_000_000     # of a file
DEEPEST = 40               # levels of nesting, those behind aliases included
MOST_VALUES = 200_000      # in a file, those behind aliases counted each time
LONGEST_NUMBER = 40        # characters
LONGEST_CAUSE = 250        # characters of an error that are quoted
# 010 is 8 or 10, 1_0 is 10 or a word, 1:30 is 90 or a word; yes is true or a word.
AMBIGUOUS_NUMBER = re.compile(
    r"[-+]?(0[0-9_]+|0o[0-7]+|0b[01_]+|[0-9][0-9_]*_[0-9_.]*|[0-9][0-9_]*(:[0-9]+)+(\.[0-9]*)?)")
AMBIGUOUS_WORD = re.compile(r"yes|no|on|off|y|n", re.IGNORECASE)
NUMBERS: tuple[str, ...] = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(path: Path) -> Any:
    """The values of a YAML file; one that cannot be read is named."""
    return parse_yaml(yaml_text(path), path.name)


def yaml_text(path: Path) -> str:
    """The text of a YAML file."""
    if path.exists() and not path.is_file():
        raise Problem(f"{path.name}: cannot be read as YAML, it is no regular file.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Problem(f"{path.name}: is larger than {MOST_BYTES:,} bytes; this is not the right file.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path.name, error) from None


def parse_yaml(text: str, name: str, as_text: bool = False) -> Any:
    """The values of a text in YAML; `name` is the file's. `as_text`: each value as it stands there."""
    try:
        return yaml.load(text, Loader=_Texts if as_text else _Values)
    except (yaml.YAMLError, ValueError) as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: Exception) -> Problem:
    cause = " ".join(str(error).split())
    if len(cause) > LONGEST_CAUSE:
        cause = f"{cause[:LONGEST_CAUSE]}..."
    cause = "".join(letter if letter.isprintable() else "?" for letter in cause)
    return Problem(f"{name}: cannot be read as YAML ({cause}).")


class _Strict:
    """What both loaders refuse."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = 0
        self._extents: dict[int, tuple[int, int]] = {}   # of a node that is complete: values, levels
        self._nodes: list[yaml.Node] = []                # keeps their identities from being used again

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        is_alias = self.check_event(yaml.AliasEvent)
        self._level += 1
        if self._level > DEEPEST:
            raise _fault(self.peek_event(), f"nested more than {DEEPEST} deep")
        node = super().compose_node(parent, index)
        self._level -= 1
        if is_alias and id(node) not in self._extents:
            raise _fault(node, "a value that holds itself")
        if not is_alias:
            self._extents[id(node)] = self._extent(node)
            self._nodes.append(node)
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        """Values and levels in a node, which must not be too many."""
        values, levels = 1, 1
        for child in _children(node):
            more, deep = self._extents[id(child)]
            values += more
            levels = max(levels, 1 + deep)
        if values > MOST_VALUES:
            raise _fault(node, f"more than {MOST_VALUES:,} values, by aliases of aliases")
        if levels > DEEPEST:
            raise _fault(node, f"nested more than {DEEPEST} deep, by aliases of aliases")
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return values, levels


class _Values(_Strict, yaml.SafeLoader):
    """Every value as what it means."""

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.style is None:   # not in quotation marks
            _check_scalar(node)
        return node


class _Texts(_Strict, yaml.BaseLoader):
    """Every value as the text that stands there."""


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _fault(key, "a key that is no word")
        if key.value in lines:
            first = lines[key.value] + 1
            raise _fault(key, f"{quoted(key.value)} stands there more than once, first in line {first}")
        lines[key.value] = key.start_mark.line


def _check_scalar(node: yaml.ScalarNode) -> None:
    if node.tag in NUMBERS and len(node.value) > LONGEST_NUMBER:
        raise _fault(node, f"a number of more than {LONGEST_NUMBER} characters")
    if AMBIGUOUS_NUMBER.fullmatch(node.value) or AMBIGUOUS_WORD.fullmatch(node.value):
        raise _fault(node, f"{node.value} means one thing here and another to DVC; write a plain number, "
                           "true or false, or a word in quotation marks")


def _fault(place: Any, words: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {place.start_mark.line + 1}: {words}")
