"""A small dataset folder to damage, and what it is read by."""
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.data.dataset import Box, Dataset
from lib.data.writer import listing, writing
from lib.faults.case import Case, Outcome, judged, refused

GROUP = "datasets"

Damage = Callable[[Path], Any]   # what is done to a dataset folder


def made(folder: Path) -> Path:
    """A whole dataset folder of two images of 12x10 pixels."""
    scenes = folder / "scenes"
    with writing(scenes, "scenes", "1", "made for a fault", "none", ["cat", "dog"]) as writer:
        truth = np.zeros((10, 12), np.uint8)
        truth[2:6, 3:9] = 1
        for id, split in (("a", "train"), ("b", "test")):
            photo = Image.fromarray(np.uint8(np.stack([40 * truth + 9] * 3, 2)))
            photo.save(writer.path("images", f"{id}.png"))
            for kind in ("class_masks", "instance_masks", "saliency"):
                writer.mask(kind, id, truth)
            writer.sample(id, f"images/{id}.png", split, ["cat"], [Box("cat", 3, 2, 9, 6)])
    return scenes


def read(folder: Path) -> int:
    """Read all that a dataset folder holds; the number of its images."""
    dataset = Dataset(folder)
    for sample in dataset.samples:
        sample.photo()
        sample.foreground()
        for kind in ("class_masks", "instance_masks"):
            sample.mask(kind)
        assert dataset.boxes[sample.id]
    return len(dataset.samples)


def seal(folder: Path) -> None:
    """Let the manifest list what is there now."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"] = listing(folder)
    del manifest["files"]["manifest.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def case(name: str, damage: Damage, judge: Callable[..., Outcome] = refused, sealed: bool = True) -> Case:
    def run(folder: Path) -> Outcome:
        scenes = made(folder)
        damage(scenes)
        if sealed:
            seal(scenes)
        return judge(partial(read, scenes))
    return Case(GROUP, name, run)


def whole(action: Callable[[], int]) -> Outcome:
    """It does no harm: both images are read."""
    return judged(action, check=lambda images: images == 2)


def write(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)


def append(name: str, content: bytes, folder: Path) -> None:
    with open(folder / name, "ab") as stream:
        stream.write(content)
