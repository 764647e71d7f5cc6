"""What the importers share."""
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Box
from lib.data.official.common import Layout, half_open, link, read_table, read_truth, set_aside, without_exif


def test_one_in_ten_is_set_aside_whatever_else_there_is() -> None:
    ids = [f"2008_{n:06d}" for n in range(3000)]
    chosen = [id for id in ids if set_aside(id)]
    assert 250 < len(chosen) < 350   # 300 expected, standard deviation 16
    numbers = {id: int.from_bytes(hashlib.sha256(id.encode()).digest(), "big") for id in ids}
    assert chosen == [id for id in ids if str(numbers[id]).endswith("0")]


@pytest.mark.parametrize("edges, expected", [
    ((0, 0, 10, 5), Box("a", 0, 0, 10, 5)), ((-3, -1, 4, 99), Box("a", 0, 0, 4, 5)),
    ((1.4, 1.5, 2.5, 3.49), Box("a", 1, 2, 3, 3)),
    ((10, 0, 12, 5), None), ((4, 2, 4, 3), None), ((6, 2, 4, 3), None), ((1, 1.5, 3, 2.4), None)])
def test_half_open(edges: tuple, expected: Box | None) -> None:
    assert half_open("a", edges, (10, 5)) == expected


def test_without_exif_keeps_everything_else(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    pixels = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8))
    pixels.save(tmp_path / "turned.jpg", exif=exif, comment=b"kept", icc_profile=b"also kept")
    pixels.save(tmp_path / "plain.jpg", comment=b"kept", icc_profile=b"also kept")
    assert without_exif((tmp_path / "turned.jpg").read_bytes()) == (tmp_path / "plain.jpg").read_bytes()
    assert without_exif((tmp_path / "plain.jpg").read_bytes()) == (tmp_path / "plain.jpg").read_bytes()
    assert without_exif(b"\x89PNG") == b"\x89PNG"
    assert without_exif(b"\xff\xd8\xff\xe1") == b"\xff\xd8"   # cut short: ends, does not hang


def test_link_falls_back_to_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("content")

    def refuse(*_: object) -> None:
        raise OSError("another disk")
    monkeypatch.setattr(os, "link", refuse)
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "b").stat().st_ino
    with pytest.raises(Problem, match="another image of this dataset has the same name"):
        link(tmp_path / "a", tmp_path / "b")


def test_read_truth_without_size_or_objects(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation><filename>a</filename></annotation>")
    assert read_truth(tmp_path / "a.xml") == (None, [])
    (tmp_path / "b.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    with pytest.raises(Problem, match="b.xml: damaged annotation"):
        read_truth(tmp_path / "b.xml")


def test_read_table_names_the_entry(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("1 a\r\n\n2 b\n3\n")
    assert read_table(tmp_path / "t.txt") == [["1", "a"], ["2", "b"], ["3"]]
    with pytest.raises(Problem, match="t.txt: entry 3 has 1 words, expected 2"):
        read_table(tmp_path / "t.txt", 2)
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(Problem, match="it is not text"):
        read_table(tmp_path / "t.txt")


def test_a_layout_is_found_at_the_first_top_that_has_all(tmp_path: Path) -> None:
    layout = Layout("two files", ("", "inner"), ("a", "b"))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").touch()
    with pytest.raises(Problem, match="inner: lacks b; expected two files."):
        layout.find(tmp_path)
    (tmp_path / "inner" / "b").touch()
    assert layout.find(tmp_path) == tmp_path / "inner"
