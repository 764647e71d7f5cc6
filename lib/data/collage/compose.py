"""Composed photographs with exact truth: cut-outs of known class pasted on backgrounds, every split from its own objects and places."""
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.collage.cutouts import (
    CATEGORIES,
    SPLITS,
    STAMPS,
    Cutout,
    Material,
    fetch_material,
    load_material,
)
from lib.data.dataset import Box
from lib.data.writer import DatasetWriter, writing

VERSION = "1"
SHAPES = ((320, 240), (240, 320), (288, 288), (320, 256), (256, 320))   # width, height
OBJECTS = (0.45, 0.25, 0.2, 0.1)   # how often 1, 2, 3, 4 objects
MAIN, OTHER = (0.38, 0.72), (0.22, 0.42)   # object size: square root of its box's share of the image's
LARGEST_ENLARGEMENT = 2.2   # of a cut-out's own pixels: beyond, it looks painted
LEAST_VISIBLE = 0.5   # of any object after occlusion
SINGLE_SHARE = (0.15, 0.6)   # a lone object's visible box, of the image's area
# A lone object may look a little softer. Some fruit and vegetables are 32 to 60 pixels wide; there are seeds whose val or test split has
# only such ones of a category, and at 2.2 their boxes stay below 15 % of any image. At 2.7 each cut-out reaches that, at 3 with room to vary.
SINGLE_ENLARGEMENT = 3.0
SINGLE_ATTEMPTS = 1000   # nearly every first one fits; without a limit there would be no end if no cut-out of a category could
ALPHA_TRUTH = 128   # a pixel belongs to the object from half opacity on


@dataclass(frozen=True)
class Scene:
    """A composed image and its truth; instance k (1-based) is `objects[k - 1]`."""
    image: Image.Image
    instances: np.ndarray   # (H, W) uint8, 0 = background
    objects: list[Cutout]


def build_collage(folder: Path, cache: Path, seed: int, images: dict[str, int], single: bool = False) -> None:
    """Compose `images[split]` images for every split into a dataset folder, collage or collage_single (one object an image, classes
    balanced within a split); identical bytes for identical seed and packages."""
    share, versions = fetch_material(cache)
    source = "composed from " + ", ".join(f"{name} {version}" for name, version in versions.items()) + f"; seed {seed}"
    licence = "GPL-2 and the wallpapers' CC licences (packages' copyright files)"
    with writing(folder, "collage_single" if single else "collage", VERSION, source, licence, list(CATEGORIES)) as writer:
        for number, split in enumerate(SPLITS):
            scenes = (_lone_scenes if single else _scenes)(load_material(share, seed, split), [seed, number])
            for i in progress(range(images[split]), f"composing {split}"):
                _store(writer, f"{split}_{i:04d}", split, next(scenes))


def _scenes(material: Material, seed: list[int]) -> Iterator[Scene]:
    """Without end; scene i does not depend on how many are taken."""
    for i in itertools.count():
        yield compose(material, np.random.default_rng([*seed, i]))


def _lone_scenes(material: Material, seed: list[int]) -> Iterator[Scene]:
    """The same with one object each, of every category in turn; each round has its own order, or evenly spread subsets would miss some."""
    categories = list(material.cutouts)
    for i in itertools.count():
        turn, place = divmod(i, len(categories))
        category = categories[np.random.default_rng([*seed, turn, 2]).permutation(len(categories))[place]]
        yield compose_single(material, category, np.random.default_rng([*seed, i, 1]))   # 1, 2: other numbers than the collage draws


def compose(material: Material, rng: np.random.Generator) -> Scene:
    """One scene; drawn again until every object stays visible enough."""
    while True:
        canvas, instances = _empty(material, rng)
        objects, areas = _cast(material, rng), []
        for k, cutout in reversed(list(enumerate(objects, start=1))):   # the main object last, in front
            pasted = _pose(cutout, canvas.size, MAIN if k == 1 else OTHER, LARGEST_ENLARGEMENT, rng)
            areas.append((k, _paste(canvas, instances, pasted, k, rng)))
        if all(np.count_nonzero(instances == k) >= max(LEAST_VISIBLE * area, 60) for k, area in areas):
            return Scene(_photographed(canvas), instances, objects)


def compose_single(material: Material, category: str, rng: np.random.Generator) -> Scene:
    """One object of a category; object, place and size drawn again until its visible box has a share of the image within SINGLE_SHARE."""
    cutouts, (low, high) = material.cutouts[category], SINGLE_SHARE
    for _ in range(SINGLE_ATTEMPTS):
        canvas, instances = _empty(material, rng)
        cutout = cutouts[rng.integers(len(cutouts))]
        _paste(canvas, instances, _pose(cutout, canvas.size, (low ** 0.5, high ** 0.5), SINGLE_ENLARGEMENT, rng), 1, rng)
        if low <= _box_share(instances > 0) <= high:
            return Scene(_photographed(canvas), instances, [cutout])
    raise Problem(f'no cut-out of category "{category}" takes {low:.0%} to {high:.0%} of an image; the package {STAMPS} is not the expected one.')


