"""Tables of ours beside the paper's, as markdown and as HTML."""
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lib.report.paper import Paper, Papers
from lib.report.tables import Table, definitions, html_table, markdown_row, markdown_table, title
from lib.report.words import METRICS

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def rcam(papers: Papers) -> Paper:
    return papers.by_key["rcam"]


def body(table: Table) -> list[list[str]]:
    """The table's lines as cells, definitions left out."""
    lines = [line for line in markdown_table(table).splitlines() if line.startswith("|")]
    return [cells_of(line) for line in lines]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def table_of(metrics: dict[str, Any], paper: Paper | None, columns: Sequence[str] | None = None) -> Table:
    """The one table of a hand-made metrics file."""
    (name, datasets), = metrics["results"].items()
    dataset, = datasets
    return Table(metrics, name, dataset, paper, columns)


def test_ours_then_the_papers_per_metric(metrics: Build, rcam: Paper) -> None:
    found = metrics({"cam1": {"ods": (0.59, 0.57, 0.61), "mae": (0.203, 0.199, 0.207)},
                     "mine": {"ods": (0.4, 0.3, 0.5)}})
    lines = body(table_of(found, rcam))
    assert lines[0] == ["", "OIS net", "OIS paper", "ODS net", "ODS paper", "MAE net", "MAE paper"]
    assert [line[0] for line in lines[2:]] == [
        "G-Weak", "CAM₁", "CAM₂", "rCAM₁", "rCAM₂", "rCAM₃", "rCAM", "mine"]
    assert lines[3] == ["CAM₁", "—", "0.682", "0.59 [0.57, 0.61]", "0.566", "0.203 [0.199, 0.207]", "0.298"]
    assert lines[5] == ["rCAM₁", "—", "0.725", "—", "0.617", "—", "0.290"]
    assert lines[9] == ["mine", "—", "—", "0.40 [0.30, 0.50]", "—", "—", "—"]


def test_networks_stand_side_by_side(metrics: Build, rcam: Paper) -> None:
    found = metrics({"cam1": {"ods": (0.59, 0.57, 0.61)}})
    big = {"ods": {"mean": 0.7, "low": 0.66, "high": 0.74}}
    found["results"]["table1"]["pascal_s"]["big"] = {"cam1": big}
    lines = body(table_of(found, rcam, ["ods"]))
    assert lines[0] == ["", "ODS net", "ODS big", "ODS paper"]
    assert lines[3] == ["CAM₁", "0.59 [0.57, 0.61]", "0.70 [0.66, 0.74]", "0.566"]


def test_a_dataset_the_paper_does_not_have(metrics: Build, rcam: Paper) -> None:
    found = metrics({"cam1": {"ods": (0.59, 0.57, 0.61)}}, dataset="collage")
    assert body(table_of(found, rcam, ["ods"]))[0] == ["", "ODS net", "ODS paper, pascal_s"]


def test_quoted_and_empty_rows_stay(metrics: Build, rcam: Paper) -> None:
    lines = body(Table(metrics({}), "table2", "ft", rcam))
    assert lines[0][1:3] == ["OIS ours", "OIS paper"]
    assert lines[2][:3] == ["CCNN (quoted)", "—", "0.276"]
    assert lines[5][:3] == ["DCSM", "—", "0.234"]


def test_a_table_of_ours_alone(metrics: Build, rcam: Paper) -> None:
    found = metrics({"224": {"ods": (0.6, 0.58, 0.62), "speed": (3.2, 3.1, 3.3)}}, table="input_sizes")
    for paper in (rcam, None):
        assert body(table_of(found, paper)) == [
            ["", "ODS net", "speed net"], ["---", "---:", "---:"],
            ["224", "0.60 [0.58, 0.62]", "3.20 [3.10, 3.30]"]]


def test_rows_bear_the_papers_labels_though_it_prints_no_such_table(metrics: Build, rcam: Paper) -> None:
    found = metrics({"rcam_cited": {"ods": (0.6, 0.58, 0.62)}}, table="crf")
    assert body(table_of(found, rcam))[2][0] == "rCAM, cited CRF weights"
    assert body(table_of(found, None))[2][0] == "rcam_cited"


def test_classes_of_another_data_set_stand_alone(metrics: Build, papers: Papers) -> None:
    for dataset, columns in (("voc", ["IoU (%) net", "IoU (%) paper"]), ("collage", ["IoU (%) net"])):
        found = metrics({"dog": {"iou": (50, 48, 52)}}, table="table6_classes", dataset=dataset)
        assert body(table_of(found, papers.by_key["dcsm"], ["iou"]))[0] == ["", *columns]


