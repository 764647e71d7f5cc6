"""The page of a tier: everything on it comes from the metrics files and from the notebooks' prose."""
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.base.problem import Problem
from lib.report.paper import Papers
from lib.report.render import provenance_line, render

Build = Callable[..., dict[str, Any]]
Store = Callable[..., Path]
Page = Callable[..., str]

EXTRAS = {
    "timing": {"net": {"forward": 11.04, "crf": 40.0}, "idle": {}},
    "counts": {"pascal_s": {"images": 7, "no_foreground": 2}},
    "deviations": ["Backbone (section 3.1).", "Window size (eq. 1)."],
    "figures": [{"file": "figures/one.png", "caption": "Figure 4"}],
    "provenance": {"revision": "0123456789abcdef", "dirty": True, "packages": {"torch": "2.1"},
                   "datasets": {"pascal_s": "f" * 64}}}
EXPECTED: tuple[str, ...] = ("rcam", "dcsm", "rcam_scales")


@pytest.fixture
def rendered(tmp_path: Path, papers: Papers) -> Page:
    """The page of tier mirror, rendered from what lies in the temporary folder."""
    def page(*expected: str, stale: str = "") -> str:
        render("mirror", tmp_path, expected, stale, papers, tmp_path / "notebooks")
        return (tmp_path / "mirror" / "README.md").read_text(encoding="utf-8")
    return page


@pytest.fixture
def page(tmp_path: Path, metrics: Build, stored: Store, rendered: Page) -> str:
    found = metrics({"cam1": {"ods": (0.59, 0.57, 0.61)}}, {"rcam1 - cam1": {"ods": (0.031, 0.024, 0.038)}},
                    **EXTRAS)
    found["results"]["table1"]["pascal_s"]["big"] = {}
    scales = metrics({"224": {"ods": (0.6, 0.58, 0.62)}}, table="input_sizes", seconds=8)
    stored(tmp_path, "mirror", "rcam", found)
    stored(tmp_path, "mirror", "rcam_scales", scales)
    return rendered(*EXPECTED)


def test_header_and_order(page: str) -> None:
    assert page.startswith("# Results, tier mirror\n")
    assert "- images: rcam 7, rcam_scales 7\n- device: cpu\n- seconds: 20\n" in page
    sections = [line for line in page.splitlines() if line.startswith("## ")]
    assert sections == ["## Papers", "## Claims", "## rcam", "## dcsm", "## rcam_scales"]
    assert "## dcsm\n\nNot run in this tier.\n" in page


<<<<<<< HEAD
def test_what_is_older_than_the_code_stands_before_the_results(tmp_path: Path) -> None:
    render("mirror", tmp_path, expected=["rcam"], stale="## What is older than the code\n\n- rcam: a word\n")
    page = (tmp_path / "mirror" / "README.md").read_text(encoding="utf-8")
    sections = [line for line in page.splitlines() if line.startswith("## ")]
    assert sections == ["## What is older than the code", "## Claims", "## rcam"] and "\n- rcam: a word\n\n" in page
=======
def test_papers_are_named_in_full_before_anything_else_names_them(page: str, papers: Papers) -> None:
    before, section = page.split("## Papers\n")
    lines = section.split("\n## ")[0].strip().splitlines()
    assert len(lines) == len(papers.by_key)
    assert lines[0] == (
        "- rcam: [Segmentation and Shape Extraction from Convolutional Neural Networks]"
        "(https://doi.org/10.1109/WACV.2018.00169), Mai Lan Ha, Gianni Franchi, Michael Möller, "
        "Andreas Kolb, Volker Blanz, WACV 2018")
    for paper in papers.by_key.values():
        assert paper.title not in before
>>>>>>> h-report


def test_claims_with_networks_side_by_side(page: str) -> None:
    assert "| claim | where | paper | net | net: verdict | big | big: verdict |" in page
    assert ("| rCAM₁ beats CAM₁ (ODS) | rcam, section 4.3, table 1 | 0.051 | 0.031 [0.024, 0.038] | holds "
            "| — | not run |") in page
    # 15 claims for 2 networks, 68 others
    assert "1 hold, 0 fail, 0 unclear, 97 not run ([claims.json](claims.json))" in page
    assert "### Claims not run" in page and 'table "shape_component" of notebook rcam was not run' in page


def test_notebook_section(page: str) -> None:
    assert "Segmentation and Shape Extraction from Convolutional Neural Networks (WACV 2018)" in page
    assert "7 images, 12 seconds on cpu, seeds 0, [executed notebook](notebooks/rcam.ipynb)." in page
    assert "Counts on pascal_s: images 7, no foreground 2.\n" in page
    assert "| CAM₁ | — | — | 0.682 | 0.59 [0.57, 0.61] | — | 0.566 |" in page
    assert "![Figure 4](figures/one.png)" in page
    assert "- timing, net: forward 11 ms, crf 40 ms\n" in page and "timing, idle" not in page
    assert "1. Backbone (section 3.1).\n2. Window size (eq. 1).\n" in page
    assert ("Provenance: revision 0123456789ab with uncommitted changes; packages torch 2.1; "
            "datasets pascal_s ffffffffffff.") in page


