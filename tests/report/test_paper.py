"""The papers' own numbers, and what else a paper.yaml says."""
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.papers import PAPERS
from lib.report.claim_file import load_claims
from lib.report.paper import Front, Guest, Paper, Papers, papers as papers_of
from lib.report.tables import Table, markdown_table
from lib.report.words import METRICS

QUOTED_ON_VOC = {"MIL-FCN", "EM-Adapt", "CCNN", "MIL-sppxl", "MIL-bb", "MIL-seg"}
MINIMAL = "title: A title\nauthors: [A. Author, B. Author]\nvenue: There 2020\n"


@pytest.fixture
def written(tmp_path: Path) -> Paper:
    """A paper of one table, of which one data set bears two names."""
    (tmp_path / "short").mkdir()
    text = MINIMAL + ("link: https://example.org/a\nonly_metric: loc1\nsame: {mirrored: own}\n"
                      "labels: {a: Ᾱ}\nby_class: [classes]\nguests: {table1: {notebook: other, table: t}}\n"
                      "front: {table: table1, metric: ods, row: a, claims: [one]}\n"
                      "table1:\n  own: {a: {ods: 0.50}}\n  else: {a: {ods: 0.6}}\n"
                      "classes:\n  own: {dog: {iou: 1.0}}\n"
                      "flat: {a: 12.30}\n")
    (tmp_path / "short" / "paper.yaml").write_text(text, encoding="utf-8")
    return Paper.read(tmp_path / "short" / "paper.yaml")


def test_a_paper_says_who_wrote_it_and_how_it_is_shown(written: Paper) -> None:
    assert written.key == "short"
    assert written.citation == "[A title](https://example.org/a), A. Author, B. Author, There 2020"
    assert replace(written, link=None).citation == "A title, A. Author, B. Author, There 2020"
    assert (written.label("a"), written.label("unnamed")) == ("Ᾱ", "unnamed")
    assert written.front == Front(table="table1", metric="ods", row="a", claims=("one",))
    assert written.guests == {"table1": Guest("other", "t")}


def test_a_data_set_of_two_names_has_the_same_numbers_under_both(written: Paper) -> None:
    assert written.printed_rows("table1", "mirrored") == written.printed_rows("table1", "own") == {
        "a": {"ods": "0.50"}}
    references = [written.reference("table1", dataset) for dataset in ("mirrored", "own", "else", "third")]
    assert references == ["mirrored", "own", "else", "own"]
    assert written.value("flat", None, "a", "loc1") == 12.3
    assert "same" not in written.content and "labels" not in written.content


def test_classes_stand_beside_ours_on_their_own_data_set_only(written: Paper) -> None:
    assert written.beside("classes", "mirrored") == {"dog": {"iou": "1.0"}}
    assert written.beside("classes", "third") == {}
    assert written.beside("table1", "third") == {"a": {"ods": "0.50"}}


@pytest.mark.parametrize("text, message", [
    (MINIMAL.replace("venue: There 2020\n", ""), "lacks venue; a paper's file has title, authors, venue"),
    ("- no mapping", "lacks title"),
    ("title: [", "cannot be read as YAML"),
    (MINIMAL + "front: {table: t, metric: ods, rwo: a}", 'there is no such parameter; did you mean "row"'),
    (MINIMAL + "labels: [a]", "labels: must be a mapping")])
def test_a_mistake_in_a_papers_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "paper.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Problem) as caught:
        Paper.read(path)
    assert message in str(caught.value) and str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_paper_and_a_folder_without_its_file(tmp_path: Path, papers: Papers) -> None:
    with pytest.raises(Problem) as unknown:
        papers_of(["rcan"])
    assert str(unknown.value).endswith('there is no paper "rcan"; did you mean "rcam"?')
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem) as without:
        papers_of(["empty"], folder=tmp_path)
    assert str(without.value) == (f"{tmp_path / 'empty'}: a paper's folder needs a paper.yaml with title, "
                                  "authors, venue; write one, see CONTRIBUTING.md.")
    with pytest.raises(Problem, match='^notebook rcam: there is no paper "rcan"; did you mean "rcam"'):
        replace(papers, owners={"rcam": "rcan"}).of("rcam")


