"""The code cells of a notebook as Python: what they say, whatever their comments and formatting."""
import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from lib.base.problem import Problem
from lib.pipeline.names import IMPORTS, modules_of

MAGIC = ("%", "!")   # what begins a line that is IPython's own


def cells_of(text: bytes, name: str) -> list[dict[str, Any]]:
    """The code cells of a notebook that are not empty, their source as one text."""
    try:
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        joined = [{**cell, "source": "".join(cell["source"])} for cell in cells]
    except (ValueError, KeyError, TypeError):
        raise Problem(f"{name}: not a notebook; correct it, or take it from the last commit.") from None
    return [cell for cell in joined if cell["source"].strip()]


class Cell:
    """A code cell: its statements, and as text what is no Python or changes what is shown."""

    def __init__(self, cell: Mapping[str, Any]) -> None:
        self.body, magic = _read_cell(cell["source"])
        hidden = ";" if cell["source"].rstrip().endswith(";") else ""   # IPython shows no value then
        tags = [tag for tag in cell.get("metadata", {}).get("tags", ()) if tag == "parameters"]
        self.text = "\n".join([*magic, hidden, *tags])

    def trees(self) -> list[str]:
        """What it says, as text to compare."""
        return [ast.dump(statement) for statement in self.body]

    def statements(self) -> list[ast.stmt]:
        """All but plain imports from `lib`, which matter by what is named of them."""
        return [each for each in self.body if not (isinstance(each, IMPORTS) and modules_of(each, ""))]


def same_cell(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two code cells run the same code: comments and formatting do not matter."""
    first, second = Cell(one), Cell(other)
    return first.text == second.text and first.trees() == second.trees()


def _read_cell(source: str) -> tuple[list[ast.stmt], list[str]]:
    """Statements, and the lines that are IPython's own; of a cell that is no Python, all of its text."""
    magic = [line.strip() for line in source.split("\n") if line.lstrip().startswith(MAGIC)]
    plain = re.sub(r"^([ \t]*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)
    for text, left in ((source, []), (plain, magic)):
        try:
            return ast.parse(text).body, left
        except SyntaxError:
            continue
    return [], [source]
