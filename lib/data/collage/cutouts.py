"""The collage's raw material: photographic cut-outs and wallpapers, each set aside for one split."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base.problem import Problem
from lib.data.collage.debian import fetch_package, package_version, unpack
from lib.data.images import open_image, read_rgb

STAMPS = "tuxpaint-stamps-default"
SPLITS: tuple[str, ...] = ("train", "val", "test")
SHARES: tuple[float, ...] = (0.55, 0.2, 0.25)   # of each category's cut-outs

# category: (folders below the stamps, stems left out).
# Left out: drawings, mirrored copies, parts, things cut with their ground.
CATEGORIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bird": (("animals/birds",), ("albino_peahen",)),
    "carnivore": (("animals/mammals/cats", "animals/mammals/dogs", "animals/mammals/bears",
                   "animals/mammals/ferret", "animals/mammals/badger"), ("tiger_sumatran",)),
    "fish": (("animals/fish",), ("lobster", "shrimp")),
    "flower": (("plants/flowers",), ("flower7",)),
    "fruit": (("food/fruit",), ()),
    "hoofed": (("animals/mammals/bovines", "animals/mammals/deer", "animals/mammals/equines",
                "animals/mammals/camel", "animals/mammals/giraffe"), ("indian_blackbuck",)),
    "insect": (("animals/insects",), ("bee", "Brown_slug", "Woodlouse")),
    "instrument": (("hobbies/music",), ("bassoon",)),
    "small_mammal": (("animals/mammals/rodents", "animals/marsupials", "animals/mammals/aquatic/otter",
                      "animals/mammals/rabbit_little"), ()),
    "tool": (("household/tools",), ("cementmixer", "measuring_tape_mirror", "spade")),
    "vegetable": (("food/vegetables",), ()),
    "vehicle": (("vehicles",), ("7spoke256", "wheel_tractor", "dumper_mirror", "sedan_police",
                                "sedan_police_mirror", "balloon360")),
}
DRAWN: tuple[str, ...] = ("cartoon", "toys", "plastic", "symbols")   # folders of drawings

# split: photographs without a subject of their own, by the beginning of their path below share/
WALLPAPERS: dict[str, tuple[str, ...]] = {
    "train": ("wallpapers/BytheWater/", "wallpapers/FallenLeaf/", "wallpapers/Path/",
              "backgrounds/mate/nature/Blinds", "backgrounds/mate/nature/GreenMeadow",
              "backgrounds/mate/nature/Storm", "backgrounds/aitzgorri", "backgrounds/sunset"),
    "val": ("wallpapers/OneStandsOut/", "wallpapers/summer_1am/", "backgrounds/mate/nature/Wood",
            "backgrounds/Bridge"),
    "test": ("wallpapers/ColdRipple/", "wallpapers/DarkestHour/", "backgrounds/mate/nature/Dune",
             "backgrounds/mate/nature/RainDrops", "backgrounds/life", "backgrounds/picosdeeuropa",
             "backgrounds/Dragonfly"),
}
WALLPAPER_PACKAGES: tuple[str, ...] = (
    "plasma-workspace-wallpapers", "mate-backgrounds", "lomiri-wallpapers-16.04")
LEAST_WALLPAPERS = 3   # of a split


@dataclass(frozen=True)
class Cutout:
    """A photographed object: RGBA trimmed to its silhouette."""
    name: str
    category: str
    rgba: Image.Image


@dataclass(frozen=True)
class Material:
    """Cut-outs and backgrounds of one split, in a fixed order."""
    cutouts: dict[str, list[Cutout]]   # by category
    backgrounds: list[Image.Image]


def fetch_material(cache: Path) -> tuple[Path, dict[str, str]]:
    """Unpack the packages below `cache` (once); returns the folder of their pictures, and their versions."""
    packages = {name: fetch_package(name, cache) for name in (STAMPS, *WALLPAPER_PACKAGES)}
    share = cache / "share"
    for name, deb in packages.items():
        done = share / f".{name}"
        facts = f"{deb.stat().st_size} {deb.stat().st_mtime_ns}"
        if not done.is_file() or done.read_text(encoding="utf-8") != facts:
            unpack(deb, share, _is_picture)
            done.write_text(facts, encoding="utf-8")
    return share / "usr" / "share", {name: package_version(deb) for name, deb in packages.items()}


def load_material(share: Path, seed: int, split: str) -> Material:
    """Decode what one split may use; the assignment depends on the seed and the names alone."""
    cutouts: dict[str, list[Cutout]] = {}
    for category in CATEGORIES:
        cutouts[category] = [_cutout(path, category) for path in _members(share, category, seed, split)]
    empty = [category for category, members in cutouts.items() if not members]
    if empty:
        raise Problem(f'{share}: no cut-out of category "{empty[0]}" for split {split}; '
                      f"the package {STAMPS} is not the expected one.")
    largest = [_largest(share, start) for start in WALLPAPERS[split]]
    backgrounds = [_wallpaper(path) for path in largest if path]
    if len(backgrounds) < LEAST_WALLPAPERS:
        raise Problem(f"{share}: only {len(backgrounds)} wallpapers for split {split}, "
                      f"at least {LEAST_WALLPAPERS} are needed; install {', '.join(WALLPAPER_PACKAGES)}.")
    return Material(cutouts, backgrounds)


def _is_picture(path: str) -> bool:
    is_stamp = path.startswith("usr/share/tuxpaint/stamps/")
    is_wallpaper = "/wallpapers/" in path or "/backgrounds/" in path
    is_drawn = "/cartoon/" in path
    return (is_stamp or is_wallpaper) and not is_drawn and path.lower().endswith((".png", ".jpg"))


def _members(share: Path, category: str, seed: int, split: str) -> list[Path]:
    """Files of one category's cut-outs that a split may use, sorted."""
    paths = sorted(_photographs(share / "tuxpaint" / "stamps", category))
    order = np.random.default_rng([seed, list(CATEGORIES).index(category)]).permutation(len(paths))
    ends = [0, *np.round(np.cumsum(SHARES) * len(paths)).astype(int)]
    number = SPLITS.index(split)
    return [paths[i] for i in sorted(order[ends[number]:ends[number + 1]])]


