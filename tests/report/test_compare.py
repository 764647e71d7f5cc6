import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.report.compare import compare, print_comparison

Build = Callable[..., dict[str, Any]]
Store = Callable[..., Path]
ROWS = {"cam1": {"ois": (0.68, 0.66, 0.70), "ods": (0.59, 0.57, 0.61)}, "cam2": {"ois": (0.66, 0.64, 0.68)}}


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false",
                "-c", "core.hooksPath=/dev/null"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def claims(reports: Path, **verdicts: str) -> None:
    records = [{"id": claim, "verdict": verdict} for claim, verdict in verdicts.items()]
    (reports / "collage" / "claims.json").write_text(json.dumps(records))


@pytest.fixture
def reports(tmp_path: Path, metrics: Build, stored: Store) -> Path:
    """A repository whose last commit holds one metrics file and two claims."""
    folder = tmp_path / "reports"
    stored(folder, "collage", "rcam", metrics(ROWS))
    claims(folder, beats="holds", gains="unclear")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "results")
    return folder


def change(reports: Path, mean: float, row: str = "cam1", metric: str = "ois") -> None:
    path = reports / "collage" / "metrics" / "rcam.json"
    data = json.loads(path.read_text())
    data["results"]["table1"]["pascal_s"]["net"][row][metric]["mean"] = mean
    path.write_text(json.dumps(data))


def test_identical(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = reports / "collage" / "metrics" / "rcam.json"
    uncompared = {"seconds": 99, "timing": {"net": {"crf": 1}}, "provenance": {"x": 1}}
    path.write_text(json.dumps(json.loads(path.read_text()) | uncompared))
    assert print_comparison(["collage"], reports) == 0
    assert capsys.readouterr().out.splitlines() == [
        "collage:", "  rcam table1 pascal_s/net: 3 of 3 values identical",
        "  claims: 2 of 2 verdicts identical",
        "5 values and verdicts: 5 identical, 0 reproduced, 0 changed, 0 new, 0 gone."]


@pytest.mark.parametrize("mean, verdict, code", [
    (0.69, "reproduced", 0), (0.70, "reproduced", 0), (0.66, "reproduced", 0), (0.71, "changed", 3),
    (0.5, "changed", 3)])
def test_inside_the_committed_interval_or_not(reports: Path, capsys: pytest.CaptureFixture[str],
                                              mean: float, verdict: str, code: int) -> None:
    change(reports, mean)
    assert print_comparison(["collage"], reports) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  rcam table1 pascal_s/net: 2 of 3 values identical"
    assert lines[2] == f"    cam1 ois  {verdict:<10}  0.68 [0.66, 0.70]  now {mean:.2f} [0.66, 0.70]"
    assert f"1 {verdict}" in lines[-1]


@pytest.mark.parametrize("mean, verdict", [(0.501, "reproduced"), (0.499, "reproduced"), (0.5011, "changed")])
def test_the_tolerance_where_the_interval_has_no_width(tmp_path: Path, metrics: Build, stored: Store,
                                                       mean: float, verdict: str) -> None:
    stored(tmp_path, "t", "rcam", metrics({"a": {"ois": (mean,) * 3}}))
    old = json.dumps(metrics({"a": {"ois": (0.5, 0.5, 0.5)}}))
    rows = compare(["t"], tmp_path, lambda path: old if path.endswith("rcam.json") else None)
    assert [row.verdict for row in rows] == [verdict]


def test_new_and_gone_values(reports: Path, capsys: pytest.CaptureFixture[str], metrics: Build,
                             stored: Store) -> None:
    stored(reports, "collage", "rcam", metrics(ROWS | {"rcam": {"ois": (0.8, 0.7, 0.9)}}))
    stored(reports, "collage", "dcsm", metrics({"a": {"ois": (0.8, 0.7, 0.9)}}, table="table2"))
    assert print_comparison(["collage"], reports) == 0
    text = capsys.readouterr().out
    assert "    rcam ois  new         —  now 0.80 [0.70, 0.90]" in text
    assert "dcsm table2 pascal_s/net: 0 of 1 values identical" in text
    stored(reports, "collage", "rcam", metrics({"cam1": ROWS["cam1"]}))
    assert print_comparison(["collage"], reports) == 3
    assert "cam2 ois  gone" in capsys.readouterr().out


def test_a_metrics_file_that_is_gone(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (reports / "collage" / "metrics" / "rcam.json").unlink()
    assert print_comparison(["collage"], reports) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert "0 identical" not in last and "3 gone" in last


def test_a_flipped_claim_counts_as_changed(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claims(reports, beats="fails", gains="unclear", added="holds")
    assert print_comparison(["collage"], reports) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == ["  claims: 1 of 3 verdicts identical",
                          "    beats  changed     holds  now fails",
                          "    added  new         —      now holds"]


def test_undefined_values(tmp_path: Path, metrics: Build, stored: Store) -> None:
    nan = float("nan")
    old = metrics({"a": {"ois": (nan,) * 3}, "b": {"ois": (nan,) * 3}, "c": {"ois": (0.5, 0.4, 0.6)}})
    new = copy.deepcopy(old)
    rows = new["results"]["table1"]["pascal_s"]["net"]
    rows["b"] = rows["c"]
    rows["c"] = {"ois": {"mean": None, "low": None, "high": None}}
    stored(tmp_path, "t", "rcam", new)
    compared = compare(["t"], tmp_path, lambda path: json.dumps(old) if path.endswith("rcam.json") else None)
    assert [(row.name, row.verdict) for row in compared] == [
        ("a ois", "identical"), ("b ois", "changed"), ("c ois", "changed")]


def test_a_project_inside_a_larger_repository(tmp_path: Path, metrics: Build, stored: Store) -> None:
    folder = tmp_path / "inner" / "reports"
    stored(folder, "collage", "rcam", metrics(ROWS))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "results")
    change(folder, 0.1)
    assert print_comparison(["collage"], folder) == 3


def test_nothing_to_compare_with(tmp_path: Path, capsys: pytest.CaptureFixture[str], metrics: Build,
                                 stored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    reports = tmp_path / "reports"
    stored(reports, "collage", "rcam", metrics(ROWS))
    assert print_comparison(["collage"], reports) == 0
    assert "not a Git checkout" in capsys.readouterr().out
    git(tmp_path, "init", "-q")
    assert print_comparison(["collage"], reports) == 0   # no commit yet
    assert "not a Git checkout with a commit" in capsys.readouterr().out
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "empty")
    assert print_comparison(["collage"], reports) == 0
    out = capsys.readouterr().out
    assert "Nothing is committed under reports for collage" in out
    assert len(out.splitlines()) == 1
