"""Page, figure and front page hold every row; the command refuses what is wrong."""
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib.__main__ import main
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.base.race import OURS, quartiles
from lib.bench import command
from lib.bench.page import BEGIN, END, TITLES, front, page, update
from lib.bench.plots import write_plot
from lib.bench.rows import ROWS, known_rows

FRONT_LINES = 14
LARGEST_PLOT = 300_000
MACHINE = {"processor": "An abacus", "cores": 2, "threads": 1, "device": "cpu (1 threads)", "system": "Linux",
           "packages": {"python": "3.11.2", "torch": "2.9.0"}, "git": {"revision": "abc", "dirty": False}}


def entry(row: str) -> dict[str, Any]:
    """A setting of a row, as it would be measured."""
    found = {"setting": f"{row} of 8", "images": 8, "front": True, "ms": {OURS: quartiles([16.0])},
             "against": {}}
    if row == "methods":
        return found | {"images": 1, "method": "rcam", "batch": 1, "side": 320, "peak_mb": 910}
    if row == "memory":
        growth = {"after": 50, "mb": 800, "times": 1.01, "most": 1.05, "met": True}
        curve = [[0, 1.0, 500], [50, 2.0, 800], [100, 3.0, 808]]
        return found | {"peak_mb": 808, "growth": growth, "curve": curve}
    asked = quartiles([2.5]) | {"difference": 3e-7, "least": 3.0, "met": False}
    shown = quartiles([0.9]) | {"difference": None}
    found["ms"] |= {"a peer": quartiles([40.0]), "another": quartiles([14.4])}
    found["against"] = {"a peer": asked, "another": shown}
    return found


@pytest.fixture
def results() -> dict[str, Any]:
    return {row: {"machine": MACHINE, "entries": [entry(row)]} for row in ROWS}


def test_the_page_has_every_row_and_the_machine(results: dict[str, Any]) -> None:
    text = page(results)
    assert "An abacus, 2 cores, 1 thread, no GPU, Python 3.11.2, torch 2.9.0" in text
    ours = "| class activation maps | cam of 8 | 2 [2, 2] | a peer | "
    assert f"{ours}5 [5, 5] | 2.5 [2.5, 2.5] | 3: missed | 3e-07 |" in text
    assert "| another | 1.8 [1.8, 1.8] | 0.9 [0.9, 0.9] | — | — |" in text
    assert "| whole methods | methods of 8 | 16 [16, 16] | 910 |" in text
    assert "800 MB at most after the first 50, 808 MB in the end, 1.01 times as much" in text
    for row in ROWS:
        assert f"| {TITLES[row]} | {row} of 8 |" in text


def test_the_front_page_has_every_row_in_few_lines(results: dict[str, Any]) -> None:
    text = front(results)
    for row in ROWS:
        assert f"| {TITLES[row]}" in text
    assert "2.5 a peer (asked for 3, missed); 0.9 another" in text and "An abacus" in text
    assert text.count("\n") < FRONT_LINES


def test_the_block_is_rewritten_and_the_rest_stays(results: dict[str, Any], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    update(readme, results)
    once = readme.read_text()
    update(readme, results)
    assert readme.read_text() == once and once.startswith("before\n") and once.endswith(f"{END}\nafter\n")
    assert "old" not in once and "An abacus" in once
    readme.write_text("no block")
    with pytest.raises(Problem, match=r"README\.md: needs the lines"):
        update(readme, results)


def test_the_front_page_has_its_place() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1


@pytest.mark.parametrize("rows", [list(ROWS), ["methods"], ["guided"]])
def test_the_figure_is_small(results: dict[str, Any], rows: list[str], tmp_path: Path) -> None:
    path = tmp_path / "bench.png"
    write_plot({row: results[row] for row in rows}, path)
    assert path.stat().st_size < LARGEST_PLOT and Image.open(path).width > 600


def test_rows_come_in_their_order() -> None:
    assert known_rows(None) == list(ROWS) and known_rows(["memory", "cam"]) == ["cam", "memory"]


@pytest.mark.parametrize("words, said", [
    (["--rows", "guidet"], '--rows: there is no row "guidet"; did you mean "guided"?'),
    (["--rows", "cam", "--out", "{file}"], "--out: {file} is a file; name a folder"),
    (["--rows", "cam", "--out", "{broken}"], "bench.json: damaged; delete it"),
])
def test_what_is_wrong_is_one_sentence(words: list[str], said: str, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    places = {"file": tmp_path / "file", "broken": tmp_path / "broken"}
    places["file"].write_text("")
    places["broken"].mkdir()
    (places["broken"] / "bench.json").write_text("{")
    assert main(["bench", "--quick", *(word.format(**places) for word in words)]) == 1
    error = capsys.readouterr().err
    assert said.format(**places) in error and error.count("\n") == 1


def test_what_is_measured_again_takes_the_place_of_what_was_there(
        results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[str, bool]] = []

    def measured(row: str, effort: Any) -> list[dict[str, Any]]:
        asked.append((row, effort.quick))
        return [entry(row) | {"setting": "new"}]

    monkeypatch.setattr(command, "measured", measured)
    (tmp_path / "bench.json").write_text(json.dumps(results))
    words = ["bench", "--quick", "--rows", "prm", "cam", "--out", str(tmp_path), "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert asked == [("cam", True), ("prm", True)] and list(printed) == ["cam", "prm"]
    assert list(kept) == list(ROWS) and kept["prm"]["entries"][0]["setting"] == "new"
    assert kept["guided"] == results["guided"] and kept["cam"]["machine"]["threads"] == 1
    assert (tmp_path / "bench.png").is_file() and "new" in (tmp_path / "README.md").read_text()


def test_a_quick_call_measures_beside_a_peer(tmp_path: Path) -> None:
    words = ["bench", "--quick", "--rows", "filling", "guided_filter", "crf", "--out", str(tmp_path)]
    assert main(words) == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    for row, peer in (("filling", "unfold at each step"), ("guided_filter", "OpenCV, guidedFilter")):
        one, = found[row]["entries"]
        assert one["against"][peer]["difference"] < 1e-4 and one["ms"][peer]["median"] > 0
    assert found["crf"]["entries"][0]["against"]["pydensecrf's lattice, not exact"]["difference"] is None
