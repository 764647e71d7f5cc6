"""The collage's raw material: no object and no place serves two splits."""
import os
import random
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.base.paths import DATA
from lib.base.problem import Problem
from lib.data.collage import cutouts
from lib.data.collage.cutouts import (
    CATEGORIES,
    DRAWN,
    SHARES,
    SPLITS,
    WALLPAPER_PACKAGES,
    WALLPAPERS,
    fetch_material,
    load_material,
)

SEED = 3


def stamp(path: Path, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", size, (200, 10, 10, 255)).save(path)


def stamps(share: Path, count: int, order: Callable[[list[str]], list[str]] = sorted) -> None:
    """`count` cut-outs a category in its first folder, written in the given order."""
    for folders, _ in CATEGORIES.values():
        for name in order([f"s{n:03d}" for n in range(count)]):
            stamp(share / "tuxpaint" / "stamps" / folders[0] / f"{name}.png")


def wallpapers(share: Path, size: tuple[int, int] = (40, 30)) -> None:
    for number, start in enumerate(start for starts in WALLPAPERS.values() for start in starts):
        path = share / (f"{start}contents/images/1.jpg" if start.endswith("/") else f"{start}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (number, 0, 0)).save(path, quality=100)


def members(share: Path, seed: int = SEED) -> dict[str, dict[str, list[str]]]:
    """Names of cut-outs by split and category."""
    found: dict[str, dict[str, list[str]]] = {}
    for split in SPLITS:
        found[split] = {}
        for category, listed in load_material(share, seed, split).cutouts.items():
            found[split][category] = [cutout.name for cutout in listed]
    return found


@pytest.mark.parametrize("count", [4, 7, 11, 40])
def test_splits_are_disjoint_and_complete(tmp_path: Path, count: int) -> None:
    stamps(tmp_path, count)
    wallpapers(tmp_path)
    found = members(tmp_path)
    ends = [round(sum(SHARES[:n + 1]) * count) for n in range(3)]
    for category in CATEGORIES:
        parts = [found[split][category] for split in SPLITS]
        every = [name for part in parts for name in part]
        assert sorted(every) == [f"s{n:03d}" for n in range(count)]   # every one once
        assert [len(p) for p in parts] == [ends[0], ends[1] - ends[0], ends[2] - ends[1]]
        assert parts == [sorted(p) for p in parts]
    assert ends[2] == count


def test_the_assignment_depends_on_seed_and_names_alone(tmp_path: Path) -> None:
    def shuffled(names: list[str]) -> list[str]:
        return random.Random(1).sample(names, len(names))

    def backwards(names: list[str]) -> list[str]:
        return sorted(names, reverse=True)

    # where the project lies is no reason to leave anything out
    for folder, order in {"a": sorted, "b": shuffled, "toys/symbols/cartoon": backwards}.items():
        stamps(tmp_path / folder, 9, order)
        wallpapers(tmp_path / folder)
    expected = members(tmp_path / "a")
    assert members(tmp_path / "b") == expected
    assert members(tmp_path / "toys/symbols/cartoon") == expected
    assert members(tmp_path / "a", SEED + 1) != expected


def test_categories_are_shuffled_on_their_own(tmp_path: Path) -> None:
    stamps(tmp_path, 9)
    wallpapers(tmp_path)
    before = members(tmp_path)
    folders = CATEGORIES["fish"][0]
    stamp(tmp_path / "tuxpaint" / "stamps" / folders[0] / "another.png")
    after = members(tmp_path)
    for category in CATEGORIES:
        changed = any(before[split][category] != after[split][category] for split in SPLITS)
        assert changed == (category == "fish")


def test_what_is_left_out(tmp_path: Path) -> None:
    stamps(tmp_path, 9)
    wallpapers(tmp_path)
    base = tmp_path / "tuxpaint" / "stamps"
    expected = members(tmp_path)
    for folders, left_out in CATEGORIES.values():
        for name in left_out:
            stamp(base / folders[0] / f"{name}.png")
        for folder in DRAWN:
            stamp(base / folders[0] / folder / "drawn.png")
        (base / folders[0] / "s000.txt").write_text("a description")
    assert members(tmp_path) == expected


def test_a_category_may_be_a_single_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutouts, "CATEGORIES", {"otter": (("aquatic/otter", "aquatic/more"), ())})
    wallpapers(tmp_path)
    base = tmp_path / "tuxpaint" / "stamps" / "aquatic"
    for name in ("otter", "more/one", "more/two", "more/deep/three"):
        stamp(base / f"{name}.png")
    found = [o.name for split in SPLITS for o in load_material(tmp_path, SEED, split).cutouts["otter"]]
    assert sorted(found) == ["one", "otter", "three", "two"]


def test_cut_outs_are_trimmed_to_what_is_solid(tmp_path: Path) -> None:
    stamps(tmp_path, 9)
    wallpapers(tmp_path)
    pixels = np.zeros((20, 30, 4), dtype=np.uint8)
    pixels[2:18, 3:25] = [9, 9, 9, 127]   # a shadow
    pixels[5:12, 7:20] = [9, 9, 9, 128]
    folder = tmp_path / "tuxpaint" / "stamps" / CATEGORIES["bird"][0][0]
    for n in range(9):
        Image.fromarray(pixels).save(folder / f"s{n:03d}.png")
    bird = load_material(tmp_path, SEED, "train").cutouts["bird"][0]
    assert bird.rgba.mode == "RGBA" and bird.rgba.size == (13, 7) and bird.category == "bird"


def test_wallpapers_are_scaled_down_only(tmp_path: Path) -> None:
    stamps(tmp_path, 9)
    wallpapers(tmp_path, (3000, 2160))
    path = tmp_path / WALLPAPERS["train"][0] / "contents" / "images" / "1.jpg"
    Image.new("RGB", (900, 700)).save(path)
    sizes = [photo.size for photo in load_material(tmp_path, SEED, "train").backgrounds]
    assert sizes == [(900, 700)] + [(1500, 1080)] * (len(WALLPAPERS["train"]) - 1)


def test_the_largest_version_of_a_wallpaper_is_taken(tmp_path: Path) -> None:
    stamps(tmp_path, 9)
    wallpapers(tmp_path)
    folder = tmp_path / WALLPAPERS["val"][0] / "contents" / "images"
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "0.jpg", quality=100)
    Image.new("RGB", (10, 10)).save(folder / "2.jpg")
    assert load_material(tmp_path, SEED, "val").backgrounds[0].size == (60, 50)


