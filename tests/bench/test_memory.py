"""Memory of `segment` does not grow with the number of photographs; what watches it would notice."""
import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from scenes import TinyNetwork

from lib import methods
from lib.__main__ import main
from lib.base.race import OURS
from lib.bench.memory import LARGEST_GROWTH, Moment, draw_into, entry, held_mb
from lib.papers.found import Found, Request, Segmenter
from lib.papers.rcam import tables
from lib.params import load_params
from lib.segment import command

SETTLED = 2   # batches, after which nothing may grow


class Watcher:
    """Counts tensors and pictures that are alive when everything has settled and at the end."""

    def __init__(self, maps_of: Segmenter, batches: int, keeps: bool) -> None:
        self.maps_of = maps_of
        self.looks = (SETTLED, batches - 1)
        self.keeps = keeps
        self.batches = 0
        self.kept: list[object] = []
        self.alive: list[int] = []

    def __call__(self, photos: Sequence[Image.Image]) -> Sequence[Found]:
        if self.batches in self.looks:
            gc.collect()
            kinds = [type(one) for one in gc.get_objects()]   # isinstance would wake what is imported lazily
            self.alive.append(sum(issubclass(kind, torch.Tensor | Image.Image) for kind in kinds))
        self.batches += 1
        found = self.maps_of(photos)
        if self.keeps:
            self.kept.append(found)
        return found

    @property
    def grew(self) -> int:
        """By how many objects, from when everything had settled to the end."""
        settled, last = self.alive
        return last - settled


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """RCAM by a tiny network at small sizes."""
    params = load_params()
    rcam = replace(params.rcam, sizes=(64, 96), crf=replace(params.rcam.crf, iterations=1))
    monkeypatch.setattr(methods, "load_params", lambda: replace(params, rcam=rcam))
    monkeypatch.setattr(tables, "open_network", lambda *_: TinyNetwork(seed=2).eval())


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], Watcher]:
    """`segment` over so many batches, seen through a watcher."""
    def watch(batches: int, keeps: bool) -> Watcher:
        watcher = Watcher(methods.segmenter(Request("rcam")), batches, keeps)
        monkeypatch.setattr(command, "segmenter", lambda request: watcher)
        return watcher
    return watch


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("photographs, keeps", [(60, False), (16, True)])
def test_segment_holds_no_more_at_the_end(photographs: int, keeps: bool, tmp_path: Path,
                                          watched: Callable[[int, bool], Watcher]) -> None:
    """And where a method keeps what it finds, the watcher sees it."""
    batches = photographs // command.USUAL_BATCH
    watcher = watched(batches, keeps)
    folder = draw_into(tmp_path / "photographs", photographs)
    assert main(["segment", "rcam", str(folder), "--out", str(tmp_path / "maps")]) == 0
    assert watcher.batches == batches
    if keeps:
        assert watcher.grew >= photographs - (SETTLED + 1) * command.USUAL_BATCH
    else:
        assert watcher.grew == 0


def moments(megabytes: Callable[[int], float]) -> list[Moment]:
    return [Moment(done, done / 10, megabytes(done)) for done in range(0, 1001, 4)]


def test_growth_is_from_span_to_span() -> None:
    """Up and down within a batch is no growth; a little more with every photograph is."""
    level = entry(moments(lambda done: 800 + done % 8), 1000, 50)
    assert level["growth"]["met"] and level["growth"]["times"] == 1
    assert level["ms"][OURS]["median"] == 100
    leak = entry(moments(lambda done: 800 + done / 10), 1000, 50)
    assert not leak["growth"]["met"] and leak["growth"]["times"] > LARGEST_GROWTH
    assert leak["curve"][-1] == [1000, 100.0, 900]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what others hold")
def test_what_a_process_holds_now() -> None:
    before = held_mb(os.getpid())
    ballast = b"x" * (100 << 20)
    assert held_mb(os.getpid()) - before == pytest.approx(len(ballast) / 2 ** 20, abs=10)
    assert held_mb(2 ** 22 + 1) == 0
