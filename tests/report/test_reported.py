import pytest
import yaml

from lib.base.problem import Problem
from lib.report.reported import FILE, paper_of, paper_value, printed_rows, quoted, reference, reported


def test_values_with_and_without_a_dataset_level() -> None:
    assert paper_value("rcam", "table1", "pascal_s", "rcam", "ods") == 0.665
    assert paper_value("rcam", "table2", "imgsal", "ccnn", "mae") == 0.099
    assert paper_value("csoa", "table4_cub", "collage", "vgg_csoa", "loc1") == 37.69
    assert paper_value("csoa", "table3_thresholds", None, "0.3", "loc5") == 26.49
    assert [paper_value("dcsm", "table2_layers", d, "block4", "miou") for d in ("voc", "voc2012")] == [40.3, 40.3]
    assert paper_value("dcsm", "table4_top_n", "voc", "3", "miou") == 44.1
    assert paper_value("fcn_gbp", "results", "voc", "fcn_gbp", "miou") == 41.4
    assert paper_value("fcn_gbp", "results_test", "voc2012", "fcn_gbp", "miou") == 40.7
    assert paper_value("iam", "table3_cub_loc_error", None, "iam", "loc1") == 52.21


@pytest.mark.parametrize("where", [
    ("rcam", "table1", "collage", "rcam", "ods"), ("rcam", "table9", "pascal_s", "rcam", "ods"), ("rcam", "table1", None, "rcam", "ods"),
    ("rcam", "table1", "pascal_s", "nobody", "ods"), ("rcam", "table1", "pascal_s", "rcam", "miou"),
    ("iam", "table2_seconds", None, "prm", "crf"), ("dcsm", "table1_alpha", "voc", "dcsm_4", "miou"),
    ("dcsm", "table2_layers", "collage", "block4", "miou"), ("rcam", "title", None, "x", "y")])
def test_no_value_where_the_paper_prints_none(where: tuple[str, str, str | None, str, str]) -> None:
    assert paper_value(*where) is None


def test_printed_keeps_trailing_zeros() -> None:
    assert printed_rows("rcam", "table1", "pascal_s")["rcam1"]["mae"] == "0.290"
    assert printed_rows("iam", "table3_cub_loc_error", None)["googlenet_gap"]["loc1"] == "59.00"
    assert printed_rows("rcam", "table1", "collage") == {} == printed_rows(None, "table1", "pascal_s")


def test_reference_dataset_and_quoted_rows() -> None:
    assert reference("rcam", "table1", "ft") == "ft"
    assert reference("rcam", "table1", "collage") == "pascal_s"
    assert reference("csoa", "table4_cub", "collage") is None
    assert reference("rcam", "window", "collage") is None
    assert [reference("dcsm", "table1", d) for d in ("voc", "voc2012", "collage")] == ["voc", "voc2012", "voc2012"]
    assert quoted("rcam", "table2", "ft") == {"ccnn", "sec", "transfernet", "deeplab_box"}
    assert quoted("dcsm", "table6_val", "voc") == {"mil_fcn", "em_adapt", "ccnn", "mil_sppxl", "mil_bb", "mil_seg"}
    assert quoted("fcn_gbp", "results", "voc") == {"mil_fcn", "em_adapt", "ccnn", "mil_sppxl", "mil_bb", "mil_seg", "stc"}
    assert quoted("csoa", "table1_modules", None) == {"danet"}


def test_notebooks_belong_to_papers() -> None:
    assert [paper_of(n) for n in ("rcam", "rcam_scales", "fcn_gbp", "dcsm_top_n", "comparison", "rcams")] == [
        "rcam", "rcam", "fcn_gbp", "dcsm", None, None]


def test_unknown_paper_is_named() -> None:
    assert reported("rcam")["venue"] == "WACV 2018"
    with pytest.raises(Problem, match='did you mean "rcam"'):
        reported("rcan")


def test_the_rcam_numbers_are_those_of_the_paper() -> None:
    """Table 1 of the paper, transcribed from its rows; the improvements it prints follow from them."""
    table = yaml.safe_load(FILE.read_text(encoding="utf-8"))["rcam"]["table1"]
    order = ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam"]
    assert all(list(rows) == order for rows in table.values())
    assert [table["pascal_s"][r]["ois"] for r in order] == [0.398, 0.682, 0.684, 0.725, 0.733, 0.736, 0.773]
    assert [table["ft"][r]["ods"] for r in order] == [0.448, 0.643, 0.568, 0.714, 0.660, 0.714, 0.803]
    assert [table["imgsal"][r]["mae"] for r in order] == [0.330, 0.247, 0.250, 0.231, 0.247, 0.237, 0.188]
    gains = [round(100 * (rows["rcam"][m] / rows["cam1"][m] - 1), 2) for rows in table.values() for m in ("ois", "ods")]
    assert gains == [13.34, 17.49, 23.66, 24.88, 22.40, 27.21]