def test_notebooks_belong_to_the_papers_that_list_them(papers: Papers) -> None:
    owners = {"rcam": "rcam", "rcam_scales": "rcam", "fcn_gbp": "fcn_gbp", "dcsm_top_n": "dcsm",
              "comparison": "comparison", "rcams": "comparison"}
    assert {name: papers.of(name).key for name in owners} == owners


def test_the_comparison_names_rows_as_each_paper_does(papers: Papers) -> None:
    names = {"rcam": "rCAM", "rcam_box": "rCAM_Box", "dcsm": "DCSM", "csoa": "CSoA", "prm": "PRM",
             "iam": "IAM"}
    assert {row: papers.comparison.label(row) for row in names} == names
    assert papers.comparison.title == "All methods on the same images"
    assert papers.comparison.beside("methods", "voc") == {}


@pytest.mark.parametrize("key", PAPERS)
def test_every_paper_is_described_in_full(papers: Papers, key: str) -> None:
    """Title, authors and venue; no alias; a front page whose table, metric and claims there are."""
    paper = papers.by_key[key]
    path = ROOT / "lib" / "papers" / key / "paper.yaml"
    text = path.read_text(encoding="utf-8")
    assert paper.key == key and paper.title and paper.venue and len(paper.authors) >= 2
    assert paper.link is None or paper.link.startswith("https://")
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))
    assert paper.front.metric in METRICS and paper.front.row in paper.labels
    assert paper.front.claims
    listed = {claim.entry for claim in load_claims(papers) if claim.paper is paper}
    assert set(paper.front.claims) <= listed
    assert set(paper.by_class) <= set(paper.content)


def test_values_with_and_without_a_dataset_level(papers: Papers) -> None:
    rcam, dcsm, fcn_gbp, csoa, iam = papers.by_key.values()
    assert rcam.value("table1", "pascal_s", "rcam", "ods") == 0.665
    assert rcam.value("table2", "imgsal", "ccnn", "mae") == 0.099
    assert csoa.value("table4_cub", "collage", "vgg_csoa", "loc1") == 37.69
    assert csoa.value("table3_thresholds", None, "0.3", "loc5") == 26.49
    assert dcsm.value("table2_layers", "voc", "block4", "miou") == 40.3
    assert dcsm.value("table2_layers", "voc2012", "block4", "miou") == 40.3
    assert dcsm.value("table4_top_n", "voc", "3", "miou") == 44.1
    assert fcn_gbp.value("results", "voc", "fcn_gbp", "miou") == 41.4
    assert fcn_gbp.value("results_test", "voc2012_test", "fcn_gbp", "miou") == 40.7
    assert iam.value("table3_cub_loc_error", None, "iam", "loc1") == 52.21


@pytest.mark.parametrize("where", [
    ("rcam", "table1", "collage", "rcam", "ods"), ("rcam", "table9", "pascal_s", "rcam", "ods"),
    ("rcam", "table1", None, "rcam", "ods"), ("rcam", "table1", "pascal_s", "nobody", "ods"),
    ("rcam", "table1", "pascal_s", "rcam", "miou"), ("rcam", "title", None, "x", "y"),
    ("iam", "table2_seconds", None, "prm", "crf"), ("dcsm", "table1_alpha", "voc", "dcsm_4", "miou"),
    ("dcsm", "table2_layers", "collage", "block4", "miou"),
    ("dcsm", "table7_test", "voc", "dcsm_crf", "miou")])
def test_no_value_where_the_paper_prints_none(papers: Papers, where: tuple[str, ...]) -> None:
    assert papers.by_key[where[0]].value(*where[1:]) is None


def test_printed_keeps_trailing_zeros(papers: Papers) -> None:
    rcam, iam = papers.by_key["rcam"], papers.by_key["iam"]
    assert rcam.printed_rows("table1", "pascal_s")["rcam1"]["mae"] == "0.290"
    assert iam.printed_rows("table3_cub_loc_error", None)["googlenet_gap"]["loc1"] == "59.00"
    assert rcam.printed_rows("table1", "collage") == {}


