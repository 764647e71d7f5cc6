"""Composed images: every kind of truth agrees with what was pasted; the same seed gives the same bytes."""
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lib.base.problem import Problem
from lib.data.collage import compose as collage
from lib.data.collage.compose import (
    LEAST_VISIBLE,
    SHAPES,
    SINGLE_SHARE,
    Scene,
    build_collage,
    compose,
    compose_single,
)
from lib.data.collage.cutouts import CATEGORIES, SPLITS, Cutout, Material
from lib.data.dataset import Dataset, Sample, subset

NAMES = list(CATEGORIES)
COLOURS = {"bird": (255, 0, 0), "fish": (0, 255, 0), "tool": (0, 0, 255)}


def shape(colour: tuple[int, int, int], size: tuple[int, int], kind: str) -> Image.Image:
    """A figure that fills its canvas, of one colour."""
    image = Image.new("RGBA", size)
    draw = ImageDraw.Draw(image)
    getattr(draw, kind)((0, 0, size[0] - 1, size[1] - 1), fill=(*colour, 255))
    return image


def material() -> Material:
    sizes = {"bird": (90, 60), "fish": (70, 100), "tool": (200, 30)}
    cutouts: dict[str, list[Cutout]] = {}
    for name, size in sizes.items():
        for kind in ("ellipse", "rectangle"):
            figure = shape(COLOURS[name], size, kind)
            cutouts.setdefault(name, []).append(Cutout(f"{name}_{kind}", name, figure))
    return Material(cutouts, [Image.new("RGB", size, (128, 128, 128)) for size in ((500, 400), (400, 600))])


def only(category: str, *cutouts: tuple[str, Image.Image]) -> Material:
    """Material of one category, on the usual backgrounds; cut-outs are (name, picture)."""
    made = [Cutout(name, category, picture) for name, picture in cutouts]
    return Material({category: made}, material().backgrounds)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [compose(material(), np.random.default_rng([7, i])) for i in range(40)]


def test_scenes_have_the_stated_shapes_and_numbers(scenes: list[Scene]) -> None:
    sizes = {scene.image.size for scene in scenes}
    assert sizes <= set(SHAPES) and len(sizes) > 2
    counts = [len(scene.objects) for scene in scenes]
    assert {1, 2, 3} <= set(counts) <= {1, 2, 3, 4} and counts.count(1) > counts.count(3)
    for scene in scenes:
        assert scene.image.mode == "RGB" and scene.instances.dtype == np.uint8
        assert scene.instances.shape == scene.image.size[::-1]


def test_every_object_is_visible(scenes: list[Scene]) -> None:
    for scene in scenes:
        # each has pixels, and no pixel has another number
        assert set(np.unique(scene.instances)) == set(range(len(scene.objects) + 1))
        assert all(np.count_nonzero(scene.instances == k) >= 60 for k in range(1, len(scene.objects) + 1))


def test_no_object_is_hidden_by_more_than_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Areas before occlusion are noted as objects are pasted; those of scenes drawn again do not count."""
    pasted: list[tuple[int, int]] = []
    original = collage._paste

    def noting(canvas: Image.Image, instances: np.ndarray, rgba: Image.Image, k: int,
               rng: np.random.Generator) -> int:
        if not instances.any():
            pasted.clear()
        original(canvas, instances, rgba, k, rng)
        area = int((np.asarray(rgba.getchannel("A")) >= 128).sum())
        pasted.append((k, area))
        return area

    monkeypatch.setattr(collage, "_paste", noting)
    occluded = 0
    for i in range(25):
        scene = compose(material(), np.random.default_rng([8, i]))
        assert sorted(k for k, _ in pasted) == list(range(1, len(scene.objects) + 1))
        assert pasted[-1][0] == 1   # the main object last
        for k, area in pasted:
            seen = np.count_nonzero(scene.instances == k)
            assert LEAST_VISIBLE * area <= seen <= area
            occluded += seen < area
    assert occluded > 5   # otherwise nothing was tested


def test_colours_agree_with_the_instances(scenes: list[Scene]) -> None:
    """Inside an object, away from its outline, its own colour is seen; outside, the background's grey."""
    for scene in scenes:
        pixels = np.asarray(scene.image).astype(int)
        for k, cutout in enumerate([None, *scene.objects]):
            inside = eroded(scene.instances == k, 4)
            seen = pixels[inside]
            if cutout is None:
                assert np.abs(seen - 128).max(initial=0) <= 2
            else:
                channel = COLOURS[cutout.category].index(255)
                assert (seen[:, channel] >= 180).all() and (np.delete(seen, channel, 1) <= 40).all()


