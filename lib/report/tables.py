"""Tables of results beside the paper's, as markdown for pages and as HTML for notebooks; generated, never typed."""
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lib.report.numbers import EMPTY, with_interval
from lib.report.reported import printed_rows, quoted, reference
from lib.report.words import DIRECTIONS, METRICS

ROWS = {"g_weak": "G-Weak", "cam1": "CAM₁", "cam2": "CAM₂", "rcam1": "rCAM₁", "rcam2": "rCAM₂", "rcam3": "rCAM₃", "rcam": "rCAM",
        "rcam_box": "rCAM_Box",
        "rcam_cited": "rCAM, cited CRF weights", "dcsm": "DCSM", "dcsm_no_crf": "DCSM without CRF", "dcsm_crf": "DCSM with CRF",
        "dcsm_paper_crf": "DCSM with the paper's CRF constants", "dcsm_true_labels": "DCSM with CRF, classes from the true labels",
        "base": "base", "confseg": "ConfSeg", "coaug": "CoAug", "csoa": "CSoA", "whole_image": "whole image", "centred_box": "centred box, half the area",
        "union": "union of both CAMs", "s_l": "S_L alone", "s_f": "S_F alone",
        "prm": "PRM", "iam_s1": "IAM-S1", "iam_s3": "IAM-S3", "iam_s5": "IAM-S5", "iam_s9": "IAM-S9", "iam_s15": "IAM-S15", "iam_s30": "IAM-S30",
        "iam_s5_unrefined": "IAM-S5 without CRF", "iam_s5_dense_crf": "IAM-S5, dense CRF", "iam": "IAM", "iam_unseen": "IAM, classes held out",
        "cam_rect": "CAM, rectangle", "cam_ellipse": "CAM, ellipse", "cam_mcg": "CAM, proposal", "gt_box_rect": "truth box, rectangle",
        "gt_box_ellipse": "truth box, ellipse", "gt_box_mcg": "truth box, proposal", "cam": "CAM", "one_pass": "all peaks in one pass",
        "one_by_one": "one backward pass each",
        "simonyan_crf": "Simonyan with CRF", "bp": "BP", "guided_bp": "guided BP", "fcn_gbp": "FCN + GBP", "zof_gbp": "ZOF + GBP",
        "fcn_mcg": "FCN + proposals", "mil_fcn": "MIL-FCN", "em_adapt": "EM-Adapt", "mil_sppxl": "MIL-sppxl", "mil_bb": "MIL-bb",
        "mil_seg": "MIL-seg", "stc": "STC", "ccnn": "CCNN", "sec": "SEC", "transfernet": "TransferNet", "deeplab_box": "DeepLab_Box"}


@dataclass(frozen=True)
class Grid:
    """A table as text: per metric its columns, per row its cells."""
    groups: list[tuple[str, list[str]]]
    rows: list[tuple[str, list[str]]]


def markdown_table(metrics: dict[str, Any], table: str, dataset: str, paper: str | None, columns: Sequence[str] | None = None,
                   define: bool = True) -> str:
    """A table with the definitions of its metrics above it: per metric ours for each network, then the paper's value.

    `columns` keeps only these metrics; the paper's first dataset stands in where it does not have this one; `define` leaves the
    definitions out when they are to be read just above.
    """
    grid = _grid(metrics, table, dataset, paper, columns)
    header = ["", *(f"{group} {name}" for group, names in grid.groups for name in names)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *([label, *cells] for label, cells in grid.rows)]
    body = "\n".join(markdown_row(line) for line in lines)
    used = _used_metrics(metrics, table, dataset, paper, columns)
    return f"{definitions(used)}\n\n{body}\n" if define and definitions(used) else f"{body}\n"


def html_table(metrics: dict[str, Any], table: str, dataset: str, paper: str | None, columns: Sequence[str] | None = None) -> str:
    """The same table as HTML, for `IPython.display.HTML` in a notebook."""
    grid = _grid(metrics, table, dataset, paper, columns)
    spans = "".join(f'<th colspan="{len(names)}">{html.escape(group)}</th>' for group, names in grid.groups)
    names = "".join(f"<th>{html.escape(name)}</th>" for _, group in grid.groups for name in group)
    rows = "".join(f"<tr><th>{html.escape(label)}</th>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>\n"
                   for label, cells in grid.rows)
    words = "".join(f"<li>{html.escape(line)}</li>" for line in _sentences(_used_metrics(metrics, table, dataset, paper, columns)))
    return (f"<ul>{words}</ul>\n<table>\n<thead><tr><th></th>{spans}</tr>\n<tr><th></th>{names}</tr></thead>\n"
            f"<tbody>\n{rows}</tbody>\n</table>\n")


def definitions(metrics: Sequence[str]) -> str:
    """One markdown bullet per metric: what it is and which direction is better."""
    return "\n".join(f"- {line}" for line in _sentences(metrics))


def title(name: str) -> str:
    """`table2_layers` as `Table 2, layers`; other names with spaces."""
    number = re.fullmatch(r"table(\d+)_?(.*)", name)
    words = f"Table {number[1]}" + f", {number[2]}" * bool(number[2]) if number else name
    return words.replace("_", " ")


def markdown_row(cells: Sequence[str]) -> str:
    """One line of a markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _sentences(metrics: Sequence[str]) -> list[str]:
    known = [METRICS[metric] for metric in metrics if metric in METRICS]
    return [f"{label}: {words}" + f"; {DIRECTIONS[sign]}" * bool(sign) + "." for label, words, sign in known]


def _grid(metrics: dict[str, Any], table: str, dataset: str, paper: str | None, columns: Sequence[str] | None) -> Grid:
    networks = _networks(metrics, table, dataset)
    beside = reference(paper, table, dataset)
    printed = printed_rows(paper, table, beside)
    theirs = "paper" if beside in (None, dataset) else f"paper, {beside}"
    used = _used_metrics(metrics, table, dataset, paper, columns)
    in_paper = {metric for row in printed.values() for metric in row}
    names = list(networks) or ["ours"]
    groups = [(METRICS[m][0] if m in METRICS else m, names + [theirs] * (m in in_paper)) for m in used]
    rows = list(printed) + [row for row in _rows(networks) if row not in printed]
    marks = quoted(paper, table, beside)
    return Grid(groups, [(ROWS.get(row, row) + " (quoted)" * (row in marks),
                          [cell for metric in used for cell in _cells(networks, row, metric, printed, in_paper)]) for row in rows])


def _cells(networks: dict[str, Any], row: str, metric: str, printed: dict[str, dict[str, str]], in_paper: set[str]) -> list[str]:
    ours = [with_interval(rows.get(row, {}).get(metric)) for rows in networks.values()] or [EMPTY]
    return ours + [printed.get(row, {}).get(metric, EMPTY)] * (metric in in_paper)


def _networks(metrics: dict[str, Any], table: str, dataset: str) -> dict[str, dict[str, Any]]:
    return metrics.get("results", {}).get(table, {}).get(dataset, {})


def _rows(networks: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row for rows in networks.values() for row in rows))


def _used_metrics(metrics: dict[str, Any], table: str, dataset: str, paper: str | None, columns: Sequence[str] | None) -> list[str]:
    ours = [m for rows in _networks(metrics, table, dataset).values() for row in rows.values() for m in row]
    printed = printed_rows(paper, table, reference(paper, table, dataset))
    found = list(dict.fromkeys(ours + [m for row in printed.values() for m in row if m != "run"]))
    ranked = [m for m in METRICS if m in found] + [m for m in found if m not in METRICS]
    return ranked if columns is None else [m for m in ranked if m in columns]
