"""The rows of DCSM's tables, and which of them are compared."""
from dataclasses import replace

from dcsm_toys import SETTINGS

from lib.papers.dcsm.rows import (
    Row,
    alpha_pairs,
    alpha_rows,
    backprop_rows,
    layer_pairs,
    layer_rows,
    main_rows,
    scale_pairs,
    scale_rows,
    simonyan,
    top_n_pairs,
    top_n_rows,
)


def test_main_rows_are_tables_1_and_6() -> None:
    simonyans = replace(SETTINGS, scales=(500,), blocks=("image",), candidates=0, alpha=8.0)
    assert main_rows(SETTINGS) == {
        "dcsm_no_crf": Row(SETTINGS, "guided", False),
        "dcsm_crf": Row(SETTINGS, "guided", True),
        "dcsm_paper_crf": Row(replace(SETTINGS, crf=SETTINGS.crf_paper), "guided", True),
        "simonyan_crf": Row(simonyans, "simonyan", True),
    }


def test_simonyan_is_never_subtracted_and_takes_the_middle_scale() -> None:
    settings = replace(SETTINGS, scales=(600, 400, 500), reading="demo", normaliser="joint")
    expected = replace(settings, scales=(500,), blocks=("image",), candidates=0, alpha=2.0,
                       reading="paper", normaliser="own")
    assert simonyan(settings, 2.0) == Row(expected, "simonyan", True)


def test_alpha_rows_are_table_1() -> None:
    settings = replace(SETTINGS, reading="demo")   # which has no alpha
    rows = alpha_rows(settings, [1.0, 2.5, 10])
    assert list(rows) == ["dcsm_1", "dcsm_2.5", "dcsm_10", "simonyan_1", "simonyan_2.5", "simonyan_10"]
    for alpha in (1.0, 2.5, 10):
        theirs = rows[f"simonyan_{alpha:g}"]
        assert rows[f"dcsm_{alpha:g}"] == Row(replace(settings, reading="paper", alpha=alpha))
        assert theirs == simonyan(settings, alpha) and theirs.settings.alpha == alpha


def test_the_papers_alpha_is_compared_with_every_other() -> None:
    others: tuple[str, ...] = ("dcsm_1", "dcsm_2.5", "dcsm_10")
    assert alpha_pairs([1, 2.5, 3.0, 10]) == [("dcsm_3", other) for other in others]


def test_layer_rows_are_table_2() -> None:
    together = Row(replace(SETTINGS, blocks=("block3", "block4", "block5")))
    assert layer_rows(SETTINGS, ["block1", "block345"]) == {
        "block1": Row(replace(SETTINGS, blocks=("block1",))), "block345": together}


def test_layers_that_are_compared() -> None:
    pairs = layer_pairs()
    assert pairs[:4] == [("block4", f"block{number}") for number in (1, 2, 3, 5)]
    assert pairs[4:7] == [("block1", f"block{number}") for number in (2, 3, 5)]
    assert pairs[7:] == [("block345", f"block{number}") for number in (1, 2, 3, 4, 5)]


def test_scale_rows_are_table_3() -> None:
    rows = scale_rows(SETTINGS, [[300], (400, 500)])
    assert rows == {"s300": Row(replace(SETTINGS, scales=(300,))),
                    "s400_500": Row(replace(SETTINGS, scales=(400, 500)))}
    rows = scale_rows(SETTINGS, [(400, 500, 600), *([side] for side in (300, 400))])
    assert scale_pairs(rows) == [("s400_500_600", "s300"), ("s400_500_600", "s400")]


def test_top_n_rows_are_table_4_up_to_the_number_of_classes() -> None:
    rows = top_n_rows(SETTINGS, [0, 1, 4, 5, 15], classes=4)
    assert rows == {str(n): Row(replace(SETTINGS, candidates=n), "wide") for n in (0, 1, 4)}
    assert list(top_n_rows(SETTINGS, [0, 15], classes=15)) == ["0", "15"]
    assert top_n_pairs(rows) == [("0", "1"), ("0", "4"), ("4", "1")]


def test_backprop_rows_are_table_5() -> None:
    assert backprop_rows(SETTINGS) == {"bp": Row(SETTINGS, "plain"), "guided_bp": Row(SETTINGS, "guided")}
