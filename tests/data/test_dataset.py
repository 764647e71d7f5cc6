"""A dataset folder, written by hand, is read as its contract says; whatever is wrong with it is named."""
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from PIL import Image
from sentences import is_one_sentence

from lib.base.problem import Problem
from lib.data.dataset import VOID, Box, Dataset, Sample, instance_truth
from lib.data.writer import writing

SAMPLES = """id,image,split,labels,colour
a,images/a.png,train,cat dog,red
b,images/sub/b.jpg,test,,blue
c,images/c.png,train,cat,
"""
BOXES = """id,class,xmin,ymin,xmax,ymax
a,cat,0,1,4,3
c,cat,1,0,2,2
a,dog,2,0,3,3
"""
CLASSES = np.uint8([[0, 1, 2, 0], [0, 255, 2, 0], [0, 0, 0, 0]])


def listing(folder: Path) -> dict[str, dict]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(folder))] = {"sha256": sha256, "bytes": path.stat().st_size}
    return found


def seal(folder: Path) -> None:
    """Write the manifest for what is there."""
    manifest = {"name": "tiny", "version": "1", "source": "here", "licence": "none",
                "classes": ["cat", "dog"], "files": listing(folder)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    for name in ("images/sub", "class_masks", "instance_masks", "saliency"):
        (folder / name).mkdir(parents=True)
    for name in ("a.png", "sub/b.jpg", "c.png"):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    for name in ("a", "c"):
        mask = Image.fromarray(CLASSES, mode="P")
        mask.putpalette([i // 3 for i in range(768)])
        mask.save(folder / "class_masks" / f"{name}.png")
    Image.fromarray(np.uint8([[0, 127, 128, 255]] * 3)).save(folder / "saliency" / "a.png")
    (folder / "samples.csv").write_text(SAMPLES)
    (folder / "boxes.csv").write_text(BOXES)
    seal(folder)
    return folder


def test_a_folder_is_read(folder: Path) -> None:
    dataset = Dataset(folder)
    assert (dataset.name, dataset.classes) == ("tiny", ["cat", "dog"])
    assert [(s.id, s.image, s.split, s.labels, s.extra) for s in dataset.samples] == [
        ("a", "images/a.png", "train", ("cat", "dog"), {"colour": "red"}),
        ("b", "images/sub/b.jpg", "test", (), {"colour": "blue"}),
        ("c", "images/c.png", "train", ("cat",), {"colour": ""})]
    assert [s.id for s in dataset.split("train")] == ["a", "c"]
    assert dataset.boxes == {"a": [Box("cat", 0, 1, 4, 3), Box("dog", 2, 0, 3, 3)], "b": [],
                             "c": [Box("cat", 1, 0, 2, 2)]}
    assert np.array_equal(dataset.samples[0].mask("class_masks"), CLASSES)
    with Image.open(folder / "images" / "a.png") as image:
        assert np.array_equal(np.asarray(dataset.samples[0].photo()), np.asarray(image))
    assert dataset.hash == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_foreground_comes_from_saliency_before_classes(folder: Path) -> None:
    a, _, c = Dataset(folder).samples
    truth, valid = a.foreground()
    assert truth.tolist() == [[False, False, True, True]] * 3 and valid.all()   # half of 255 is 127.5
    truth, valid = c.foreground()
    assert truth.tolist() == [[False, True, True, False], [False, False, True, False], [False] * 4]
    assert np.array_equal(valid, CLASSES != VOID) and truth.dtype == valid.dtype == bool


def test_boxes_are_optional(folder: Path) -> None:
    (folder / "boxes.csv").unlink()
    seal(folder)
    assert Dataset(folder).boxes == {"a": [], "b": [], "c": []}


def test_a_folder_may_lie_anywhere_and_be_moved(folder: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    before = Dataset(folder).hash
    (tmp_path / "link").symlink_to(folder)
    assert Dataset(tmp_path / "link").samples[1].photo().size == (4, 3)
    shutil.move(folder, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert Dataset(Path(".")).hash == before and Dataset(Path(".")).samples[1].photo().size == (4, 3)


@pytest.mark.parametrize("name", ["images/a.png", "class_masks/c.png", "samples.csv", "boxes.csv"])
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "remove"])
def test_every_listed_file_is_compared(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    middle = len(content) // 2
    words = "damaged"
    if damage == "remove":
        path.unlink()
        words = "listed in the manifest but missing"
    elif damage == "flip":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:])
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        path.write_bytes(content + b"\n")
    with pytest.raises(Problem, match=rf"{name}: {words}.*; build the dataset again"):
        Dataset(folder)


def test_the_check_can_be_left_out(folder: Path) -> None:
    (folder / "class_masks" / "c.png").unlink()
    assert len(Dataset(folder, check=False).samples) == 3


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"{}", b"3", b"\xff\xfe", b'{"name": "x", "classes": []}',
    b'{"name": "x", "classes": [], "files": []}',
    b'{"name": "x", "classes": [], "files": {"samples.csv": {}}}',
    b'{"name": "x", "classes": [], "files": {"samples.csv": 1}}',
    b'{"name": "x", "classes": null, "files": {}}', b'{"name": "x", "classes": [], "files": {}}',
    b'{"name": null, "classes": [], "files": {}}', b'{"name": "x", "classes": ["a", "a"], "files": {}}',
    b'{"name": "x", "classes": ["a b"], "files": {}}', b'{"name": "x", "classes": [1], "files": {}}',
    b"[" * 100_000, b'{"name": ' + b"9" * 5000 + b"}"])
