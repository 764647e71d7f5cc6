import pytest
import yaml

from lib.problem import Problem
from lib.report.reported import FILE, paper_of, paper_value, printed_rows, quoted, reference, reported


def test_values_with_and_without_a_dataset_level() -> None:
    assert paper_value("rcam", "table1", "pascal_s", "rcam", "ods") == 0.665
    assert paper_value("rcam", "table2", "imgsal", "ccnn", "mae") == 0.099
    assert paper_value("csoa", "table4_cub", "collage", "vgg_csoa", "loc1") == 37.69
    assert paper_value("csoa", "table3_thresholds", None, "0.3", "loc5") == 26.49
    assert paper_value("dcsm", "table2_layers", None, "block4", "miou") == 40.3
    assert paper_value("dcsm", "table4_top_n", None, "3", "miou") == 44.1
    assert paper_value("iam", "table3_cub_loc_error", None, "iam", "loc1") == 52.21


@pytest.mark.parametrize("where", [
    ("rcam", "table1", "collage", "rcam", "ods"), ("rcam", "table9", "pascal_s", "rcam", "ods"), ("rcam", "table1", None, "rcam", "ods"),
    ("rcam", "table1", "pascal_s", "nobody", "ods"), ("rcam", "table1", "pascal_s", "rcam", "miou"),
    ("iam", "table2_seconds", None, "prm", "crf"), ("dcsm", "table1_alpha", None, "simonyan", "alpha"), ("rcam", "title", None, "x", "y")])
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
    assert quoted("rcam", "table2", "ft") == {"ccnn", "sec", "transfernet", "deeplab_box"}
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
