"""Names that files of others bring along: plain ones, paths that stay inside, and links that do not."""
from pathlib import Path

import pytest

from lib.base.names import LONGEST, Inside, is_inside, is_plain


@pytest.mark.parametrize("name", ["a", "2007_000027", "a b", "ä", "a.b", "x" * LONGEST, "n02084071-dog"])
def test_plain_names(name: str) -> None:
    assert is_plain(name)


@pytest.mark.parametrize("name", [
    "", " ", " a", "a ", ".", "..", ".a", "a/b", "/a", "a\\b", "a\0", "a\n", "\u202ea", "\ud800", None, 3,
    "x" * (LONGEST + 1), "ä" * (LONGEST // 2 + 1)])
def test_names_that_are_not_plain(name: object) -> None:
    assert not is_plain(name)


@pytest.mark.parametrize("path", ["a", "a/b", "images/a b.png", "./a", ".hidden", "a/..b"])
def test_paths_inside(path: str) -> None:
    assert is_inside(path)


@pytest.mark.parametrize("path", [
    "", ".", "..", "/", "/a", "//a", "a/", "a/..", "../a", "a/../../b", "a\0", "a\n", None, 3])
def test_paths_that_lead_out(path: object) -> None:
    assert not is_inside(path)


def test_links_that_lead_out(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (tmp_path / "data2").mkdir()   # whose name begins as the folder's does
    for place in (folder / "images" / "a", tmp_path / "data2" / "b"):
        place.write_text("x")
    (folder / "out").symlink_to(tmp_path / "data2")
    (folder / "images" / "out").symlink_to(tmp_path / "data2" / "b")
    (folder / "images" / "in").symlink_to("a")
    (tmp_path / "link").symlink_to(folder)
    for top in (folder, tmp_path / "link"):
        inside = Inside(top)
        assert not any(inside.leads_out(path) for path in ("images/a", "images/in", "nowhere"))
        assert all(inside.leads_out(path) for path in ("out/b", "out", "images/out"))
