"""What a notebook leaves behind: the contract's keys, whole or not at all, and nothing published outside the pipeline."""
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lib.base.paths import ROOT
from lib.report import record
from lib.report.record import LARGEST_FIGURE, OUTPUT, Record

ROWS = {"cam1": {"ods": {"mean": 0.5, "low": 0.4, "high": 0.6}}}
CONTRACT = ["notebook", "tier", "n_images", "seeds", "seconds", "device", "results", "provenance"]


def drawing(noise: bool = False, side: float = 2) -> Figure:
    figure = Figure(figsize=(side, side))
    axis = figure.subplots()
    axis.imshow(np.random.default_rng(0).random((400, 400, 3)), interpolation="nearest") if noise else axis.plot([0, 1], [1, 0])
    return figure


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(OUTPUT, str(tmp_path / "out"))
    return tmp_path / "out"


@pytest.fixture
def kept() -> Record:
    return Record("rcam", "collage", "cpu", [0, 1])


def test_save_writes_the_contract(published: Path, kept: Record) -> None:
    kept.add("table1", "pascal_s", "net", ROWS, {"rcam - cam1": ROWS["cam1"]})
    kept.add("table1", "pascal_s", "other", ROWS)
    kept.add("table1", "ft", "net", ROWS, {})
    kept.counts["dropped"] = {"net": 2}
    kept.timing["net"] = {"all rows": 12.5}
    path = kept.save(17, ["section 3.1: another backbone"], {"revision": "abc"})
    assert path == published / "metrics" / "rcam.json" and files(published) == ["metrics/rcam.json"]
    found = json.loads(path.read_text(encoding="utf-8"))
    assert set(CONTRACT) <= set(found)
    seconds = found.pop("seconds")
    assert 0 <= seconds < 60
    assert found == {"notebook": "rcam", "tier": "collage", "n_images": 17, "seeds": [0, 1], "device": "cpu",
                     "results": {"table1": {"pascal_s": {"net": ROWS, "other": ROWS}, "ft": {"net": ROWS}}},
                     "comparisons": {"table1": {"pascal_s": {"net": {"rcam - cam1": ROWS["cam1"]}}}},
                     "timing": {"net": {"all rows": 12.5}}, "counts": {"dropped": {"net": 2}}, "figures": [],
                     "deviations": ["section 3.1: another backbone"], "provenance": {"revision": "abc"}}


def test_seconds_are_the_notebooks(published: Path, kept: Record) -> None:
    kept.start -= 100
    assert 100 <= json.loads(kept.save(1, [], {}).read_text())["seconds"] < 160


def test_save_writes_whole_or_not_at_all(published: Path, kept: Record) -> None:
    before = kept.save(1, ["first"], {}).read_bytes()
    kept.add("table1", "pascal_s", "net", {"cam1": {"ods": {"mean": np.float32(0.5)}}})   # not JSON
    with pytest.raises(TypeError):
        kept.save(2, ["second"], {})
    assert files(published) == ["metrics/rcam.json"] and (published / "metrics/rcam.json").read_bytes() == before


def test_an_interrupted_write_leaves_the_old_file(published: Path, kept: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept.save(1, [], {}).read_bytes()

    def half(self: Path, text: str, **_more: str) -> None:
        self.write_bytes(text[:10].encode())
        raise OSError("no space left")
    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError):
        kept.save(2, [], {})
    assert files(published) == ["metrics/rcam.json"] and (published / "metrics/rcam.json").read_bytes() == before


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_is_published_outside_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Record, value: str | None) -> None:
    monkeypatch.delenv(OUTPUT, raising=False) if value is None else monkeypatch.setenv(OUTPUT, value)
    assert kept.folder == ROOT / "build" / "interactive" / "collage"   # ignored by Git, read by no report
    monkeypatch.setattr(record, "BUILD", tmp_path / "build")
    monkeypatch.chdir(tmp_path)
    kept.figure(drawing(), "one", "A line")
    kept.save(1, [], {})
    assert files(tmp_path) == ["build/interactive/collage/figures/rcam/one.png", "build/interactive/collage/metrics/rcam.json"]


def test_figures_are_kept_with_their_captions(published: Path, kept: Record) -> None:
    shown = kept.figure(drawing(), "line", "A line that falls")
    path = published / "figures/rcam/line.png"
    assert kept.figures == [{"file": "figures/rcam/line.png", "caption": "A line that falls"}]
    assert shown.data == path.read_bytes()
    with Image.open(path) as image:
        assert image.format == "PNG" and image.mode == "RGBA" and "Software" not in image.info   # untouched: small enough
    again = path.read_bytes()
    kept.figure(drawing(), "line", "A line that falls")
    assert path.read_bytes() == again   # the same bytes from run to run


def test_large_figures_are_stored_with_few_colours(published: Path, kept: Record) -> None:
    figure = drawing(noise=True, side=4)
    figure.savefig(published.parent / "plain.png", dpi=100)
    assert (published.parent / "plain.png").stat().st_size > LARGEST_FIGURE
    shown = kept.figure(figure, "noise", "Noise")
    path = published / "figures/rcam/noise.png"
    assert path.stat().st_size <= LARGEST_FIGURE and shown.data == path.read_bytes() and files(published) == ["figures/rcam/noise.png"]
    with Image.open(path) as image:
        assert image.mode == "P" and len(image.getcolors()) <= 256


def test_colours_go_down_no_further_than_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8))
    for limit, colours in ((10 ** 6, None), (15_000, 256), (9_000, 64)):
        path = tmp_path / f"{limit}.png"
        picture.save(path)
        monkeypatch.setattr(record, "LARGEST_FIGURE", limit)
        record._shrink(path)
        with Image.open(path) as image:
            assert (image.mode, path.stat().st_size <= limit) == ("RGB" if colours is None else "P", True)
            assert colours is None or colours / 2 < len(image.getcolors()) <= colours


def test_a_figure_that_cannot_be_drawn_leaves_nothing(published: Path, kept: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, **_more: object) -> None:
        path.write_bytes(b"PNG")
        raise RuntimeError("no fonts")
    figure = drawing()
    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(RuntimeError):
        kept.figure(figure, "broken", "Broken")
    assert files(published) == [] and kept.figures == []


def test_a_table_is_shown_as_the_report_shows_it(kept: Record) -> None:
    kept.add("table1", "pascal_s", "net", ROWS)
    shown = kept.table("table1", "pascal_s", "rcam", ["ods"]).data
    assert "<td>0.50 [0.40, 0.60]</td><td>0.566</td>" in shown and "OIS" not in shown.split("<table>")[1]