def test_a_metric_is_defined_above_its_table(metrics: Build, rcam: Paper) -> None:
    table = table_of(metrics({"cam1": {"mae": (0.2, 0.1, 0.3)}}, table="window"), rcam)
    text = markdown_table(table)
    assert text.startswith("- MAE: mean absolute difference") and "; lower is better.\n\n| " in text
    assert markdown_table(table, define=False).startswith("| ")
    assert definitions(["share", "unheard"], METRICS) == "- share (%): share of the images, in percent."
    assert all(metric.direction in (-1, 0, 1) and metric.definition for metric in METRICS.values())


def test_html_says_the_same_and_escapes(metrics: Build, rcam: Paper) -> None:
    found = metrics({"<b>": {"ods": (0.6, 0.58, 0.62)}}, network="a&b")
    text = html_table(table_of(found, rcam, ["ods"]))
    assert '<th colspan="2">ODS</th>' in text and "<th>a&amp;b</th><th>paper</th>" in text
    assert "<tr><th>&lt;b&gt;</th><td>0.60 [0.58, 0.62]</td><td>—</td></tr>" in text
    assert "<tr><th>CAM₁</th><td>—</td><td>0.566</td></tr>" in text and "<li>ODS: " in text


@pytest.mark.parametrize("table, rows, values", [
    ("table1", {"dcsm_crf": "DCSM with CRF", "simonyan_crf": "Simonyan with CRF"}, ["44.1", "33.8"]),
    ("table1_alpha", {f"dcsm_{k}": f"dcsm_{k}" for k in range(1, 11)}, ["—", "—", "44.1", *["—"] * 7]),
    ("table2_layers", {"block1": "block1", "block2": "block2"}, ["5.5", "21.5"]),
    ("table3_scales", {"s300": "s300", "s400": "s400"}, ["34.5", "41.0"]),
    ("table4_top_n", {"0": "0", "1": "1"}, ["38.2", "42.2"]),
    ("table5_backprop", {"bp": "BP", "guided_bp": "guided BP"}, ["41.2", "44.1"])])
@pytest.mark.parametrize("dataset, beside", [
    ("voc", "paper"), ("voc2012", "paper"), ("collage", "paper, voc2012")])
def test_dcsm_tables_meet_the_papers_by_key(metrics: Build, papers: Papers, table: str, rows: dict[str, str],
                                            values: list[str], dataset: str, beside: str) -> None:
    found = metrics({row: {"miou": (40, 38, 42)} for row in rows}, table=table, dataset=dataset)
    shown = table_of(found, papers.by_key["dcsm"])
    lines = body(shown)
    assert lines[0] == ["", "mIoU (%) net", f"mIoU (%) {beside}"]
    expected = list(zip(rows.values(), values, strict=True))
    assert lines[2:2 + len(rows)] == [[label, "40 [38, 42]", value] for label, value in expected]
    text = html_table(shown)
    assert f"<th>{beside}</th>" in text
    for label, value in expected:
        assert f"<tr><th>{label}</th><td>40 [38, 42]</td><td>{value}</td></tr>" in text


def test_the_posters_table_and_the_classifiers(metrics: Build, papers: Papers) -> None:
    ours = {row: {"miou": (40, 38, 42)} for row in ("fcn_gbp", "dcsm")}
    poster = table_of(metrics(ours, table="results", dataset="voc"), papers.by_key["fcn_gbp"])
    lines = {line[0]: line[1:] for line in body(poster)}
    assert lines[""][1] == "mIoU (%) paper"
    assert lines["FCN + GBP"] == ["40 [38, 42]", "41.4"] and lines["DCSM"] == ["40 [38, 42]", "44.1"]
    assert lines["FCN + proposals"] == ["—", "33.8"] and lines["STC (quoted)"] == ["—", "49.8"]
    found = metrics({"classifier": {"map": (80, 78, 82)}}, table="classifier", dataset="voc")
    words = body(table_of(found, papers.by_key["dcsm"]))
    assert words[0] == ["", "mAP (%) net", "multilabel_accuracy net", "multilabel_accuracy paper"]
    assert words[2] == ["classifier", "80 [78, 82]", "—", "85.2"]


def test_names_as_titles() -> None:
    assert [title(name) for name in ("table1", "table2_layers", "input_sizes", "table1_top_n")] == [
        "Table 1", "Table 2, layers", "input sizes", "Table 1, top n"]


def test_a_cell_stays_a_cell() -> None:
    assert markdown_row(["a|b", "c\nd"]) == "| a\\|b | c d |"