TABLE6 = """72.5 35.0 23.7 33.6 20.9 32.8 57.6 49.2 51.4 14.7 42.9 32.8 51.9 43.1 53.2 47.6 35.2 47.7 28.6 40.3 36.7
            76.7 45.1 24.6 40.8 23.0 34.8 61.0 51.9 52.4 15.5 45.9 32.7 54.9 48.6 57.4 51.8 38.2 55.4 32.2 42.6 39.6"""
TABLE7 = "78.1 43.8 26.3 49.8 19.5 40.3 61.6 53.9 52.7 13.7 47.3 34.8 50.3 48.9 69.0 49.7 38.4 57.1 34.0 38.0 40.0"
VOC = ("background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa "
       "train tvmonitor").split()


def test_the_classes_of_dcsm_are_those_of_the_paper() -> None:
    """Tables 6 (without and with the CRF) and 7, transcribed in the order of their columns; the means they print follow from them."""
    without, with_crf = (line.split() for line in TABLE6.splitlines())
    rows = printed_rows("dcsm", "table6_classes", "voc")
    assert list(rows) == VOC and [rows[c]["iou_no_crf"] for c in VOC] == without and [rows[c]["iou"] for c in VOC] == with_crf
    test = printed_rows("dcsm", "table7_classes", "voc2012")
    assert list(test) == VOC and [test[c]["iou"] for c in VOC] == TABLE7.split()
    means = [sum(map(float, line)) / 21 for line in (without, with_crf, TABLE7.split())]
    printed = [paper_value("dcsm", *where, "miou") for where in (
        ("table6_val", "voc", "dcsm_no_crf"), ("table6_val", "voc", "dcsm_crf"), ("table7_test", "voc2012", "dcsm_crf"))]
    assert means == pytest.approx(printed, abs=0.051)


def test_the_dcsm_and_poster_numbers_are_those_of_the_papers() -> None:
    def values(paper: str, table: str, dataset: str = "voc") -> list[float]:
        return [row["miou"] for row in reported(paper)[table][dataset].values() if row["miou"] is not None]
    assert values("dcsm", "table1") == [44.1, 33.8] and values("dcsm", "table1_alpha") == [44.1, 33.8, 33.8]
    assert values("dcsm", "table2_layers") == [5.5, 21.5, 32.5, 40.3, 26.3, 41.3, 42.2, 42.8, 42.5, 37.97]
    assert values("dcsm", "table3_scales") == [34.5, 41.0, 42.4, 41.8, 40.0, 34.5, 41.1, 42.9, 43.5, 42.9, 42.5, 42.8]
    assert values("dcsm", "table4_top_n") == [38.2, 42.2, 43.5, 44.1, 44.2, 44.0, 43.7, 43.3]
    assert values("dcsm", "table5_backprop") == [41.2, 44.1]
    assert values("dcsm", "table6_val") == [25.7, 38.2, 34.5, 36.6, 37.8, 42.0, 40.5, 44.1]
    assert values("fcn_gbp", "results") == [25.7, 38.2, 34.5, 36.6, 37.8, 42.0, 49.8, 38.1, 33.8, 41.4, 44.1]
    assert values("fcn_gbp", "results_test", "voc2012") == [24.9, 39.6, 35.5, 40.6, 51.2, 37.7, 33.1, 40.7, 45.1]


@pytest.mark.parametrize("dataset", ["pascal_s", "ft", "imgsal"])
def test_what_rcam_prints_for_dcsm(dataset: str) -> None:
    assert printed_rows("dcsm", "rcam_table2", dataset) == {"dcsm": printed_rows("rcam", "table2", dataset)["dcsm"]}


def test_a_table_of_voc_reads_the_same_under_both_names() -> None:
    for table, content in reported("dcsm").items():
        if isinstance(content, dict) and "voc" in content:
            assert printed_rows("dcsm", table, "voc") == printed_rows("dcsm", table, "voc2012") != {}, table
