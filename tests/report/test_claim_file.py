"""The files of claims: what is read from them, and what is said of a mistake."""
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.base.problem import Problem
from lib.report.claim_file import Claim, load_claims
from lib.report.paper import Papers

Load = Callable[..., list[Claim]]
GOOD = """
- id: beats
  kind: ordering
  statement: A beats B
  where: table 1
  table: table1
  metrics: [ois, ods]
  better: rcam1
  worse: cam1
"""
OF_ONE_ROW = GOOD.replace("better", "row")
RISE = OF_ONE_ROW.replace("ordering", "rise").replace("worse: cam1", "base: cam1\n  minimum: 3")
OPTIMUM = OF_ONE_ROW.replace("ordering", "optimum").replace("worse: cam1", "neighbours: [3, 5]")


@pytest.fixture
def load(tmp_path: Path, papers: Papers) -> Load:
    """Claims from the text of a file."""
    def read(text: str, name: str = "rcam.yaml") -> list[Claim]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return load_claims(papers, tmp_path)
    return read


def test_one_claim_per_metric(load: Load) -> None:
    first, second = load(GOOD)
    assert (first.id, first.statement) == ("beats_ois", "A beats B (OIS)")
    assert (first.entry, first.in_words) == ("beats", "A beats B")
    assert (first.row, first.others) == ("rcam1", ("cam1",))
    assert (second.id, second.metric) == ("beats_ods", "ods")
    assert (second.notebook, second.paper.key) == ("rcam", "rcam")
    single = load(GOOD.replace("[ois, ods]", "[ods]"))
    assert [(claim.id, claim.statement) for claim in single] == [("beats", "A beats B")]


def test_rows_that_other_kinds_name(load: Load) -> None:
    assert [claim.base for claim in load(RISE)] == ["cam1", "cam1"]
    assert load(OPTIMUM)[0].neighbours == ("3", "5")


@pytest.mark.parametrize("old, new, message", [
    ("kind: ordering", "kind: odering",
     'claim "beats" has the unknown kind "odering"; did you mean "ordering"'),
    ("better: rcam1", "beter: rcam1", 'unknown key "beter"; did you mean "better"'),
    ("  where: table 1\n", "", 'lacks the key "where"'),
    ("  worse: cam1\n", "", 'lacks the key "worse", which kind "ordering" needs'),
    ("[ois, ods]", "[oiss]", 'unknown metric "oiss"; did you mean "ois"'),
    ("[ois, ods]", "ois", "metrics must be a list"),
    ("[ois, ods]", "[share]", 'only kind "share" can judge it'),
    ("worse: cam1", "worse: []", "worse must name at least one row"),
    ("worse: cam1", "worse: cam1\n  paper_value: much", 'paper_value must be a number, not "much"'),
    ("worse: cam1", "worse: cam1\n  margin: 1", 'unknown key "margin"'),
    ("- id: beats", "id: beats", "rcam.yaml"),
    ("metrics: [ois, ods]", "metrics: [ois", "cannot be read as YAML")])
def test_a_mistake_in_the_file_is_named(load: Load, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(Problem) as caught:
        load(GOOD.replace(old, new))
    assert message in str(caught.value)


@pytest.mark.parametrize("text, message", [
    (RISE.replace("  minimum: 3\n", ""), 'lacks the key "minimum", which kind "rise" needs'),
    (RISE.replace("minimum: 3", "minimum: much"), 'minimum must be a number, not "much"'),
    (OPTIMUM.replace("[3, 5]", "[]"), "neighbours must name at least one row"),
    (OPTIMUM.replace("kind: optimum", "kind: worst"), 'unknown key "neighbours"')])
def test_a_mistake_in_other_kinds_is_named(load: Load, text: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        load(text)
    assert message in str(caught.value)


def test_doubled_ids(load: Load) -> None:
    with pytest.raises(Problem, match='"beats_ois" is listed twice'):
        load(GOOD + GOOD)


def test_the_file_of_a_paper_that_is_not_listed(tmp_path: Path, load: Load) -> None:
    with pytest.raises(Problem) as caught:
        load(GOOD, "rcan.yaml")
    assert str(caught.value).endswith('/rcan.yaml: there is no paper "rcan"; did you mean "rcam"?')


def test_the_listed_claims_cover_the_spec(papers: Papers) -> None:
    claims = load_claims(papers)
    both = {"rcam1_beats_cam1", "rcam2_beats_cam2", "fusion_at_least_the_better", "crf_adds", "total_gain",
            "cam2_no_better", "gmp_worse", "two_sizes_complement", "guide_at_28", "window_from_variogram"}
    levels = {"shape_in_first_component", "gradients_at_56", "shape_at_28"}
    of_rcam = levels | {"rcam_reaches_paper"}
    for metric in ("ois", "ods"):
        of_rcam |= {f"{entry}_{metric}" for entry in both}
    assert {claim.id for claim in claims if claim.paper.key == "rcam"} == of_rcam
    assert {claim.id for claim in claims if claim.paper.key == "dcsm"} == {
        "dcsm_beats_simonyan", "alpha_3", "block4_best", "block1_worst", "blocks_combined", "scales_help",
        "subtraction_helps", "optimum_n", "guided_beats_bp", "crf_adds", "dcsm_reaches_paper"}
    assert {claim.id for claim in claims if claim.paper.key == "fcn_gbp"} == {
        "saliency_beats_proposals", "fcn_beats_zof", "dcsm_beats_the_poster"}
    assert {claim.metric for claim in claims if claim.paper.key in ("dcsm", "fcn_gbp")} == {"miou"}
    of_csoa = {claim.id for claim in claims if claim.paper.key == "csoa" and claim.table != "cams"}
    assert {id.removesuffix("_loc1").removesuffix("_loc5") for id in of_csoa} == {
        "confseg_helps", "coaug_helps", "both_help_most", "confseg_gain", "coaug_gain", "csoa_gain",
        "classification_kept_cls1", "classification_kept_cls5", "position", "theta"}
