"""FT, ImgSal, ECSSD, MSRA-B, THUR15K and PASCAL-S, as distributed; names and messages of all importers."""
import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.data.dataset import Dataset
from lib.data.official import OFFICIAL, find_official, import_official, options_of
from lib.data.official.pascal_s import import_pascal_s
from lib.data.official.saliency import import_saliency

SIZE = (20, 10)
MIRROR = Path(os.environ.get("MIRROR", ROOT.parent / "shared" / "data"))


def photo(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (20, 140, 60)).save(path)


def square(value: int = 255) -> np.ndarray:
    values = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    values[2:6, 3:9] = value
    return values


def mask(path: Path, values: np.ndarray | None = None, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(square() if values is None else values).convert(mode).save(path)


def ids(folder: Path) -> list[str]:
    return [s.id for s in Dataset(folder).samples]


LAYOUTS = {   # image, mask
    "ft": [("Image/0_12_12007.jpg", "binarymasks/0_12_12007.bmp"),
           ("Image/1_40_40335.jpg", "binarymasks/1_40_40335.bmp")],
    "ecssd": [("images/0001.jpg", "ground_truth_mask/0001.png"),
              ("images/0002.jpg", "ground_truth_mask/0002.png")],
    "imgsal": [("Images/Large Salient Regions/1.jpg", "GroundTruth/Large Salient Regions/1.bmp"),
               ("Images/Small Salient Regions/2.jpg", "GroundTruth/Small Salient Regions/2.bmp")],
    "msra_b": [("0_0_77.jpg", "0_0_77.png"), ("0_0_147.jpg", "0_0_147.png")]}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_layouts_as_distributed(tmp_path: Path, name: str, mode: str) -> None:
    for image, truth in LAYOUTS[name]:
        photo(tmp_path / "in" / image)
        mask(tmp_path / "in" / truth, mode=mode)
    import_official(name, tmp_path / "in", tmp_path / "out")
    data = Dataset(tmp_path / "out")
    assert data.name == name and data.classes == []
    assert [s.id for s in data.samples] == [Path(image).stem for image, _ in LAYOUTS[name]]
    for sample in data.split("test"):
        assert sample.extra == {"has_foreground": "1"} and sample.labels == ()
        assert np.array_equal(sample.mask("saliency"), square())
        with Image.open(tmp_path / "out" / "saliency" / f"{sample.id}.png") as stored:
            assert stored.mode == "L"


def test_recurring_stems_take_their_category(tmp_path: Path) -> None:
    for category, rows in (("Large Regions", slice(0, 2)), ("Small", slice(5, 6))):
        photo(tmp_path / "in" / category / "Image" / "1.jpg")
        values = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
        values[rows] = 255
        mask(tmp_path / "in" / category / "GT" / "1.png", values)
        mask(tmp_path / "in" / category / "Fixation map" / "1.png")   # not a mask, not an image
    import_saliency(tmp_path / "in", tmp_path / "out", "imgsal")
    assert {s.id: int((s.mask("saliency") > 0).sum()) for s in Dataset(tmp_path / "out").samples} == {
        "Large_Regions_1": 2 * SIZE[0], "Small_1": SIZE[0]}


def test_thur15k_leaves_images_without_mask_out_and_says_so(tmp_path: Path) -> None:
    for category in ("Butterfly", "Giraffe"):
        for number in (2, 3, 10):
            photo(tmp_path / "in" / category / "Src" / f"{number}.jpg")
        mask(tmp_path / "in" / category / "GT" / "2.png")
        mask(tmp_path / "in" / category / "GT" / "10.png")
    import_official("thur15k", tmp_path / "in", tmp_path / "out")
    assert ids(tmp_path / "out") == ["Butterfly_2", "Butterfly_10", "Giraffe_2", "Giraffe_10"]
    assert "2 of 6 images left out" in Dataset(tmp_path / "out").manifest["source"]


def test_grey_levels_are_kept_and_half_is_foreground(tmp_path: Path) -> None:
    for stem, value in (("1", 127), ("2", 128), ("3", 0), ("4", 1)):
        photo(tmp_path / "in" / "images" / f"{stem}.jpg")
        mask(tmp_path / "in" / "masks" / f"{stem}.png", square(value))
    import_saliency(tmp_path / "in", tmp_path / "out", "ecssd")
    samples = Dataset(tmp_path / "out").samples
    assert [s.extra["has_foreground"] for s in samples] == ["0", "1", "0", "1"]
    # 0 and 1 mean black and white
    assert [int(s.mask("saliency").max()) for s in samples] == [127, 128, 0, 255]
    assert [int(s.foreground()[0].sum()) for s in samples] == [0, 24, 0, 24]


def turn_mask(top: Path) -> None:
    mask(top / "GT" / "2.png", np.zeros((SIZE[0], SIZE[1]), dtype=np.uint8))


def drop_mask(top: Path) -> None:
    (top / "GT" / "2.png").unlink()


def drop_image(top: Path) -> None:
    (top / "images" / "2.jpg").unlink()


def garble_mask(top: Path) -> None:
    (top / "GT" / "2.png").write_bytes(b"no")


def double_mask(top: Path) -> None:
    mask(top / "GT" / "2.bmp")


def deepen_mask(top: Path) -> None:
    Image.fromarray(square().astype(np.uint16)).save(top / "GT" / "2.png")


def drop_masks(top: Path) -> None:
    for path in (top / "GT").iterdir():
        path.unlink()


@pytest.mark.parametrize("damage, words", [
    (turn_mask, "2.png: the mask is 10x20, its image is 20x10"), (drop_mask, "2.jpg: has no mask"),
    (drop_image, "2.png: a mask without an image"), (garble_mask, "2.png: cannot be decoded as an image"),
    (double_mask, "2.png: has the same name as .*2.bmp"), (deepen_mask, "8 bits a channel"),
    (drop_masks, "holds 3 images and 0 masks; expected a folder with images/")])
def test_what_is_wrong_is_named_and_nothing_is_left(tmp_path: Path, damage: Callable[[Path], None],
                                                    words: str) -> None:
    for stem in "123":
        photo(tmp_path / "in" / "images" / f"{stem}.jpg")
        mask(tmp_path / "in" / "GT" / f"{stem}.png")
    damage(tmp_path / "in")
    with pytest.raises(Problem, match=words):
        import_saliency(tmp_path / "in", tmp_path / "out", "ecssd")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize("around", [False, True])
def test_pascal_s(tmp_path: Path, around: bool) -> None:
    top = tmp_path / "in" / "datasets"
    for number, value in ((10, 255), (9, 98), (1, 137)):
        photo(top / "imgs" / "pascal" / f"{number}.jpg")
        mask(top / "masks" / "pascal" / f"{number}.png", square(value))
    photo(top / "imgs" / "bruce" / "1.jpg")
    import_pascal_s(top.parent if around else top, tmp_path / "out")
    samples = Dataset(tmp_path / "out").split("test")
    assert [(s.id, s.extra["has_foreground"]) for s in samples] == [("1", "1"), ("9", "0"), ("10", "1")]
    assert np.array_equal(samples[1].mask("saliency"), square(98))


def test_pascal_s_problems_are_named(tmp_path: Path) -> None:
    top = tmp_path / "in" / "datasets"
    for number in (1, 2):
        photo(top / "imgs" / "pascal" / f"{number}.jpg")
        mask(top / "masks" / "pascal" / f"{number}.png")
    (top / "imgs" / "pascal" / "2.jpg").unlink()
    with pytest.raises(Problem, match="2.jpg: listed in .*masks/pascal but absent"):
        import_pascal_s(top, tmp_path / "out")
    (top / "masks" / "pascal" / "2.png").unlink()
    (top / "masks" / "pascal" / "1.png").unlink()
    with pytest.raises(Problem, match="1.png: listed in .*imgs/pascal but absent"):
        import_pascal_s(top, tmp_path / "out")
    with pytest.raises(Problem, match="lacks imgs/pascal; expected a folder with datasets/imgs/pascal"):
        import_pascal_s(tmp_path, tmp_path / "out")


@pytest.mark.skipif(not (MIRROR / "pascal_s" / "samples.csv").exists(),
                    reason="needs the mirror (its folder, or MIRROR)")
def test_pascal_s_foreground_agrees_with_the_mirror(tmp_path: Path) -> None:
    with open(MIRROR / "pascal_s" / "samples.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    chosen = {r["id"]: r for r in rows if r["has_foreground"] == "0"} | {r["id"]: r for r in rows[::40]}
    for place in ("imgs", "masks"):
        (tmp_path / place / "pascal").mkdir(parents=True)
    for id, row in chosen.items():
        (tmp_path / "imgs" / "pascal" / f"{id}.jpg").symlink_to((MIRROR / row["image"]).resolve())
        original = MIRROR / "pascal_s" / "masks" / f"{id}.png"
        (tmp_path / "masks" / "pascal" / f"{id}.png").symlink_to(original.resolve())
    import_pascal_s(tmp_path, tmp_path / "out")
    samples = Dataset(tmp_path / "out").samples
    expected = {id: row["has_foreground"] for id, row in chosen.items()}
    assert {s.id: s.extra["has_foreground"] for s in samples} == expected
    assert not any((s.folder / s.image).is_symlink() for s in samples)


def test_every_dataset_says_what_is_expected_and_who_gives_it_out() -> None:
    others = ["ft", "imgsal", "ecssd", "msra_b", "thur15k"]
    assert list(OFFICIAL) == ["voc2012", "cub", "ilsvrc", "pascal_s", *others]
    for official in OFFICIAL.values():
        words = official.layout.where
        assert "log-in" in words and "://" not in words and "www." not in words


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_missing_source_names_the_layout_before_anything_starts(tmp_path: Path, name: str) -> None:
    absent = tmp_path / "absent"
    words = f"{absent}: there is no such folder; expected {OFFICIAL[name].layout.where}."
    with pytest.raises(Problem) as caught:
        find_official(name, absent)
    assert str(caught.value) == words
    with pytest.raises(Problem) as caught:
        import_official(name, absent, tmp_path / "out")
    assert str(caught.value) == words
    assert not list(tmp_path.iterdir())


def test_options_that_params_yaml_may_give() -> None:
    own = {name: options_of(name) for name in OFFICIAL}
    assert own.pop("voc2012") == {"source": str, "sbd": str}
    assert own.pop("ilsvrc") == {"source": str, "train": bool}
    assert all(options == {"source": str} for options in own.values())


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Problem, match='"voc2021" is not an official dataset; did you mean "voc2012"?'):
        import_official("voc2021", tmp_path, tmp_path / "out")
    with pytest.raises(Problem, match='did you mean "ecssd"'):
        import_saliency(tmp_path, tmp_path / "out", "ecsd")