def test_a_damaged_manifest_is_named(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(Problem, match=r"manifest.json: damaged") as caught:
        Dataset(folder)
    assert is_one_sentence(caught.value)


@pytest.mark.parametrize("name", ["/etc/hostname", "../x", "images/../../x", "a\0b", "", "images/a.png\n"])
def test_a_manifest_lists_what_lies_inside(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["samples.csv"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Problem, match="manifest.json: damaged .* does not lie inside the folder") as caught:
        Dataset(folder)
    assert is_one_sentence(caught.value)


def test_a_missing_manifest_is_named(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    for path in (folder, folder / "nowhere"):
        with pytest.raises(Problem, match=r"not a dataset folder \(no manifest.json\)"):
            Dataset(path)


@pytest.mark.parametrize("text, words", [
    ("", "samples.csv lists no image"), ("id,image,split,labels\n", "samples.csv lists no image"),
    ("id,image,split\na,images/a.png,train\n", "samples.csv: lacks the column .labels."),
    ("id,image,split,labels\na,../../secret.png,train,cat\n",
     'image "../../secret.png" lies outside the dataset folder'),
    ("id,image,split,labels\na,images/../../tiny2/x.png,train,cat\n", "lies outside the dataset folder"),
    ("id,image,split,labels\na,/etc/hostname,train,cat\n",
     'image "/etc/hostname" lies outside the dataset folder'),
    ("id,image,split,labels\na,images/a.png\n",
     r'samples.csv: the row of image "a" has too few or too many columns'),
    ("id,image,split,labels\na,images/a.png,train,cat,dog\n",
     r'samples.csv: the row of image "a" has too few or too many columns'),
    ("id,image,split,labels\n\xe4,images/a.png,train,cat\n", "samples.csv: cannot be read as CSV in UTF-8"),
])
def test_wrong_samples_are_named(folder: Path, text: str, words: str) -> None:
    (folder / "samples.csv").write_bytes(text.encode("latin-1"))
    seal(folder)
    with pytest.raises(Problem, match=words):
        Dataset(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "images" / "a.png", tmp_path / "a.png")
    (folder / "images" / "a.png").symlink_to(tmp_path / "a.png")
    seal(folder)
    words = '"images/a.png" lies outside the dataset folder'
    for check in (True, False):
        with pytest.raises(Problem, match=words):
            Dataset(folder, check)


def test_masks_behind_a_link_out_of_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "saliency", tmp_path / "saliency")
    (folder / "saliency").symlink_to(tmp_path / "saliency")
    with pytest.raises(Problem, match='"saliency/a.png" lies outside the dataset folder, by a link'):
        Dataset(folder)


@pytest.mark.parametrize("name", ["saliency/c.png", "instance_masks/b.png"])
def test_truth_that_is_not_listed_is_refused(folder: Path, name: str) -> None:
    Image.new("L", (4, 3)).save(folder / name)
    with pytest.raises(Problem, match=f"{name}: the manifest does not list it"):
        Dataset(folder)


@pytest.mark.parametrize("name", ["samples.csv", "boxes.csv", "images/a.png"])
def test_what_is_used_is_listed(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Problem, match=f"{name}: the manifest does not list it"):
        assert Dataset(folder).boxes


def test_notes_beside_a_data_set_do_no_harm(folder: Path) -> None:
    (folder / "notes.txt").write_text("Looked at a.")
    assert len(Dataset(folder).samples) == 3


def test_a_byte_order_mark_does_no_harm(folder: Path) -> None:
    for name in ("samples.csv", "boxes.csv"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    seal(folder)
    dataset = Dataset(folder)
    assert [sample.id for sample in dataset.samples] == ["a", "b", "c"] and len(dataset.boxes["a"]) == 2


@pytest.mark.parametrize("row, words", [
    ("a,images/c.png,train,cat", 'line 5: the id "a" is that of line 2 too'),
    ("a,images/c.png,val,cat", 'line 5: the id "a" is that of line 2 too'),
    ("../x,images/c.png,train,cat", 'line 5: the id "../x" is no plain name'),
    ("/tmp/x,images/c.png,train,cat", 'line 5: the id "/tmp/x" is no plain name'),
    ("x/y,images/c.png,train,cat", 'line 5: the id "x/y" is no plain name'),
    (".x,images/c.png,train,cat", 'line 5: the id ".x" is no plain name'),
    ("..,images/c.png,train,cat", r'line 5: the id "\.\." is no plain name'),
    (",images/c.png,train,cat", 'line 5: the id "" is no plain name'),
    ("x\x07,images/c.png,train,cat", r'line 5: the id "x\\x07" is no plain name'),
    (f"{'x' * 300},images/c.png,train,cat", "line 5: the id .xxx.* is no plain name"),
    ("d,images/d.png,train,cat", "images/d.png: the manifest does not list it"),
    ("d,,train,cat", 'line 5: image "" lies outside the dataset folder'),
    ("d,images/c.png,,cat", 'line 5: the split "" is no plain word'),
    ("d,images/c.png,train,cta", 'line 5: there is no class "cta"; did you mean "cat"?'),
])
def test_wrong_rows_are_named(folder: Path, row: str, words: str) -> None:
    lines = SAMPLES.replace(",colour", "").replace(",red", "").replace(",blue", "").replace("cat,\n", "cat\n")
    (folder / "samples.csv").write_text(f"{lines}{row}\n")
    seal(folder)
    with pytest.raises(Problem, match=words) as caught:
        Dataset(folder)
    assert is_one_sentence(caught.value)


def test_a_column_that_is_there_twice_is_named(folder: Path) -> None:
    (folder / "samples.csv").write_text("id,image,split,labels,id\na,images/a.png,train,cat,b\n")
    seal(folder)
    with pytest.raises(Problem, match="samples.csv: has the column .id. more than once"):
        Dataset(folder)


def test_many_rows_are_read_in_no_time(folder: Path) -> None:
    """Twenty thousand rows in about a tenth of a second; looking up every path took more than one."""
    rows = [f"x{i},images/a.png,train,cat" for i in range(20_000)]
    (folder / "samples.csv").write_text("\n".join(["id,image,split,labels", *rows]))
    (folder / "boxes.csv").unlink()
    seal(folder)
    start = process_time()
    assert len(Dataset(folder).samples) == 20_000
    assert process_time() - start < 0.8


def test_missing_samples_are_named(folder: Path) -> None:
    (folder / "samples.csv").unlink()
    seal(folder)
    with pytest.raises(Problem, match="samples.csv: missing; every dataset folder needs it"):
        Dataset(folder)


@pytest.mark.parametrize("row, words", [
    ("a,cat,0,1,4", "too few or too many columns; line 5 must have 6"),
    ("a,cat,0,1,4,x", "line 5 is not id, class and four whole numbers"),
    ("a,cat,0,1,4,2.5", "line 5 is not id, class and four whole numbers"),
    ("a,cat,0,1,,3", "line 5 is not id, class and four whole numbers"),
    (f"a,cat,0,1,{'9' * 5000},3", "line 5 is not id, class and four whole numbers"),
    ("z,cat,0,1,4,3", 'line 5 is of an image "z", which samples.csv does not list'),
    ("a,cta,0,1,4,3", 'line 5: there is no class "cta"; did you mean "cat"?'),
    ("a,cat,4,1,0,3", "line 5: the box is empty or reversed"),
    ("a,cat,0,3,4,1", "line 5: the box is empty or reversed"),
    ("a,cat,2,1,2,3", "line 5: the box is empty or reversed"),
    ("a,cat,-1,1,4,3", "line 5: the box leaves its image of 4x3 pixels"),
    ("a,cat,0,-1,4,3", "line 5: the box leaves its image of 4x3 pixels"),
    ("a,cat,0,1,5,3", "line 5: the box leaves its image of 4x3 pixels"),
    ("a,cat,0,1,4,4", "line 5: the box leaves its image of 4x3 pixels"),
])
def test_wrong_boxes_are_named(folder: Path, row: str, words: str) -> None:
    (folder / "boxes.csv").write_text(BOXES + row + "\n")
    seal(folder)
    dataset = Dataset(folder)
    with pytest.raises(Problem, match=f"boxes.csv: .*{words}"):
        assert dataset.boxes


@pytest.mark.parametrize("asked, words", [
    ("tset", 'did you mean "test"?'), ("x", r"\(known: test, train\)"), ("", r"\(known: test, train\)")])
def test_an_unknown_split_is_named(folder: Path, asked: str, words: str) -> None:
    with pytest.raises(Problem, match=f'tiny: no sample in split "{asked}".*{words}'):
        Dataset(folder).split(asked)


def test_a_mask_of_another_size_is_named(folder: Path) -> None:
    Image.new("L", (3, 4)).save(folder / "class_masks" / "a.png")
    seal(folder)
    with pytest.raises(Problem, match="class_masks/a.png: the mask is 3x4, its image is 4x3"):
        Dataset(folder).samples[0].mask("class_masks")


def test_a_missing_mask_is_named(folder: Path) -> None:
    with pytest.raises(Problem, match="class_masks/b.png: there is no such image"):
        Dataset(folder).samples[1].foreground()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_masks_have_the_size_in_which_a_rotated_photograph_is_seen(folder: Path, orientation: int,
                                                                   ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(folder / "images" / "c.png") as image:
        image.save(folder / "images" / f"c.{ending}", exif=exif)
    (folder / "samples.csv").write_text(SAMPLES.replace("images/c.png", f"images/c.{ending}"))
    seen = CLASSES.T if orientation > 4 else CLASSES
    Image.fromarray(seen).save(folder / "class_masks" / "c.png")
    seal(folder)
    sample = Dataset(folder).samples[2]
    assert sample.photo().size == seen.shape[::-1]
    assert np.array_equal(sample.mask("class_masks"), seen)


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize("damage, words", [
    (gone, "there is no such image"), (cut, "cannot be decoded as an image")])
def test_masks_of_an_image_that_cannot_be_read(folder: Path, damage: Callable[[Path], None],
                                               words: str) -> None:
    dataset = Dataset(folder)
    damage(folder / "images" / "a.png")
    for read in (dataset.samples[0].photo, lambda: dataset.samples[0].mask("class_masks")):
        with pytest.raises(Problem, match=f"images/a.png: {words}"):
            read()


# which pixels are whose, and of which class each object is


def sample_of(folder: Path, instances: list[list[int]], classes: list[list[int]]) -> Sample:
    with writing(folder / "d", "d", "1", "made by a test", "CC0", ["ant", "bee", "cow"]) as writer:
        Image.new("RGB", (len(instances[0]), len(instances))).save(writer.path("images", "x.png"))
        writer.mask("instance_masks", "x", np.array(instances))
        writer.mask("class_masks", "x", np.array(classes))
        writer.sample("x", "images/x.png", "test", ["ant"])
    return Dataset(folder / "d").samples[0]


def test_gaps_touching_objects_and_void(tmp_path: Path) -> None:
    """7 and 9 touch and are of one class, 9 and 254 touch and are of two; 255 is nobody's."""
    instances = [[0, 7, 7, 9, 9], [0, 7, 255, 9, 254], [0, 0, 255, 255, 254]]
    classes = [[0, 2, 2, 2, 2], [0, 2, 255, 2, 3], [0, 0, 255, 255, 3]]
    numbers, class_of = instance_truth(sample_of(tmp_path, instances, classes), 3)
    assert numbers.dtype == np.uint8 and numbers.tolist() == instances
    assert class_of == {7: 1, 9: 1, 254: 2}
    assert {type(value) for value in (*class_of, *class_of.values())} == {int}


def test_the_class_is_that_of_most_pixels(tmp_path: Path) -> None:
    """Background and void inside an object count for no class, however many; of equals the first counts."""
    instances = [[1] * 8, [2] * 8, [3] * 8]
    classes = [[3, 3, 3, 1, 1, 2, 2, 0], [0, 0, 0, 0, 255, 255, 255, 2], [3, 3, 1, 1, 0, 0, 255, 255]]
    assert instance_truth(sample_of(tmp_path, instances, classes), 3)[1] == {1: 2, 2: 1, 3: 0}


def test_classes_that_the_network_has_not_do_not_count(tmp_path: Path) -> None:
    sample = sample_of(tmp_path, [[1, 1, 1, 1]], [[3, 3, 3, 2]])
    assert instance_truth(sample, 3)[1] == {1: 2} and instance_truth(sample, 2)[1] == {1: 1}


def test_no_object(tmp_path: Path) -> None:
    assert instance_truth(sample_of(tmp_path, [[0, 255]], [[1, 1]]), 3)[1] == {}


@pytest.mark.parametrize(("classes", "known"), [([0, 0, 255, 1], 3), ([2, 3, 3, 1], 1)])
def test_an_object_without_any_class_pixel(tmp_path: Path, classes: list[int], known: int) -> None:
    words = 'The image "x": object 4 of its instance mask has no pixel of a class in its class mask'
    with pytest.raises(Problem, match=words) as caught:
        instance_truth(sample_of(tmp_path, [[4, 4, 4, 6]], [classes]), known)
    assert is_one_sentence(caught.value)
