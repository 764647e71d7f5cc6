"""Deviations are read from a notebook's prose."""
import json
from pathlib import Path

import pytest

from lib.base.paths import NOTEBOOKS
from lib.base.problem import Problem
from lib.report.deviations import deviations

LIST = """## Deviations from the paper

1. Section 3.1: another backbone, of
   which the weights are free.
2. Eq. 5: α = 3.

10. Table 1: fewer images.
"""


def notebook(path: Path, *cells: tuple[str, str]) -> Path:
    """A notebook of `(kind, text)` cells; the text is kept as a list of lines, as editors store it."""
    entries = [{"cell_type": kind, "source": text.splitlines(keepends=True)} for kind, text in cells]
    path.write_text(json.dumps({"cells": entries}), encoding="utf-8")
    return path


def test_one_text_per_item_of_the_list(tmp_path: Path) -> None:
    path = notebook(tmp_path / "n.ipynb", ("markdown", "# Title\n\n1. not this one"), ("code", LIST),
                    ("markdown", LIST), ("code", "record.close()"))
    assert deviations(path) == ["Section 3.1: another backbone, of which the weights are free.",
                                "Eq. 5: α = 3.", "Table 1: fewer images."]


def test_the_section_ends_at_the_next_heading_and_may_begin_within_a_cell(tmp_path: Path) -> None:
    text = f"## Before\n\n1. earlier\n\n{LIST}\n### After\n\n1. later\n"
    assert len(deviations(notebook(tmp_path / "n.ipynb", ("markdown", text)))) == 3


@pytest.mark.parametrize("source", ["poster", "papers"])
def test_the_last_section_counts_whatever_it_departs_from(tmp_path: Path, source: str) -> None:
    last = f"## Deviations from the {source}\n\n1. Proposals of our own."
    path = notebook(tmp_path / "n.ipynb", ("markdown", LIST), ("markdown", last), ("markdown", "## More"))
    assert deviations(path) == ["Proposals of our own."]


@pytest.mark.parametrize("text", ["", "## Deviations from the paper", "## Deviations from the paper\n\nNone.",
                                  "Deviations from the paper\n\n1. no heading"])
def test_no_list(tmp_path: Path, text: str) -> None:
    assert deviations(notebook(tmp_path / "n.ipynb", ("markdown", text))) == []
    assert deviations(tmp_path / "absent.ipynb") == []


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": [{"source": []}]}'])
def test_a_damaged_notebook_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Problem, match=r"n\.ipynb: damaged, not a notebook .*; restore it from Git\.$"):
        deviations(path)


def test_every_notebook_of_the_project_can_be_read() -> None:
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert len(paths) > 10
    for path in paths:
        assert all(text.strip() for text in deviations(path)), path