def _photographs(stamps: Path, category: str) -> list[Path]:
    """Files of all cut-outs of a category, which names folders, and single files without their ending."""
    folders, left_out = CATEGORIES[category]
    paths: list[Path] = []
    for folder in folders:
        if (stamps / folder).is_dir():
            paths += (stamps / folder).rglob("*.png")
        else:
            paths.append(stamps / f"{folder}.png")
    photographs = []
    for path in paths:
        is_drawn = set(DRAWN) & set(path.relative_to(stamps).parts)
        if path.is_file() and path.stem not in left_out and not is_drawn:
            photographs.append(path)
    return photographs


def _cutout(path: Path, category: str) -> Cutout:
    rgba = open_image(path).convert("RGBA")
    solid = rgba.getchannel("A").point(lambda a: 255 * (a >= 128))
    return Cutout(path.stem, category, rgba.crop(solid.getbbox() or (0, 0, *rgba.size)))


def _largest(share: Path, start: str) -> Path | None:
    """Largest file among the versions of a wallpaper, whose paths begin with `start`."""
    parent, _, name = start.rpartition("/")
    if name:
        versions = (share / parent).glob(f"{name}*")
    else:
        versions = (share / parent / "contents" / "images").glob("*.jpg")
    files = [path for path in versions if path.is_file()]
    return max(files, key=lambda path: (path.stat().st_size, path.name), default=None)


def _wallpaper(path: Path) -> Image.Image:
    photo = read_rgb(path)
    scale = 1080 / min(photo.size)   # enough for any crop, and quick to cut
    if scale >= 1:
        return photo
    size = (round(photo.width * scale), round(photo.height * scale))
    return photo.resize(size, Image.Resampling.BICUBIC)
