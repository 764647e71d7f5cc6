"""What a notebook leaves behind: the contract's keys, whole or not at all; nothing published elsewhere."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lib.base.paths import ROOT
from lib.report import record
from lib.report.paper import Papers
from lib.report.record import LARGEST_FIGURE, OUTPUT, Record

ROWS = {"cam1": {"ods": {"mean": 0.5, "low": 0.4, "high": 0.6}}}
CONTRACT = {"notebook", "tier", "n_images", "seeds", "seconds", "device", "results", "comparisons", "timing",
            "counts", "figures", "provenance"}
DEVICE = "cuda (Made-up 1)"


@dataclass(frozen=True)
class Block:
    """Parameters of a method, of the bootstrap or of a notebook."""
    images: int


@dataclass(frozen=True)
class Tier:
    rcam: Block
    rcam_boxes: Block


@dataclass(frozen=True)
class Params:
    """As much of params.yaml as a record reads."""
    seed: int
    bootstrap: Block
    crf: Block
    tier: dict[str, Tier]


PARAMS = Params(seed=7, bootstrap=Block(1000), crf=Block(3), tier={"collage": Tier(Block(96), Block(16))})


def line() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def noise() -> Figure:
    figure = Figure(figsize=(4, 4))
    figure.subplots().imshow(np.random.default_rng(0).random((400, 400, 3)), interpolation="nearest")
    return figure


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def close(kept: Record, n_images: int = 1) -> Path:
    return kept.close(n_images, used=(), datasets={}, weights={})


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(OUTPUT, str(tmp_path / "out"))
    return tmp_path / "out"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setattr(record, "device_used", lambda: DEVICE)
    return Record.open("rcam", "collage", PARAMS)


def test_close_writes_the_contract(published: Path, kept: Record) -> None:
    kept.add("table1", "pascal_s", "net", ROWS, {"rcam - cam1": ROWS["cam1"]})
    kept.add("table1", "pascal_s", "other", ROWS)
    kept.add("table1", "ft", "net", ROWS, {})
    kept.counts["dropped"] = {"net": 2}
    kept.timing["net"] = {"all rows": 12.5}
    path = close(kept, 17)
    assert path == published / "metrics" / "rcam.json" and files(published) == ["metrics/rcam.json"]
    found = read(path)
    assert set(found) == CONTRACT
    assert 0 <= found.pop("seconds") < 60
    del found["provenance"]
    assert found == {"notebook": "rcam", "tier": "collage", "n_images": 17, "seeds": [7], "device": DEVICE,
                     "results": {"table1": {"pascal_s": {"net": ROWS, "other": ROWS}, "ft": {"net": ROWS}}},
                     "comparisons": {"table1": {"pascal_s": {"net": {"rcam - cam1": ROWS["cam1"]}}}},
                     "timing": {"net": {"all rows": 12.5}}, "counts": {"dropped": {"net": 2}}, "figures": []}


def test_the_seeds_of_several_networks_are_recorded_in_place_of_the_draws(published: Path) -> None:
    kept = Record.open("rcam", "collage", PARAMS, seeds=(0, 1, 2))
    assert read(close(kept))["seeds"] == [0, 1, 2]
    assert read(close(Record.open("rcam", "collage", PARAMS, seeds=())))["seeds"] == [7]


def test_provenance_names_what_was_used_and_nothing_else(published: Path, kept: Record) -> None:
    path = kept.close(1, used=("crf", "rcam_boxes"), datasets={"voc": "a" * 64}, weights={"net": "b" * 64})
    found = read(path)["provenance"]
    assert found["params"] == {"seed": 7, "bootstrap": {"images": 1000}, "tier": {"images": 96},
                               "crf": {"images": 3}, "rcam_boxes": {"images": 16}}
    assert (found["datasets"], found["weights"]) == ({"voc": "a" * 64}, {"net": "b" * 64})
    assert {"git", "packages"} < set(found)
    assert set(read(close(kept))["provenance"]["params"]) == {"seed", "bootstrap", "tier"}


def test_a_block_that_there_is_not_is_refused(published: Path, kept: Record) -> None:
    with pytest.raises(AttributeError, match="crff"):
        kept.close(1, used=("crff",), datasets={}, weights={})
    assert files(published) == []


def test_the_device_is_what_had_computed_when_the_notebook_ended(published: Path, kept: Record,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "device_used", lambda: "cpu (1 threads)")
    assert kept.device == read(close(kept))["device"] == "cpu (1 threads)"


def test_seconds_are_the_notebooks(published: Path, kept: Record) -> None:
    kept.start -= 100
    assert 100 <= read(close(kept))["seconds"] < 160


def test_close_writes_all_or_nothing(published: Path, kept: Record) -> None:
    before = close(kept).read_bytes()
    kept.add("table1", "pascal_s", "net", {"cam1": {"ods": {"mean": np.float32(0.5)}}})   # not JSON
    with pytest.raises(TypeError):
        close(kept, 2)
    assert files(published) == ["metrics/rcam.json"]
    assert (published / "metrics/rcam.json").read_bytes() == before


def test_an_interrupted_write_leaves_the_old_file(published: Path, kept: Record,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    before = close(kept).read_bytes()

    def half(self: Path, text: str, **_more: str) -> None:
        self.write_bytes(text[:10].encode())
        raise OSError("no space left")
    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="no space left"):
        close(kept, 2)
    assert files(published) == ["metrics/rcam.json"]
    assert (published / "metrics/rcam.json").read_bytes() == before


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_is_published_outside_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   kept: Record, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(OUTPUT, raising=False)
    else:
        monkeypatch.setenv(OUTPUT, value)
    assert kept.folder == ROOT / "build" / "interactive" / "collage"   # ignored by Git, read by no report
    monkeypatch.setattr(record, "BUILD", tmp_path / "build")
    monkeypatch.chdir(tmp_path)
    kept.figure(line(), "one", "A line")
    close(kept)
    folder = "build/interactive/collage"
    assert files(tmp_path) == [f"{folder}/figures/rcam/one.png", f"{folder}/metrics/rcam.json"]


def test_figures_are_kept_with_their_captions(published: Path, kept: Record) -> None:
    shown = kept.figure(line(), "line", "A line that falls")
    path = published / "figures/rcam/line.png"
    assert kept.figures == [{"file": "figures/rcam/line.png", "caption": "A line that falls"}]
    assert shown.data == path.read_bytes()
    with Image.open(path) as image:
        assert image.format == "PNG" and image.mode == "RGBA"   # untouched: small enough
        assert "Software" not in image.info
    again = path.read_bytes()
    kept.figure(line(), "line", "A line that falls")
    assert path.read_bytes() == again   # the same bytes from run to run


def test_large_figures_are_stored_with_few_colours(published: Path, kept: Record) -> None:
    figure = noise()
    figure.savefig(published.parent / "plain.png", dpi=100)
    assert (published.parent / "plain.png").stat().st_size > LARGEST_FIGURE
    shown = kept.figure(figure, "noise", "Noise")
    path = published / "figures/rcam/noise.png"
    assert path.stat().st_size <= LARGEST_FIGURE
    assert shown.data == path.read_bytes() and files(published) == ["figures/rcam/noise.png"]
    with Image.open(path) as image:
        assert image.mode == "P" and len(image.getcolors()) <= 256


@pytest.mark.parametrize("limit, colours", [(15_000, 256), (9_000, 64)])
def test_colours_go_down_no_further_than_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int,
                                                colours: int) -> None:
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    record._shrink(path)   # small enough as it is
    with Image.open(path) as image:
        assert image.mode == "RGB"
    monkeypatch.setattr(record, "LARGEST_FIGURE", limit)
    record._shrink(path)
    with Image.open(path) as image:
        assert image.mode == "P" and path.stat().st_size <= limit
        assert colours / 2 < len(image.getcolors()) <= colours


def test_a_figure_that_cannot_be_drawn_leaves_nothing(published: Path, kept: Record,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, **_more: object) -> None:
        path.write_bytes(b"PNG")
        raise RuntimeError("no fonts")
    figure = line()
    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(RuntimeError):
        kept.figure(figure, "broken", "Broken")
    assert files(published) == [] and kept.figures == []


def test_a_table_is_shown_as_the_report_shows_it(kept: Record, papers: Papers) -> None:
    kept.add("table1", "pascal_s", "net", ROWS)
    shown = kept.table("table1", "pascal_s", papers.by_key["rcam"], ["ods"]).data
    assert "<th>CAM₁</th><td>0.50 [0.40, 0.60]</td><td>0.566</td>" in shown
    assert "OIS" not in shown.split("<table>")[1]
    alone = kept.table("table1", "pascal_s", None).data
    assert "<th>cam1</th><td>0.50 [0.40, 0.60]</td></tr>" in alone
