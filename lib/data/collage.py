"""Composed photographs with exact truth: cut-outs of known class pasted on backgrounds, every split from its own objects and places."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from lib.data.cutouts import CATEGORIES, SPLITS, Cutout, Material, fetch_material, load_material
from lib.data.dataset import Box
from lib.data.writer import DatasetWriter, writing
from lib.progress import progress

VERSION = "1"
SHAPES = ((320, 240), (240, 320), (288, 288), (320, 256), (256, 320))   # width, height
OBJECTS = (0.45, 0.25, 0.2, 0.1)   # how often 1, 2, 3, 4 objects
MAIN, OTHER = (0.38, 0.72), (0.22, 0.42)   # object size: square root of its box's share of the image's
LARGEST_ENLARGEMENT = 2.2   # of a cut-out's own pixels: beyond, it looks painted
LEAST_VISIBLE = 0.5   # of any object after occlusion
ALPHA_TRUTH = 128   # a pixel belongs to the object from half opacity on


@dataclass(frozen=True)
class Scene:
    """A composed image and its truth; instance k (1-based) is `objects[k - 1]`."""
    image: Image.Image
    instances: np.ndarray   # (H, W) uint8, 0 = background
    objects: list[Cutout]


def build_collage(folder: Path, cache: Path, seed: int, images: dict[str, int]) -> None:
    """Compose `images[split]` images for every split into a dataset folder; identical bytes for identical seed and packages."""
    share, versions = fetch_material(cache)
    source = "composed from " + ", ".join(f"{name} {version}" for name, version in versions.items()) + f"; seed {seed}"
    with writing(folder, "collage", VERSION, source, "GPL-2 and the wallpapers' CC licences (packages' copyright files)", list(CATEGORIES)) as writer:
        for number, split in enumerate(SPLITS):
            material = load_material(share, seed, split)
            for i in progress(range(images[split]), f"composing {split}"):
                scene = compose(material, np.random.default_rng([seed, number, i]))
                _store(writer, f"{split}_{i:04d}", split, scene)


def compose(material: Material, rng: np.random.Generator) -> Scene:
    """One scene; drawn again until every object stays visible enough."""
    while True:
        canvas = _background(material.backgrounds, SHAPES[rng.integers(len(SHAPES))], rng)
        instances = np.zeros((canvas.height, canvas.width), dtype=np.uint8)
        objects, areas = _cast(material, rng), []
        for k, cutout in reversed(list(enumerate(objects, start=1))):   # the main object last, in front
            pasted = _pose(cutout, canvas.size, MAIN if k == 1 else OTHER, rng)
            areas.append((k, _paste(canvas, instances, pasted, k, rng)))
        if all(np.count_nonzero(instances == k) >= max(LEAST_VISIBLE * area, 60) for k, area in areas):
            return Scene(canvas.filter(ImageFilter.GaussianBlur(0.35)), instances, objects)


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


def _pose(cutout: Cutout, canvas: tuple[int, int], sizes: tuple[float, float], rng: np.random.Generator) -> Image.Image:
    """Flip, tilt, scale and light a cut-out; its outline softened by a fraction of a pixel."""
    rgba = cutout.rgba.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cutout.rgba
    side = rng.uniform(*sizes) * np.sqrt(canvas[0] * canvas[1])
    scale = min(side / np.sqrt(rgba.width * rgba.height), LARGEST_ENLARGEMENT, 0.92 * canvas[0] / rgba.width, 0.92 * canvas[1] / rgba.height)
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
