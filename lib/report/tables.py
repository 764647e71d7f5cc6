"""Tables of results beside the paper's, as markdown for pages and as HTML for notebooks; generated, never typed."""
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lib.report.numbers import EMPTY, with_interval
from lib.report.reported import printed_rows, quoted, reference

# key -> (label, definition, direction: 1 higher is better, -1 lower is better, 0 neither)
METRICS: dict[str, tuple[str, str, int]] = {
    "ois": ("OIS", "F-measure (β² = 0.3) of each image at its own best threshold, averaged over images (optimal image scale)", 1),
    "ods": ("ODS", "F-measure (β² = 0.3) of mean precision and mean recall over images, at the one threshold that is best for the "
                   "whole dataset (optimal dataset scale)", 1),
    "ods_mean_f": ("ODS, mean F", "F-measure (β² = 0.3) of each image at the best common threshold, averaged over images", 1),
    "mae": ("MAE", "mean absolute difference between the map, not thresholded, and the binary truth", -1),
    "separation": ("separation", "chance that a foreground position has the larger value than a background one, up to sign, in the "
                   "component where it is largest (area under the ROC curve), averaged over images; 0.5 is chance", 1),
    "gradient": ("gradient", "absolute correlation with the image's gradient magnitude, of the component where it is largest, averaged "
                 "over images", 1),
    "share": ("share (%)", "share of the images, in percent", 0),
    "miou": ("mIoU (%)", "intersection over union of every class and the background, from one confusion matrix over all images, void "
             "pixels left out, averaged over the background and the classes that the images are labelled with, in percent", 1),
    "iou": ("IoU (%)", "intersection over union of one class, over all images, in percent; with the CRF", 1),
    "iou_no_crf": ("IoU without CRF (%)", "intersection over union of one class, over all images, in percent; before the CRF", 1),
    "map": ("mAP (%)", "average precision of ranking all images by a class's score, averaged over the classes that occur, in percent", 1),
    "exact": ("exact (%)", "share of the images on which the classes scored above 0.5 are exactly the true ones, in percent", 1),
    "top_class": ("top class (%)", "share of the images whose best scored class is a true one, in percent", 1),
    "loc1": ("top-1 loc. error (%)", "share of the images on which the best class is wrong or the box of the true class overlaps no truth box by at "
             "least 0.5, in percent", -1),
    "loc5": ("top-5 loc. error (%)", "the same, with the true class among the five best", -1),
    "gt_known": ("GT-known error (%)", "share of the images on which the box of the true class overlaps no truth box by at least 0.5, in percent", -1),
    "cls1": ("top-1 class. error (%)", "share of the images on which the best class is wrong, in percent", -1),
    "cls5": ("top-5 class. error (%)", "share of the images on which the true class is not among the five best, in percent", -1),
    "cls1_ten": ("top-1, ten crops (%)", "top-1 classification error of the mean over ten crops, in percent", -1),
    "cls5_ten": ("top-5, ten crops (%)", "top-5 classification error of the mean over ten crops, in percent", -1),
    "max_box_acc": ("MaxBoxAcc (%)", "share of the images whose box overlaps a truth box by at least 0.5, at the threshold that is best on the scored "
                    "images themselves (Choe et al. 2020), in percent", 1),
    "max_box_acc_v2": ("MaxBoxAccV2 (%)", "the same with the best of all components' boxes, averaged over overlaps of 0.3, 0.5 and 0.7, each at its "
                       "own best threshold (Choe et al. 2020), in percent", 1),
    "theta": ("θ", "threshold of eq. 13 with the least top-1 localisation error on validation images", 0),
    "map25": ("mAPʳ 0.25 (%)", "average precision of instance masks by falling confidence, one right if its IoU with a true object of its class that "
              "none before it took is at least 0.25; averaged over the classes that occur, in percent", 1),
    "map50": ("mAPʳ 0.5 (%)", "the same at an IoU of 0.5", 1),
    "map75": ("mAPʳ 0.75 (%)", "the same at an IoU of 0.75", 1),
    "abo": ("ABO (%)", "overlap (IoU) of every true object with the mask, or proposal, that overlaps it most, averaged over objects; of instance masks "
            "over the objects of each class, then over classes; in percent", 1),
    "iou_class": ("class IoU (%)", "best IoU of a map, at the threshold where it is best, with a true object of the image, averaged over the maps of a "
                  "class, in percent", 1),
    "recall50": ("recall at 0.5 (%)", "share of the true objects that some proposal overlaps by at least 0.5, in percent", 1),
    "recall70": ("recall at 0.7 (%)", "the same at 0.7", 1),
    "proposals": ("proposals", "proposals an image", 0),
    "opposed": ("opposed (%)", "share of pairs of arrows, four places apart in a row or column, that point in opposite directions along it, averaged "
                "over images, in percent", 1),
    "gain": ("gain (%)", "score of IAM-S5 over that of PRM, less one, in percent", 1),
    "target_iou": ("IoU of targets (%)", "overlap (IoU) of a peak's k best proposals with the object on which it stands, averaged over peaks, in percent", 1),
    "target_area": ("area of targets (%)", "area of a peak's k best proposals, averaged over peaks, in percent of the image", 0),
    "least": ("least peak", "value that a peak must exceed, with the best mAPʳ on validation images", 0),
    "cam_share": ("share of the maximum", "share of a class map's maximum that a CAM's box surrounds, with the best mAPʳ on validation images", 0),
    "feed_forward": ("feed-forward (s)", "seconds an image for the classifier and the peak response maps, and, of IAM, the filling", -1),
    "proposal_extraction": ("proposal extraction (s)", "seconds an image to find its proposals", -1),
    "proposal_retrieval": ("proposal retrieval (s)", "seconds an image to match peak response maps with proposals", -1),
    "crf": ("CRF (s)", "seconds an image for the ConvCRF", -1),
    "total": ("total (s)", "seconds an image, all stages", -1),
    "without_shared": ("total without what both need (s)", "the same without classifier and peak response maps", -1),
    "whole_ms": ("with the forward pass (ms)", "milliseconds for peak response maps from the image on", -1),
    "down_ms": ("way down alone (ms)", "milliseconds for the way from the peaks to the image, the forward pass being there", -1),
    "seconds": ("seconds", "seconds an image on this machine, from the decoded photograph to the map", -1),
    "memory": ("memory (MB)", "the most memory that a process doing nothing else held, Python and its libraries included", -1),
    "recall": ("recall (%)", "share of the true objects with a proposal that overlaps them by at least 0.5, in percent", 1),
}
DIRECTIONS = {1: "higher is better", -1: "lower is better", 0: ""}
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