def _empty(material: Material, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """A background of one of the shapes, and its instances: none yet."""
    canvas = _background(material.backgrounds, SHAPES[rng.integers(len(SHAPES))], rng)
    return canvas, np.zeros((canvas.height, canvas.width), dtype=np.uint8)


def _photographed(canvas: Image.Image) -> Image.Image:
    """As one photograph: object and background through the same lens."""
    return canvas.filter(ImageFilter.GaussianBlur(0.35))


def _cast(material: Material, rng: np.random.Generator) -> list[Cutout]:
    """The main object, then companions: half of them of its category."""
    categories = list(material.cutouts)
    main = categories[rng.integers(len(categories))]
    cast = []
    for k in range(1 + rng.choice(4, p=OBJECTS)):
        category = main if k == 0 or rng.random() < 0.5 else categories[rng.integers(len(categories))]
        cast.append(material.cutouts[category][rng.integers(len(material.cutouts[category]))])
    return cast


def _background(wallpapers: list[Image.Image], size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A random crop, mirrored half of the time, a little blurred as by a lens focused on the subject."""
    photo = wallpapers[rng.integers(len(wallpapers))]
    scale = rng.uniform(0.3, 0.95) * min(photo.width / size[0], photo.height / size[1])
    width, height = int(size[0] * scale), int(size[1] * scale)
    x, y = rng.integers(photo.width - width + 1), rng.integers(photo.height - height + 1)
    crop = photo.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + width, y + height))
    crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop
    return crop.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2)))


def _pose(cutout: Cutout, canvas: tuple[int, int], sizes: tuple[float, float], enlargement: float, rng: np.random.Generator) -> Image.Image:
    """Flip, tilt, scale and light a cut-out; its outline softened by a fraction of a pixel."""
    rgba = cutout.rgba.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cutout.rgba
    side = rng.uniform(*sizes) * np.sqrt(canvas[0] * canvas[1])
    scale = min(side / np.sqrt(rgba.width * rgba.height), enlargement, 0.92 * canvas[0] / rgba.width, 0.92 * canvas[1] / rgba.height)
    rgba = rgba.resize((max(4, round(rgba.width * scale)), max(4, round(rgba.height * scale))), Image.Resampling.BICUBIC)
    rgba = rgba.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    alpha = rgba.getchannel("A").filter(ImageFilter.GaussianBlur(0.6)).point(lambda a: max(0, (a - 56) * 255 // 199))   # trims halos
    rgb = ImageEnhance.Brightness(rgba.convert("RGB")).enhance(rng.uniform(0.8, 1.1))
    rgb.putalpha(alpha)
    return rgb


def _paste(canvas: Image.Image, instances: np.ndarray, rgba: Image.Image, k: int, rng: np.random.Generator) -> int:
    """Blend the object at a random place (up to a tenth outside) and claim its pixels; returns the area it has without occlusion."""
    x = int(rng.integers(-rgba.width // 10, max(canvas.width - rgba.width * 9 // 10, 1 - rgba.width // 10)))
    y = int(rng.integers(-rgba.height // 10, max(canvas.height - rgba.height * 9 // 10, 1 - rgba.height // 10)))
    layer = Image.new("L", canvas.size)
    layer.paste(rgba.getchannel("A"), (x, y))
    canvas.paste(rgba.convert("RGB"), (x, y), rgba.getchannel("A"))
    mine = np.asarray(layer) >= ALPHA_TRUTH
    instances[mine] = k
    return int(np.count_nonzero(np.asarray(rgba.getchannel("A")) >= ALPHA_TRUTH))


def _store(writer: DatasetWriter, id: str, split: str, scene: Scene) -> None:
    scene.image.save(writer.path("images", f"{id}.jpg"), quality=93)
    numbers = np.array([0] + [1 + list(CATEGORIES).index(o.category) for o in scene.objects], dtype=np.uint8)
    writer.mask("class_masks", id, numbers[scene.instances])
    writer.mask("instance_masks", id, scene.instances)
    writer.mask("saliency", id, np.where(scene.instances > 0, 255, 0))
    boxes = [_visible_box(scene.instances == k, o.category) for k, o in enumerate(scene.objects, start=1)]
    labels = sorted({o.category for o in scene.objects})
    writer.sample(id, f"images/{id}.jpg", split, labels, boxes, single_object=int(len(boxes) == 1), cutouts=" ".join(o.name for o in scene.objects))


def _visible_box(mask: np.ndarray, name: str) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(name, int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _box_share(mask: np.ndarray) -> float:
    """The visible box's share of the image's area; 0 if nothing is visible."""
    box = _visible_box(mask, "") if mask.any() else Box("", 0, 0, 0, 0)
    return (box.xmax - box.xmin) * (box.ymax - box.ymin) / mask.size
