"""Rows that one notebook measures and another one's table shows."""
import copy
from collections.abc import Callable
from typing import Any

from lib.report.paper import Papers
from lib.report.results import with_guest_rows

Build = Callable[..., dict[str, Any]]


def test_dcsm_joins_table_2_where_dataset_and_network_are_the_same(metrics: Build, papers: Papers) -> None:
    rcam = metrics({"rcam": {"ods": (0.7, 0.6, 0.8)}}, table="table2")
    rcam["results"]["table2"]["pascal_s"]["big"] = {"rcam": {}}
    rcam["results"]["table2"]["ft"] = {"net": {"rcam": {}}}
    rcam["results"]["table1"] = {"pascal_s": {"net": {"cam1": {}}}}
    dcsm = metrics({"dcsm": {"ods": (0.5, 0.4, 0.6)}}, table="rcam_table2")
    dcsm["results"]["rcam_table2"]["pascal_s"]["vgg16_conv"] = {"dcsm": {}}
    tier = {"rcam": rcam, "dcsm": dcsm}
    before = copy.deepcopy(tier)
    shown = with_guest_rows(tier, papers)
    assert tier == before and shown["dcsm"] is dcsm   # what was read stays as it is
    table = shown["rcam"]["results"]["table2"]
    assert list(table) == ["pascal_s", "ft"]
    assert {network: list(rows) for network, rows in table["pascal_s"].items()} == {
        "net": ["dcsm", "rcam"], "big": ["rcam"]}
    assert {network: list(rows) for network, rows in table["ft"].items()} == {"net": ["rcam"]}
    assert table["pascal_s"]["net"]["dcsm"]["ods"] == {"mean": 0.5, "low": 0.4, "high": 0.6}
    assert shown["rcam"]["guests"] == {"table2": "dcsm"}
    assert shown["rcam"]["results"]["table1"] == rcam["results"]["table1"]


def test_nothing_joins_where_one_of_them_was_not_run(metrics: Build, papers: Papers) -> None:
    rcam = {"rcam": metrics({"rcam": {}}, table="table2")}
    dcsm = {"dcsm": metrics({"dcsm": {}}, table="rcam_table2", dataset="collage")}
    for tier in ({}, rcam, dcsm, rcam | dcsm):   # the last: another dataset
        assert with_guest_rows(tier, papers) == tier
