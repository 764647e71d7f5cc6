"""Tables of results beside the paper's, as markdown for pages and as HTML for notebooks."""
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lib.report.numbers import EMPTY, with_interval
from lib.report.paper import Paper, Rows
from lib.report.words import DIRECTIONS, METRICS, Metric

OURS = "ours"   # heads a column where nothing was run


@dataclass(frozen=True)
class Table:
    """One table of a notebook on one data set, with the paper's numbers beside ours.

    metrics   the notebook's metrics file
    paper     whose numbers and labels they are; None shows ours alone, each row by its key
    columns   keeps only these metrics; None keeps all
    """
    metrics: dict[str, Any]
    name: str
    dataset: str
    paper: Paper | None
    columns: Sequence[str] | None = None

    @cached_property
    def networks(self) -> dict[str, dict[str, Any]]:
        """Our rows, of every network."""
        return self.metrics.get("results", {}).get(self.name, {}).get(self.dataset, {})

    @cached_property
    def printed(self) -> Rows:
        """The paper's rows; its first data set stands in where it does not have this one."""
        return self.paper.beside(self.name, self.dataset) if self.paper else {}

    @cached_property
    def rows(self) -> list[str]:
        """The paper's rows in its order, then those that only we have."""
        ours = [row for rows in self.networks.values() for row in rows]
        return list(dict.fromkeys([*self.printed, *ours]))

    @cached_property
    def in_paper(self) -> set[str]:
        """Metrics of which the paper prints some value."""
        return {metric for row in self.printed.values() for metric in row if metric != "run"}

    @cached_property
    def known(self) -> dict[str, Metric]:
        """Metrics that have a name and an explanation."""
        return self.paper.known_metrics if self.paper else METRICS

    @cached_property
    def used(self) -> list[str]:
        """Metrics that the table shows: those that are known in their order, then all others."""
        found: list[str] = []
        for rows in [*self.networks.values(), self.printed]:
            for row in rows.values():
                found += [metric for metric in row if metric != "run"]
        ranked = [metric for metric in self.known if metric in found]
        ranked += [metric for metric in dict.fromkeys(found) if metric not in self.known]
        return [metric for metric in ranked if self.columns is None or metric in self.columns]

    def groups(self) -> list[tuple[str, list[str]]]:
        """Every metric with its columns: ours for each network, then the paper's."""
        groups = []
        for metric in self.used:
            names = list(self.networks) or [OURS]
            if metric in self.in_paper:
                names.append(self._papers_column())
            label = self.known[metric].label if metric in self.known else metric
            groups.append((label, names))
        return groups

    def lines(self) -> list[tuple[str, list[str]]]:
        """Every row's label with its cells."""
        lines = []
        for row in self.rows:
            cells = [cell for metric in self.used for cell in self._cells(row, metric)]
            lines.append((self._label(row), cells))
        return lines

    def _papers_column(self) -> str:
        reference = self.paper.reference(self.name, self.dataset)
        return "paper" if reference in (None, self.dataset) else f"paper, {reference}"

    def _label(self, row: str) -> str:
        label = self.paper.label(row) if self.paper else row
        is_quoted = self.printed.get(row, {}).get("run") == "false"
        return f"{label} (quoted)" if is_quoted else label

    def _cells(self, row: str, metric: str) -> list[str]:
        cells = [with_interval(rows.get(row, {}).get(metric)) for rows in self.networks.values()] or [EMPTY]
        if metric in self.in_paper:
            cells.append(self.printed.get(row, {}).get(metric, EMPTY))
        return cells


def markdown_table(table: Table, define: bool = True) -> str:
    """A table with the definitions of its metrics above it; `define=False` where they can be read already."""
    header = [""]
    for group, names in table.groups():
        header += [f"{group} {name}" for name in names]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    lines += [[label, *cells] for label, cells in table.lines()]
    body = "\n".join(markdown_row(line) for line in lines) + "\n"
    words = definitions(table.used, table.known) if define else ""
    return f"{words}\n\n{body}" if words else body


def html_table(table: Table) -> str:
    """A table with the definitions of its metrics as HTML, for `IPython.display.HTML` in a notebook."""
    spans, names = "", ""
    for group, columns in table.groups():
        spans += f'<th colspan="{len(columns)}">{html.escape(group)}</th>'
        names += "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    rows = ""
    for label, cells in table.lines():
        values = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows += f"<tr><th>{html.escape(label)}</th>{values}</tr>\n"
    words = "".join(f"<li>{html.escape(line)}</li>" for line in _sentences(table.used, table.known))
    head = f"<tr><th></th>{spans}</tr>\n<tr><th></th>{names}</tr>"
    return (f"<ul>{words}</ul>\n<table>\n<thead>{head}</thead>\n"
            f"<tbody>\n{rows}</tbody>\n</table>\n")


def definitions(metrics: Sequence[str], known: Mapping[str, Metric]) -> str:
    """One markdown bullet per metric: what it is and which direction is better."""
    return "\n".join(f"- {line}" for line in _sentences(metrics, known))


def title(name: str) -> str:
    """`table2_layers` as `Table 2, layers`; other names with spaces."""
    number = re.fullmatch(r"table(\d+)_?(.*)", name)
    if number is None:
        words = name
    elif number[2]:
        words = f"Table {number[1]}, {number[2]}"
    else:
        words = f"Table {number[1]}"
    return words.replace("_", " ")


def markdown_row(cells: Sequence[str]) -> str:
    """One line of a markdown table."""
    escaped = [str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _sentences(metrics: Sequence[str], known: Mapping[str, Metric]) -> list[str]:
    sentences = []
    for metric in metrics:
        if metric in known:
            words = known[metric]
            direction = f"; {DIRECTIONS[words.direction]}" if words.direction else ""
            sentences.append(f"{words.label}: {words.definition}{direction}.")
    return sentences