def eroded(mask: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        padded = np.pad(mask, 1, constant_values=True)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def test_objects_keep_their_size_limits() -> None:
    """Square root of the box's share of the image's; tilting widens a box, and enlargement is limited."""
    small = only("bird", ("dot", shape((255, 0, 0), (10, 10), "rectangle")))
    for i in range(10):
        scene = compose(small, np.random.default_rng([9, i]))
        areas = [np.count_nonzero(scene.instances == k) for k in range(1, len(scene.objects) + 1)]
        assert max(areas) <= 24 * 24   # 10 pixels enlarged by 2.2, and a softened outline
    large = only("bird", ("wall", shape((255, 0, 0), (2000, 1900), "rectangle")))
    for i in range(10):
        scene = compose(large, np.random.default_rng([10, i]))
        share = np.sqrt(np.count_nonzero(scene.instances == 1) / scene.instances.size)
        assert 0.38 * np.sqrt(0.5) <= share <= 0.74


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are built from hand-made material that differs between splits."""
    cutouts = material().cutouts

    def load(share: Path, seed: int, split: str) -> Material:
        assert share == Path("share")
        own = {}
        for category, listed in cutouts.items():
            own[category] = [Cutout(f"{split}_{cutout.name}", category, cutout.rgba) for cutout in listed]
        return Material(own, [Image.new("RGB", (600, 600), (60 + 60 * SPLITS.index(split),) * 3)])

    versions = {"stamps": "1.0", "papers": "2"}
    monkeypatch.setattr(collage, "fetch_material", lambda cache: (Path("share"), versions))
    monkeypatch.setattr(collage, "load_material", load)


@pytest.fixture
def built(by_hand: None, tmp_path: Path) -> Path:
    """Two data sets of one seed and one of another."""
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        build_collage(tmp_path / name, tmp_path / "cache", seed, {"train": 5, "val": 3, "test": 4})
    return tmp_path


def test_the_same_seed_gives_the_same_bytes(built: Path) -> None:
    first, second, other = (Dataset(built / name) for name in ("first", "second", "other"))
    assert first.hash == second.hash and first.manifest["files"] == second.manifest["files"]
    images = [name for name in first.manifest["files"] if name.startswith("images/")]
    assert len(images) == 12
    assert not any(first.manifest["files"][name] == other.manifest["files"][name] for name in images)
    assert first.manifest["source"] == "composed from stamps 1.0, papers 2; seed 0"
    assert first.classes == NAMES


def test_images_do_not_depend_on_how_many_there_are(built: Path) -> None:
    build_collage(built / "fewer", built / "cache", 0, {"train": 2, "val": 1, "test": 3})
    first, fewer = Dataset(built / "first").manifest["files"], Dataset(built / "fewer").manifest["files"]
    same = [name for name in fewer if "/" in name]
    assert len(same) == 4 * 6 and all(fewer[name] == first[name] for name in same)


def test_every_kind_of_truth_agrees(built: Path) -> None:
    dataset = Dataset(built / "first")
    assert [len(dataset.split(split)) for split in SPLITS] == [5, 3, 4]
    for sample in dataset.samples:
        instances = sample.mask("instance_masks")
        classes, saliency = sample.mask("class_masks"), sample.mask("saliency")
        boxes = dataset.boxes[sample.id]
        assert np.array_equal(saliency, np.where(instances > 0, 255, 0))
        assert set(np.unique(instances)) == set(range(len(boxes) + 1))
        for k, box in enumerate(boxes, start=1):
            inside = instances == k
            assert np.unique(classes[inside]).tolist() == [1 + NAMES.index(box.name)]
            rows, columns = np.nonzero(inside)
            assert (box.xmin, box.ymin) == (columns.min(), rows.min())
            assert (box.xmax, box.ymax) == (columns.max() + 1, rows.max() + 1)
        assert (classes[instances == 0] == 0).all()
        assert sample.labels == tuple(sorted({box.name for box in boxes}))
        assert sample.extra["single_object"] == str(int(len(boxes) == 1))
        assert len(sample.extra["cutouts"].split()) == len(boxes)
        assert np.array_equal(sample.foreground()[0], instances > 0) and sample.foreground()[1].all()
        assert sample.photo().size == instances.shape[::-1]


def test_splits_use_their_own_material(built: Path) -> None:
    for sample in Dataset(built / "first").samples:
        assert all(name.startswith(f"{sample.split}_") for name in sample.extra["cutouts"].split())
        background = np.asarray(sample.photo())[eroded(sample.mask("instance_masks") == 0, 5)].astype(int)
        assert np.abs(background - (60 + 60 * SPLITS.index(sample.split))).max() <= 20   # JPEG


def test_nothing_is_left_when_composing_stops(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(built.iterdir())
    original, count = collage.compose, iter(range(100))

    def stopping(*args: object) -> Scene:
        if next(count) == 4:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(collage, "compose", stopping)
    with pytest.raises(KeyboardInterrupt):
        build_collage(built / "stopped", built / "cache", 0, {"train": 5, "val": 3, "test": 4})
    def lacking(*args: object) -> Material:
        raise Problem("no material")

    monkeypatch.setattr(collage, "load_material", lacking)
    with pytest.raises(Problem):
        build_collage(built / "first", built / "cache", 0, {"train": 5, "val": 3, "test": 4})
    assert sorted(built.iterdir()) == before and len(Dataset(built / "first").samples) == 12


# collage_single


@pytest.fixture
def singles(by_hand: None, tmp_path: Path) -> Path:
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        numbers = {"train": 14, "val": 6, "test": 4}
        build_collage(tmp_path / name, tmp_path / "cache", seed, numbers, single=True)
    return tmp_path


def category(sample: Sample) -> str:
    (label,) = sample.labels
    return label


def test_a_lone_object_fills_the_stated_share_of_the_image(singles: Path) -> None:
    dataset, shares = Dataset(singles / "first"), []
    for sample in dataset.samples:
        (box,) = dataset.boxes[sample.id]
        instances, size = sample.mask("instance_masks"), sample.photo().size
        rows, columns = np.nonzero(instances)
        assert set(np.unique(instances)) == {0, 1} and sample.extra["single_object"] == "1" and size in SHAPES
        assert (box.xmin, box.ymin) == (columns.min(), rows.min())
        assert (box.xmax, box.ymax) == (columns.max() + 1, rows.max() + 1)
        assert sample.labels == (box.name,) and len(sample.extra["cutouts"].split()) == 1
        assert np.unique(sample.mask("class_masks")).tolist() == [0, 1 + NAMES.index(box.name)]
        shares.append((box.xmax - box.xmin) * (box.ymax - box.ymin) / (size[0] * size[1]))
    assert SINGLE_SHARE == (0.15, 0.6) and 0.15 <= min(shares) < 0.25 and 0.4 < max(shares) <= 0.6


def test_lone_objects_are_balanced_over_classes_and_in_every_round(singles: Path) -> None:
    dataset = Dataset(singles / "first")
    for split, count in (("train", 14), ("val", 6), ("test", 4)):
        found = [category(sample) for sample in dataset.split(split)]
        counts = [found.count(name) for name in COLOURS]
        assert sum(counts) == count == len(found) and max(counts) - min(counts) <= 1
        for i in range(0, len(found) - 2, 3):   # three categories, each once a round
            assert set(found[i:i + 3]) == set(COLOURS)
    train = [category(sample) for sample in dataset.split("train")]
    assert len({tuple(train[i:i + 3]) for i in range(0, 12, 3)}) > 1
    assert {category(sample) for sample in subset(dataset.split("train"), 5)} == set(COLOURS)   # every third


def test_lone_objects_repeat_with_the_seed_alone(singles: Path) -> None:
    first, second, other = (Dataset(singles / name) for name in ("first", "second", "other"))
    assert first.hash == second.hash and first.name == "collage_single" and first.classes == NAMES
    images = [name for name in first.manifest["files"] if name.startswith("images/")]
    assert len(images) == 24
    assert not any(first.manifest["files"][name] == other.manifest["files"][name] for name in images)
    build_collage(singles / "fewer", singles / "cache", 0, {"train": 2, "val": 1, "test": 3}, single=True)
    fewer = Dataset(singles / "fewer").manifest["files"]
    assert all(fewer[name] == first.manifest["files"][name] for name in fewer if "/" in name)


def test_lone_objects_are_those_of_their_split(singles: Path) -> None:
    used = {}
    for split in SPLITS:
        used[split] = {sample.extra["cutouts"] for sample in Dataset(singles / "first").split(split)}
    assert all(name.startswith(f"{split}_") for split in SPLITS for name in used[split])
    assert len(set().union(*used.values())) == sum(map(len, used.values()))   # none in two splits


def test_a_lone_object_may_be_enlarged_more_than_one_among_others() -> None:
    """32 x 50 pixels, the smallest there is, take 15 % of the smaller shapes; what cannot is drawn again."""
    figures = {name: shape((255, 0, 0), size, "rectangle")
               for name, size in (("strawberry", (32, 50)), ("dot", (10, 10)), ("page", (900, 900)))}
    alone = only("fruit", ("strawberry", figures["strawberry"]))
    two = only("fruit", ("dot", figures["dot"]), ("page", figures["page"]))
    for i in range(5):
        scene = compose_single(alone, "fruit", np.random.default_rng([11, i]))
        assert SINGLE_SHARE[0] <= collage._box_share(scene.instances == 1)
        assert np.count_nonzero(scene.instances) <= 1.02 * 9 * 32 * 50   # enlarged by 3, a softened outline
        scene = compose_single(two, "fruit", np.random.default_rng([12, i]))
        assert [cutout.name for cutout in scene.objects] == ["page"]


@pytest.mark.parametrize("fill", [255, 0])
def test_a_category_of_specks_is_named(fill: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collage, "SINGLE_ATTEMPTS", 20)
    specks = only("bird", ("dot", Image.new("RGBA", (10, 10), (255, 0, 0, fill))))
    with pytest.raises(Problem, match='^no cut-out of category "bird" takes 15% to 60% of an image'):
        compose_single(specks, "bird", np.random.default_rng(0))