def test_the_notebooks_deviations_stand_in_place_of_those_of_older_results(tmp_path: Path, page: str,
                                                                           rendered: Page) -> None:
    (tmp_path / "notebooks").mkdir()
    prose = {"cell_type": "markdown", "source": ["## Deviations from the paper\n", "\n", "1. Another one."]}
    (tmp_path / "notebooks" / "rcam.ipynb").write_text(json.dumps({"cells": [prose]}), encoding="utf-8")
    changed = rendered(*EXPECTED)
    assert "Deviations from the paper:\n\n1. Another one.\n" in changed and "Window size" not in changed
    assert "Window size" in page


def test_what_is_stale_is_said_before_the_claims(page: str, rendered: Page) -> None:
    stale = rendered(*EXPECTED, stale="## Older than the code\n\n- rcam\n")
    assert stale.replace("## Older than the code\n\n- rcam\n\n", "") == page
    assert "- rcam\n\n## Claims" in stale


def test_claims_file(tmp_path: Path, page: str) -> None:
    records = json.loads((tmp_path / "mirror" / "claims.json").read_text(encoding="utf-8"))
    verdicts = {record["id"]: record["verdict"] for record in records}
    assert verdicts["rcam.rcam1_beats_cam1_ods@pascal_s/net"] == "holds"
    assert len(verdicts) == len(records) == 98


def test_the_same_results_give_the_same_page(page: str, rendered: Page) -> None:
    assert rendered(*EXPECTED) == page


def test_nothing_run(rendered: Page) -> None:
    page = rendered("rcam")
    assert "- images: —" in page and "## rcam\n\nNot run in this tier.\n" in page
    assert "0 hold, 0 fail, 0 unclear, 83 not run" in page


def test_a_damaged_file_is_named_and_nothing_is_written(tmp_path: Path, metrics: Build, stored: Store,
                                                        rendered: Page) -> None:
    path = stored(tmp_path, "mirror", "rcam", metrics({}))
    for damage in (path.read_text()[:-5], "[]", '{"notebook": "rcam"}'):
        path.write_text(damage)
        with pytest.raises(Problem, match=r"rcam\.json: damaged"):
            rendered()
    assert sorted(path.name for path in (tmp_path / "mirror").iterdir()) == ["metrics"]


def test_provenance_forms() -> None:
    assert provenance_line({}) == "Provenance: revision unknown."
    nested = {"git": {"revision": "abc", "dirty": False}, "weights": {"net": "e" * 64}}
    assert provenance_line(nested) == f"Provenance: revision abc; weights net {'e' * 12}."


@pytest.fixture
def dcsm_page(tmp_path: Path, metrics: Build, stored: Store, rendered: Page) -> Page:
    """The page of a tier in which DCSM measured a row of rCAM's table 2, and its own classes."""
    def build(dataset: str) -> str:
        rcam = metrics({"rcam": {"ods": (0.67, 0.65, 0.69)}}, table="table2", dataset=dataset)
        dcsm = metrics({"dcsm": {"ods": (0.51, 0.49, 0.53)}}, table="rcam_table2", dataset=dataset,
                       notebook="dcsm")
        dog = {"net": {"dog": {"iou": {"mean": 50, "low": 48, "high": 52}}}}
        dcsm["results"]["table6_classes"] = {"voc": dog, "collage": dog}
        stored(tmp_path, "mirror", "rcam", rcam)
        stored(tmp_path, "mirror", "dcsm", dcsm)
        return rendered()
    return build


def test_dcsm_stands_in_table_2_of_rcam(tmp_path: Path, dcsm_page: Page) -> None:
    page = dcsm_page("pascal_s")
    own, rcam = (page.split(f"## {name}\n")[1] for name in ("dcsm", "rcam"))
    row = "| DCSM | — | 0.708 | 0.51 [0.49, 0.53] | 0.607 | — | 0.293 |"
    assert row in rcam and "\nIncludes what notebook dcsm measured.\n" in rcam
    assert "### rCAM's table 2, DCSM's row: pascal_s\n" in own and row in own
    assert "Includes what" not in own.split("## rcam\n")[0]
    lines = (tmp_path / "mirror/tables/rcam-table2.csv").read_text(encoding="utf-8").splitlines()
    assert "pascal_s,net,dcsm,ods,0.51,0.49,0.53,0.607" in lines
    kept = json.loads((tmp_path / "mirror/metrics/rcam.json").read_text())
    assert "dcsm" not in kept["results"]["table2"]["pascal_s"]["net"]


def test_classes_are_compared_with_the_paper_on_its_own_photographs_only(dcsm_page: Page) -> None:
    section = dcsm_page("collage").split("### Table 6, classes: voc\n")[1]
    voc, collage = section.split("### Table 6, classes: collage\n")
    assert "| dog | 50 [48, 52] | 54.9 | — | 51.9 |" in voc and "| aeroplane |" in voc
    assert "| dog | 50 [48, 52] |\n" in collage and "aeroplane" not in collage.split("## rcam")[0]