def test_reference_datasets(papers: Papers) -> None:
    rcam, dcsm, _, csoa, _ = papers.by_key.values()
    assert [rcam.reference("table1", dataset) for dataset in ("ft", "collage")] == ["ft", "pascal_s"]
    assert csoa.reference("table4_cub", "collage") is None
    assert rcam.reference("window", "collage") is None
    references = [dcsm.reference("table1", dataset) for dataset in ("voc", "voc2012", "collage")]
    assert references == ["voc", "voc2012", "voc2012"]


@pytest.mark.parametrize("key, table, dataset, rows", [
    ("rcam", "table2", "ft", {"CCNN", "SEC", "TransferNet", "DeepLab_Box"}),
    ("dcsm", "table6_val", "voc", QUOTED_ON_VOC), ("fcn_gbp", "results", "voc", QUOTED_ON_VOC | {"STC"}),
    ("csoa", "table1_modules", "collage_single", {"danet"})])
def test_rows_that_are_quoted_and_not_run_say_so(papers: Papers, key: str, table: str, dataset: str,
                                                 rows: set[str]) -> None:
    labels = [label for label, _ in Table({}, table, dataset, papers.by_key[key]).lines()]
    assert {label.removesuffix(" (quoted)") for label in labels if label.endswith(" (quoted)")} == rows


def test_the_rcam_numbers_are_those_of_the_paper(papers: Papers) -> None:
    """Table 1 of the paper, transcribed from its rows; the improvements it prints follow from them."""
    rcam = papers.by_key["rcam"]
    order = ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam"]
    datasets = list(rcam.content["table1"])
    assert datasets == ["pascal_s", "ft", "imgsal"]
    assert all(list(rcam.printed_rows("table1", dataset)) == order for dataset in datasets)

    def column(dataset: str, metric: str) -> list[float | None]:
        return [rcam.value("table1", dataset, row, metric) for row in order]

    assert column("pascal_s", "ois") == [0.398, 0.682, 0.684, 0.725, 0.733, 0.736, 0.773]
    assert column("ft", "ods") == [0.448, 0.643, 0.568, 0.714, 0.660, 0.714, 0.803]
    assert column("imgsal", "mae") == [0.330, 0.247, 0.250, 0.231, 0.247, 0.237, 0.188]
    gains = []
    for dataset in datasets:
        for metric in ("ois", "ods"):
            refined, plain = (rcam.value("table1", dataset, row, metric) for row in ("rcam", "cam1"))
            gains.append(round(100 * (refined / plain - 1), 2))
    assert gains == [13.34, 17.49, 23.66, 24.88, 22.40, 27.21]


TABLE6_NO_CRF = """72.5 35.0 23.7 33.6 20.9 32.8 57.6 49.2 51.4 14.7 42.9 32.8 51.9 43.1 53.2 47.6 35.2 47.7
                   28.6 40.3 36.7"""
TABLE6 = """76.7 45.1 24.6 40.8 23.0 34.8 61.0 51.9 52.4 15.5 45.9 32.7 54.9 48.6 57.4 51.8 38.2 55.4
            32.2 42.6 39.6"""
TABLE7 = """78.1 43.8 26.3 49.8 19.5 40.3 61.6 53.9 52.7 13.7 47.3 34.8 50.3 48.9 69.0 49.7 38.4 57.1
            34.0 38.0 40.0"""
VOC = """background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike
         person pottedplant sheep sofa train tvmonitor"""


def test_the_classes_of_dcsm_are_those_of_the_paper(papers: Papers) -> None:
    """Tables 6 (without and with the CRF) and 7, by column; the means they print follow from them."""
    dcsm = papers.by_key["dcsm"]
    classes, without, with_crf, test = (text.split() for text in (VOC, TABLE6_NO_CRF, TABLE6, TABLE7))
    rows = dcsm.printed_rows("table6_classes", "voc")
    assert list(rows) == classes
    assert [rows[name]["iou_no_crf"] for name in classes] == without
    assert [rows[name]["iou"] for name in classes] == with_crf
    test_rows = dcsm.printed_rows("table7_classes", "voc2012_test")
    assert list(test_rows) == classes
    assert [test_rows[name]["iou"] for name in classes] == test
    means = [sum(map(float, values)) / 21 for values in (without, with_crf, test)]
    printed = [dcsm.value("table6_val", "voc", "dcsm_no_crf", "miou"),
               dcsm.value("table6_val", "voc", "dcsm_crf", "miou"),
               dcsm.value("table7_test", "voc2012_test", "dcsm_crf", "miou")]
    assert means == pytest.approx(printed, abs=0.051)


