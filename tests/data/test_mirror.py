"""The mirror's folders converted, from a tiny mirror made here; the real one as its manifest promises it."""
import csv
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.base.paths import mirror_folder
from lib.base.problem import Problem
from lib.data.dataset import Box, Dataset
from lib.data.mirror import MIRROR, import_mirror
from lib.data.official.voc import VOC_CLASSES

WIDTH, HEIGHT = 12, 8


def table(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def photo(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(path.name)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path.read_bytes()


def mask(path: Path, values: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.uint8(values), mode="P" if palette else "L")
    if palette:
        image.putpalette(list(range(256)) * 3)
    image.save(path)


def seal(mirror: Path) -> None:
    listed = {}
    for path in sorted(mirror.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            listed[str(path.relative_to(mirror))] = {"bytes": path.stat().st_size, "sha256": sha256}
    (mirror / "manifest.json").write_text(json.dumps(listed))


def voc(mirror: Path) -> None:
    table(mirror / "voc" / "samples.csv", "id,split,width,height,labels,single_object,instances_clean\n"
          f"a,val,{WIDTH},{HEIGHT},chair dog,0,1\nb,train,{WIDTH},{HEIGHT},dog,1,0\n"
          f"c,,{WIDTH},{HEIGHT},,0,0\nd,test,{WIDTH},{HEIGHT},cat,1,1\n")
    table(mirror / "voc" / "boxes.csv", "id,class,xmin,ymin,xmax,ymax\n"
          f"a,dog,1,1,{WIDTH},{HEIGHT}\na,chair,3,2,5,4\nb,dog,4,4,4,4\n")
    for id in "abcd":
        photo(mirror / "voc" / "images" / f"{id}.jpg")
    for id in "ad":
        classes = np.full((HEIGHT, WIDTH), 9 if id == "a" else 255)
        mask(mirror / "voc" / "class_masks" / f"{id}.png", classes, palette=True)
        mask(mirror / "voc" / "instance_masks" / f"{id}.png", np.full((HEIGHT, WIDTH), 1), palette=True)


def pascal_s(mirror: Path) -> None:
    table(mirror / "pascal_s" / "samples.csv", "id,image,has_foreground\n"
          "1,voc/images/c.jpg,1\n2,voc/images/a.jpg,0\n")
    mask(mirror / "pascal_s" / "masks" / "1.png", np.tile([0, 85, 170, 255], (HEIGHT, WIDTH // 4)))
    mask(mirror / "pascal_s" / "masks" / "2.png", np.zeros((HEIGHT, WIDTH)))


def pets(mirror: Path) -> None:
    table(mirror / "pets" / "samples.csv", "id,split,width,height,labels\n"
          f"B_1,test,{WIDTH},{HEIGHT},bulldog\n"
          f"A_1,test,{WIDTH},{HEIGHT},Abyssinian\nA_7,test,{WIDTH},{HEIGHT},Abyssinian\n")
    table(mirror / "pets" / "boxes.csv", "id,class,xmin,ymin,xmax,ymax\nB_1,bulldog,0,1,4,7\n")
    for id in ("A_1", "A_7", "B_1"):
        photo(mirror / "pets" / "images" / f"{id}.jpg")
        mask(mirror / "pets" / "trimaps" / f"{id}.png", np.tile([1, 2, 3], (HEIGHT, WIDTH // 3)))


def tiny_imagenet(mirror: Path) -> None:
    folder = mirror / "tiny_imagenet"
    table(folder / "classes.csv", 'wnid,name\nn01,"goldfish, fish"\nn02,newt\n')
    table(folder / "samples.csv", "id,split,width,height,labels\n"
          "n01_1,train,64,64,n01\nn01_6,train,64,64,n01\nn02_7,test,64,64,n02\n")
    table(folder / "boxes.csv", "id,class,xmin,ymin,xmax,ymax\n"
          "n01_1,n01,0,0,63,63\nn01_6,n01,0,0,63,63\nn02_7,n02,10,20,10,25\n")
    content = photo(mirror / "spare.jpg", (64, 64))
    (mirror / "spare.jpg").unlink()
    for archive, names in {"train": ["n01/n01_1.jpg", "n01/n01_6.jpg"], "test": ["../../n02_7.jpg"]}.items():
        with tarfile.open(folder / f"{archive}.tar", "w") as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            link = tarfile.TarInfo("link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(link)


def imagenet_sample(mirror: Path) -> None:
    folder = mirror / "imagenet_sample"
    table(folder / "classes.csv", "class_index,wnid,name\n0,n01,tench\n1,n02,goldfish\n")
    table(folder / "samples.csv", "id,class_index,name\n0001,1,goldfish\n0000,0,tench\n")
    for id in ("0000", "0001"):
        photo(folder / "images" / f"{id}.jpg")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    for make in (voc, pascal_s, pets, tiny_imagenet, imagenet_sample):
        make(folder)
    seal(folder)
    return folder


def imported(name: str, mirror: Path) -> Dataset:
    import_mirror(name, mirror.parent / "out" / name, mirror)
    return Dataset(mirror.parent / "out" / name)


def test_voc(mirror: Path) -> None:
    dataset = imported("voc", mirror)
    assert dataset.classes == list(VOC_CLASSES) and len(VOC_CLASSES) == 20 and VOC_CLASSES[8] == "chair"
    assert [(s.id, s.split, s.labels) for s in dataset.samples] == [
        ("a", "val", ("chair", "dog")), ("b", "train", ("dog",)), ("d", "test", ("cat",))]
    # from 1-based and inclusive: the whole image, columns 2-4 and rows 1-3, one pixel
    assert dataset.boxes == {"a": [Box("dog", 0, 0, WIDTH, HEIGHT), Box("chair", 2, 1, 5, 4)],
                             "b": [Box("dog", 3, 3, 4, 4)], "d": []}
    assert dataset.samples[0].extra == {"single_object": "0", "instances_clean": "1"}
    assert (dataset.samples[0].mask("class_masks") == 9).all()
    assert (dataset.samples[2].mask("instance_masks") == 1).all()
    assert dataset.samples[2].foreground()[1].sum() == 0   # nothing but void
    assert not (dataset.folder / "class_masks" / "b.png").exists()
    assert not (dataset.folder / "images" / "c.jpg").exists()
    copied = (dataset.folder / "images" / "a.jpg").read_bytes()
    assert copied == (mirror / "voc" / "images" / "a.jpg").read_bytes()


def test_pascal_s(mirror: Path) -> None:
    dataset = imported("pascal_s", mirror)
    assert [(s.id, s.split, s.labels, s.extra) for s in dataset.samples] == [
        ("1", "test", ("object",), {"has_foreground": "1", "photograph": "c"}),
        ("2", "test", (), {"has_foreground": "0", "photograph": "a"})]
    truth, valid = dataset.samples[0].foreground()
    assert truth[0].tolist() == [False, False, True, True] * 3 and valid.all()
    copied = (dataset.folder / dataset.samples[0].image).read_bytes()
    assert copied == (mirror / "voc" / "images" / "c.jpg").read_bytes()
    assert dataset.boxes == {"1": [], "2": []}


def test_pets(mirror: Path) -> None:
    dataset = imported("pets", mirror)
    assert dataset.classes == ["Abyssinian", "bulldog"]
    assert [(s.id, s.split, s.labels) for s in dataset.samples] == [
        # by the hash of the id
        ("B_1", "train", ("bulldog",)), ("A_1", "test", ("Abyssinian",)), ("A_7", "val", ("Abyssinian",))]
    bulldog, abyssinian, _ = (s.mask("class_masks")[0].tolist() for s in dataset.samples)
    # trimap 1 body, 2 background, 3 border
    assert bulldog == [2, 0, 255] * 4 and abyssinian == [1, 0, 255] * 4
    truth, valid = dataset.samples[0].foreground()
    assert truth[0].tolist() == [True, False, False] * 4 and valid[0].tolist() == [True, True, False] * 4
    assert dataset.boxes == {"A_1": [], "A_7": [], "B_1": [Box("bulldog", 0, 1, 4, 7)]}


def test_tiny_imagenet(mirror: Path) -> None:
    dataset = imported("tiny_imagenet", mirror)
    assert dataset.classes == ["n01", "n02"]
    assert [(s.id, s.split, s.labels) for s in dataset.samples] == [
        # one in ten of train, by the hash of the id
        ("n01_1", "train", ("n01",)), ("n01_6", "val", ("n01",)), ("n02_7", "test", ("n02",))]
    whole = [Box("n01", 0, 0, 64, 64)]
    # from 0-based and inclusive
    assert dataset.boxes == {"n01_1": whole, "n01_6": whole, "n02_7": [Box("n02", 10, 20, 11, 26)]}
    assert all(s.photo().size == (64, 64) for s in dataset.samples)
    written = sorted(path.name for path in (dataset.folder / "images").rglob("*.jpg"))
    assert written == ["n01_1.jpg", "n01_6.jpg", "n02_7.jpg"]   # no link
    assert sorted(p.name for p in mirror.parent.iterdir()) == ["mirror", "out"]   # nothing outside


def test_imagenet_sample(mirror: Path) -> None:
    dataset = imported("imagenet_sample", mirror)
    assert [(s.id, s.split, s.labels, s.extra) for s in dataset.samples] == [
        ("0001", "test", ("n02",), {"class_index": "1"}), ("0000", "test", ("n01",), {"class_index": "0"})]


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("name, file", [
    ("voc", "voc/images/b.jpg"), ("voc", "voc/boxes.csv"), ("pascal_s", "voc/images/c.jpg"),
    ("pascal_s", "pascal_s/masks/2.png"), ("pets", "pets/trimaps/A_1.png"),
    ("tiny_imagenet", "tiny_imagenet/test.tar"), ("imagenet_sample", "imagenet_sample/classes.csv")])
@pytest.mark.parametrize("damage, words", [
    (flipped, "damaged, its content differs"), (shortened, "damaged, its content differs"),
    (removed, "missing")])
def test_a_damaged_source_is_named_and_nothing_written(mirror: Path, name: str, file: str,
                                                       damage: Callable[[Path], None], words: str) -> None:
    damage(mirror / file)
    with pytest.raises(Problem, match=f"mirror/{file}: .*{words}.*copy the mirror again"):
        imported(name, mirror)
    assert not (mirror.parent / "out").exists()


def test_damage_elsewhere_does_not_matter(mirror: Path) -> None:
    flipped(mirror / "pets" / "images" / "A_1.jpg")
    assert len(imported("voc", mirror).samples) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"voc/boxes.csv": {}}', '{"voc/boxes.csv": 1}'])
def test_a_damaged_manifest_is_named(mirror: Path, content: str) -> None:
    (mirror / "manifest.json").write_text(content)
    with pytest.raises(Problem, match=r"manifest.json: damaged"):
        imported("voc", mirror)


def test_another_folder_with_a_manifest_is_no_mirror(mirror: Path) -> None:
    """A dataset folder also has a manifest.json."""
    folder = imported("pets", mirror).folder
    with pytest.raises(Problem, match="pets: its manifest lists nothing below voc/; is this the mirror?"):
        import_mirror("voc", mirror.parent / "out" / "voc", folder)


def test_a_missing_mirror_is_named(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match=r"nowhere: not the mirror \(no manifest.json\)"):
        import_mirror("voc", tmp_path / "out", tmp_path / "nowhere")
    monkeypatch.setenv("MIRROR", str(tmp_path / "elsewhere"))
    with pytest.raises(Problem, match=r"elsewhere: not the mirror \(no manifest.json\)"):
        import_mirror("voc", tmp_path / "out")
    monkeypatch.setenv("MIRROR", str(mirror))
    import_mirror("voc", tmp_path / "out")
    assert len(Dataset(tmp_path / "out").samples) == 3


@pytest.mark.parametrize("name, words", [
    ("pascal", 'did you mean "pascal_s"?'),
    ("x", "known: voc, pascal_s, pets, tiny_imagenet, imagenet_sample")])
def test_an_unknown_data_set_is_named(mirror: Path, name: str, words: str) -> None:
    with pytest.raises(Problem, match=words):
        imported(name, mirror)


def test_a_failing_conversion_leaves_nothing(mirror: Path) -> None:
    mask(mirror / "pets" / "trimaps" / "A_1.png", np.zeros((HEIGHT, WIDTH)))
    Image.new("RGB", (WIDTH, HEIGHT)).save(mirror / "pets" / "trimaps" / "A_1.png")
    seal(mirror)
    with pytest.raises(Problem, match="A_1.png: a mask must be a palette or grey image"):
        imported("pets", mirror)
    assert list((mirror.parent / "out").iterdir()) == []


# the real mirror


@pytest.fixture(scope="module")
def real() -> Path:
    try:
        return mirror_folder()
    except Problem as problem:
        pytest.skip(f"needs the mirror: {problem}")


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def corners(row: dict[str, str]) -> list[int]:
    return [int(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")]


@pytest.mark.mirror
def test_the_real_mirror_has_the_layout_that_is_read(real: Path) -> None:
    listed = json.loads((real / "manifest.json").read_text())
    for conversion in MIRROR.values():
        for folder in conversion.folders:
            assert any(file.startswith(folder) for file in listed), folder
    splits = [row["split"] for row in rows(real / "voc" / "samples.csv")]
    assert [splits.count(s) for s in ("train", "val", "test")] == [1436, 437, 353]
    assert {row["class"] for row in rows(real / "voc" / "boxes.csv")} == set(VOC_CLASSES)
    assert len(rows(real / "pascal_s" / "samples.csv")) == 850


@pytest.mark.mirror
def test_the_real_boxes_have_the_convention_that_is_assumed(real: Path) -> None:
    """VOC from 1, inclusive: 1 and the width occur, 0 never. Pets half-open: around body and border."""
    sizes = {}
    for row in rows(real / "voc" / "samples.csv"):
        sizes[row["id"]] = (int(row["width"]), int(row["height"]))
    boxes = [row for row in rows(real / "voc" / "boxes.csv") if row["id"] in sizes]
    assert min(int(row["xmin"]) for row in boxes) == 1 and min(int(row["ymin"]) for row in boxes) == 1
    assert max(int(row["xmax"]) - sizes[row["id"]][0] for row in boxes) == 0
    assert max(int(row["ymax"]) - sizes[row["id"]][1] for row in boxes) == 0
    for row in rows(real / "pets" / "boxes.csv")[::100]:
        with Image.open(real / "pets" / "trimaps" / f"{row['id']}.png") as image:
            ys, xs = np.nonzero(np.asarray(image) != 2)
        assert corners(row) == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    tiny = [corner for row in rows(real / "tiny_imagenet" / "boxes.csv") for corner in corners(row)]
    assert (min(tiny), max(tiny)) == (0, 63)


@pytest.mark.mirror
def test_a_real_data_set_is_imported(real: Path, tmp_path: Path) -> None:
    import_mirror("imagenet_sample", tmp_path / "out", real)
    dataset = Dataset(tmp_path / "out")
    assert len(dataset.samples) == 200 and len(dataset.classes) == 1000
    assert all(dataset.classes[int(s.extra["class_index"])] == s.labels[0] for s in dataset.samples)
    assert os.listdir(tmp_path) == ["out"]