def test_a_package_without_a_category_is_a_problem(tmp_path: Path) -> None:
    stamps(tmp_path, 2)   # the rounded shares of two leave nothing for one split
    wallpapers(tmp_path)
    words = ('no cut-out of category "bird" for split (train|val|test); '
             "the package tuxpaint-stamps-default")
    with pytest.raises(Problem, match=words):
        members(tmp_path)


def test_too_few_wallpapers_are_a_problem(tmp_path: Path) -> None:
    stamps(tmp_path, 9)
    words = f"only 0 wallpapers for split train, at least 3 are needed; install {WALLPAPER_PACKAGES[0]}"
    with pytest.raises(Problem, match=words):
        load_material(tmp_path, SEED, "train")


def test_no_wallpaper_serves_two_splits() -> None:
    assert set(WALLPAPERS) == set(SPLITS)
    starts = [(split, start) for split, listed in WALLPAPERS.items() for start in listed]
    for (one, first), (other, second) in combinations(starts, 2):
        overlap = first.startswith(second) or second.startswith(first)
        assert not overlap, f"{one} {first} and {other} {second}"
    assert all(len(listed) >= 3 for listed in WALLPAPERS.values())


def test_no_folder_serves_two_categories() -> None:
    folders = [folder for listed, _ in CATEGORIES.values() for folder in listed]
    for first, second in combinations(folders, 2):
        assert not f"{first}/".startswith(f"{second}/") and not f"{second}/".startswith(f"{first}/")
    assert not any(" " in category for category in CATEGORIES)


def test_packages_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[str] = []

    def fetch(name: str, cache: Path) -> Path:
        deb = cache / f"{name}.deb"
        if not deb.exists():
            deb.write_text(name)
        return deb

    def unpack(deb: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
        assert folder == tmp_path / "share"
        folder.mkdir(exist_ok=True)
        unpacked.append(deb.stem)

    monkeypatch.setattr(cutouts, "fetch_package", fetch)
    monkeypatch.setattr(cutouts, "unpack", unpack)
    monkeypatch.setattr(cutouts, "package_version", lambda deb: f"{deb.stem} 1")
    names = ["tuxpaint-stamps-default", *WALLPAPER_PACKAGES]
    for _ in range(2):
        share, versions = fetch_material(tmp_path)
        assert share == tmp_path / "share" / "usr" / "share"
        assert versions == {name: f"{name} 1" for name in names}
    assert unpacked == names
    (tmp_path / f"{names[1]}.deb").unlink()   # another version arrives
    fetch_material(tmp_path)
    assert unpacked == [*names, names[1]]
    next_year = time.time() + 365 * 24 * 3600   # of a clock that was wrong when the package was copied
    os.utime(tmp_path / f"{names[2]}.deb", (next_year, next_year))
    for _ in range(2):
        fetch_material(tmp_path)
    assert unpacked == [*names, names[1], names[2]]


@pytest.mark.parametrize("path, wanted", [
    ("usr/share/tuxpaint/stamps/animals/birds/owl.png", True),
    ("usr/share/tuxpaint/stamps/animals/birds/owl.txt", False),
    ("usr/share/tuxpaint/stamps/animals/cartoon/owl.png", False),
    ("usr/share/wallpapers/Path/contents/images/1.jpg", True),
    ("usr/share/backgrounds/mate/nature/Dune.JPG", True), ("usr/share/doc/picture.png", False)])
def test_pictures_are_unpacked_and_nothing_else(path: str, wanted: bool) -> None:
    assert cutouts._is_picture(path) is wanted


def test_the_real_packages_hold_what_is_expected() -> None:
    unpacked = DATA / ".packages" / "share"
    packages = ("tuxpaint-stamps-default", *WALLPAPER_PACKAGES)
    if not all((unpacked / f".{name}").exists() for name in packages):
        pytest.skip("the packages are not unpacked yet (make repro does)")
    share = unpacked / "usr" / "share"
    stamps: list[Path] = []
    papers: list[Path] = []
    for split in SPLITS:
        for category in CATEGORIES:
            own = cutouts._members(share, category, 0, split)
            assert own, (split, category)
            stamps += own
        for start in WALLPAPERS[split]:
            largest = cutouts._largest(share, start)
            assert largest, start
            papers.append(largest)
    assert len(stamps) == len(set(stamps)) and len(papers) == len(set(papers))