def test_the_dcsm_and_poster_numbers_are_those_of_the_papers(papers: Papers) -> None:
    def values(paper: str, table: str, dataset: str = "voc") -> list[float]:
        rows = papers.by_key[paper].printed_rows(table, dataset)
        return [float(row["miou"]) for row in rows.values() if "miou" in row]

    assert values("dcsm", "table1") == [44.1, 33.8]
    assert values("dcsm", "table1_alpha") == [44.1, 33.8, 33.8]
    assert values("dcsm", "table2_layers") == [5.5, 21.5, 32.5, 40.3, 26.3, 41.3, 42.2, 42.8, 42.5, 37.97]
    assert values("dcsm", "table3_scales") == [
        34.5, 41.0, 42.4, 41.8, 40.0, 34.5, 41.1, 42.9, 43.5, 42.9, 42.5, 42.8]
    assert values("dcsm", "table4_top_n") == [38.2, 42.2, 43.5, 44.1, 44.2, 44.0, 43.7, 43.3]
    assert values("dcsm", "table5_backprop") == [41.2, 44.1]
    assert values("dcsm", "table6_val") == [25.7, 38.2, 34.5, 36.6, 37.8, 42.0, 40.5, 44.1]
    assert values("fcn_gbp", "results") == [25.7, 38.2, 34.5, 36.6, 37.8, 42.0, 49.8, 38.1, 33.8, 41.4, 44.1]
    assert values("fcn_gbp", "results_test", "voc2012_test") == [
        24.9, 39.6, 35.5, 40.6, 51.2, 37.7, 33.1, 40.7, 45.1]


@pytest.mark.parametrize("dataset", ["pascal_s", "ft", "imgsal"])
def test_what_rcam_prints_for_dcsm(papers: Papers, dataset: str) -> None:
    theirs = papers.by_key["rcam"].printed_rows("table2", dataset)["dcsm"]
    assert papers.by_key["dcsm"].printed_rows("rcam_table2", dataset) == {"dcsm": theirs}


@pytest.mark.parametrize("key", ["dcsm", "fcn_gbp"])
def test_a_table_of_voc_reads_the_same_under_both_names(papers: Papers, key: str) -> None:
    paper = papers.by_key[key]
    tables = [table for table, rows in paper.content.items() if isinstance(rows, dict) and "voc2012" in rows]
    assert len(tables) == {"dcsm": 9, "fcn_gbp": 1}[key]
    for table in tables:
        assert paper.printed_rows(table, "voc") == paper.printed_rows(table, "voc2012") != {}, table


def test_metrics_of_its_own(tmp_path: Path) -> None:
    """Named in its own file, they are shown as the shared ones are, and judged by their direction."""
    path = tmp_path / "own" / "paper.yaml"
    path.parent.mkdir()
    path.write_text(MINIMAL + "metrics: {drop: {label: drop (%), definition: what is lost, direction: -1}}\n"
                    "table1: {net: {drop: 31.50}}\n", encoding="utf-8")
    own = Paper.read(path)
    text = markdown_table(Table({}, "table1", "voc", own))
    assert "- drop (%): what is lost; lower is better." in text
    assert "| drop (%) paper |" in text and "31.50" in text
    assert "drop" not in METRICS and own.known_metrics["ods"] is METRICS["ods"]
    (tmp_path / "own.yaml").write_text("""
- {id: less, kind: at_least, statement: it loses less, where: table 1, table: table1, metrics: [drop],
   row: net, others: [cam], margin: 1}
""", encoding="utf-8")
    claims = load_claims(Papers({"own": own}, own, {}), tmp_path)
    assert [claim.direction for claim in claims] == [-1]
    with pytest.raises(Problem, match="direction"):
        path.write_text(path.read_text(encoding="utf-8").replace("-1", "down"), encoding="utf-8")
        Paper.read.__wrapped__(path)
