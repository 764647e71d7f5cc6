"""Where a replication departs from its paper: the last prose section of every notebook says so."""
import json
import re
from pathlib import Path
from typing import Any

from lib.base.problem import Problem

SECTION = re.compile(r"^## Deviations from the (papers?|poster)\s*$", re.MULTILINE)
HEADING = re.compile(r"^#+ ", re.MULTILINE)
ITEM = re.compile(r"^\d+\. +")


def deviations(notebook: Path) -> list[str]:
    """The items of the numbered list under `## Deviations from the paper`; none without such a list."""
    section = ""
    for text in _prose(notebook):
        heading = SECTION.search(text)
        if heading:
            section = text[heading.end():]
    following = HEADING.search(section)
    return _items(section[:following.start()] if following else section)


def _prose(notebook: Path) -> list[str]:
    """The text of every markdown cell."""
    if not notebook.is_file():
        return []
    try:
        cells: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"{notebook}: damaged, not a notebook ({error!r}); restore it from Git.") from None


def _items(section: str) -> list[str]:
    """One text per item; the lines of an item become one."""
    items: list[str] = []
    for line in section.splitlines():
        if ITEM.match(line):
            items.append(ITEM.sub("", line).strip())
        elif items and line.strip():
            items[-1] += " " + line.strip()
    return items
