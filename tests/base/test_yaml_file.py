"""YAML is read where all readers agree on it; what they do not, and what grows without end, is named."""
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from sentences import is_one_sentence

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.base.yaml_file import MOST_BYTES, parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))


@pytest.mark.parametrize("text, value", [
    ("a: 1", 1), ("a: -0.5", -0.5), ("a: 0", 0), ("a: 1.0e-3", 1e-3), ("a: true", True), ("a: null", None),
    ("a: 0x10", 16), ("a: '010'", "010"), ("a: 'yes'", "yes"), ("a: 3-5", "3-5"), ("a: 1e-3", "1e-3"),
    ("a: &x [1, 2]\nb: *x", [1, 2]), ("a: nobody", "nobody")])
def test_values(text: str, value: Any) -> None:
    assert parse_yaml(text, "x.yaml")["a"] == value


@pytest.mark.parametrize("text, words", [
    ("a: 010", "line 1: 010 means one thing here and another to DVC"),
    ("b: 1\na: 1_000", "line 2: 1_000 means one thing here"),
    ("a: 0b11", "0b11 means"), ("a: 0o17", "0o17 means"), ("a: 1:30", "1:30 means"), ("a: 08", "08 means"),
    ("a: yes", "yes means"), ("a: Off", "Off means"), ("no: 1", "no means"),
    ("a: 1\nb: 2\na: 3", 'line 3: "a" stands there more than once, first in line 1'),
    ("a: {b: 1, c: 2, b: 1}", '"b" stands there more than once'),
    ("? [a, b]\n: 1", "a key that is no word"),
    (f"a: {'9' * 5000}", "a number of more than 40 characters"),
    (f"a: 0x{'f' * 5000}", "a number of more than 40 characters"),
    ("[" * 1000 + "]" * 1000, "nested more than 40 deep"),
    ("{a: " * 1000 + "1" + "}" * 1000, "nested more than 40 deep"),
    ("a: &a [*a]", "a value that holds itself"), ("&a {b: *a}", "a value that holds itself"),
    (BOMB, "more than 200,000 values, by aliases of aliases"),
    (CHAIN, "nested more than 40 deep, by aliases of aliases"),
    ("a: !!python/name:os.system x", "could not determine a constructor"),
    ("a: 2001-99-99", "month must be in"), ("a: *nowhere", "undefined alias"), ("a: [1", "line"),
    ("a: 1\n---\nb: 2", "another document"), ("a: \x00", "x.yaml"), ("a: \x07", "x.yaml")])
def test_what_is_refused(text: str, words: str) -> None:
    start = time.process_time()
    with pytest.raises(Problem, match="^x.yaml: cannot be read as YAML") as caught:
        parse_yaml(text, "x.yaml")
    assert words in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert time.process_time() - start < 2


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: &a [*a]", BOMB, CHAIN, "[" * 1000 + "]" * 1000])
def test_what_is_refused_as_text_too(text: str) -> None:
    with pytest.raises(Problem, match="^x.yaml: cannot be read as YAML"):
        parse_yaml(text, "x.yaml", as_text=True)
    assert parse_yaml("a: 010", "x.yaml", as_text=True) == {"a": "010"}


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        words = f"^{name}: cannot be read as YAML, it is no regular file"
        with pytest.raises(Problem, match=words) as caught:
            read_yaml(tmp_path / name)
        assert is_one_sentence(caught.value)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "large.yaml", "wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises(Problem, match="large.yaml: is larger than"):
        read_yaml(tmp_path / "large.yaml")


@pytest.mark.parametrize("path", sorted([ROOT / "params.yaml", *(ROOT / "lib").rglob("*.yaml")]), ids=str)
def test_the_projects_own_files_are_read(path: Path) -> None:
    assert read_yaml(path)


def test_there_is_one_reader_of_yaml() -> None:
    """Of what people write; dvc.lock and dvc.yaml are DVC's own."""
    readers = []
    for path in (ROOT / "lib").rglob("*.py"):
        found = re.findall(r"yaml\.(?:load|safe_load)\(", path.read_text(encoding="utf-8"))
        readers += [path.name] * len(found)
    assert sorted(readers) == ["lock.py", "lock.py", "yaml_file.py"]
