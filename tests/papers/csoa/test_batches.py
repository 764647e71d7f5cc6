"""Photographs as squares, and batches of few classes with several images each."""
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from csoa_toys import toy_data
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.data.images import square_tensor
from lib.papers.csoa import batches
from lib.papers.csoa.batches import Squares, balanced_batches, single_objects, training_view

NAMES = [f"class {number}" for number in range(20)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_data(tmp_path_factory.mktemp("data") / "shapes")


def test_rare_classes_are_left_out_and_named(data: Dataset) -> None:
    single = single_objects(data, 2)
    assert single.classes == ("disc", "bar")
    assert single.dropped == ("rare",)
    assert [len(single.splits[split]) for split in ("train", "val", "test")] == [16, 4, 4]
    assert single.numbers("val") == [0, 0, 1, 1]
    with pytest.raises(Problem, match="fewer than two classes have 50 training images"):
        single_objects(data, 50)


@pytest.mark.parametrize("missing, purpose", [
    ("train", "learns from"), ("val", "chooses its threshold on"), ("test", "is scored on")])
def test_a_data_set_without_a_split_is_named(tmp_path: Path, missing: str, purpose: str) -> None:
    splits = tuple(split for split in ("train", "val", "test") if split != missing)
    data = toy_data(tmp_path / "shapes", splits)
    with pytest.raises(Problem) as caught:
        single_objects(data, 2)
    words = f'{data.folder}: no image of a single object in split "{missing}", which CSoA {purpose};'
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels, extra, single", [
    (("disc",), {}, True),
    (("disc",), {"single_object": "1"}, True),
    (("disc",), {"single_object": "0"}, False),
    (("disc", "bar"), {"single_object": "1"}, False)])
def test_images_of_several_objects_are_not_taken(labels: tuple[str, ...], extra: dict[str, str],
                                                 single: bool) -> None:
    sample = Sample("a", Path("data"), "a.png", "train", labels, extra)
    assert batches.shows_single_object(sample) is single


@pytest.mark.parametrize("room, decoded", [(4, 4), (2, 4 + 2)])
def test_squares_are_decoded_once_as_far_as_they_fit(data: Dataset, room: int, decoded: int,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    samples = data.split("val")
    calls = []

    def counted(photo: Image.Image, side: int) -> torch.Tensor:
        calls.append(side)
        return square_tensor(photo, side)

    monkeypatch.setattr(batches, "square_tensor", counted)
    monkeypatch.setattr(batches, "MOST_KEPT", room * 3 * 16 * 16)
    squares = Squares(16)
    first = squares.batch(samples)
    second = squares.batch(samples)
    assert torch.equal(first, second)
    assert len(calls) == decoded


@pytest.mark.parametrize("number, kept", [("0", 0), ("2", 3)])
def test_other_processes_fill_the_memory_ahead(data: Dataset, monkeypatch: pytest.MonkeyPatch, number: str,
                                               kept: int) -> None:
    """As far as there is room; a process that does not inherit what is kept is not sent it."""
    samples = data.split("val")
    monkeypatch.setattr(batches, "MOST_KEPT", 3 * 3 * 16 * 16)
    monkeypatch.setenv("DECODERS", number)
    squares = Squares(16)
    squares.keep(samples)
    assert len(squares.kept) == kept
    assert pickle.loads(pickle.dumps(squares)).kept == {}
    assert torch.equal(squares.batch(samples), Squares(16).batch(samples))


def test_squares_are_photographs_square_tensor(data: Dataset) -> None:
    sample = data.split("val")[1]
    squares = Squares(16)
    photo = sample.photo().resize((16, 16), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    assert torch.equal(squares.decoded([sample])[0], expected)
    assert squares.size_of(sample) == (48, 40)
    assert torch.equal(squares.batch([sample])[0], expected.float() / 255)


def test_a_training_view_is_a_crop_mirrored_or_not() -> None:
    square = torch.arange(3 * 37 * 37).reshape(3, 37, 37).remainder(251).to(torch.uint8)
    views = [training_view(square, 32, np.random.default_rng(key)) for key in range(40)]
    places = [places_of(view, square) for view in views]
    assert all(len(several) == 1 for several in places)
    assert len(set.union(*places)) > 15
    assert torch.equal(views[3], training_view(square, 32, np.random.default_rng(3)))


def places_of(view: torch.Tensor, square: torch.Tensor) -> set[tuple[int, int, bool]]:
    """(y, x, mirrored) of the crops of side 32 that a view could be."""
    places = set()
    for y in range(6):
        for x in range(6):
            crop = square[:, y:y + 32, x:x + 32].float() / 255
            if torch.equal(view, crop):
                places.add((y, x, False))
            if torch.equal(view, crop.flip(2)):
                places.add((y, x, True))
    return places


def epoch_of(classes: list[int], batch: int, batch_classes: int, seed: int = 0) -> list[list[int]]:
    return balanced_batches(classes, batch, batch_classes, NAMES, np.random.default_rng(seed))


def repeated(classes: int, images: int) -> list[int]:
    """The classes of so many images each."""
    return np.repeat(np.arange(classes), images).tolist()


def test_the_papers_batches_hold_four_images_of_each_of_twelve_classes() -> None:
    classes = repeated(20, 30)
    epoch = epoch_of(classes, 48, 12)
    assert len(epoch) == 13   # 600 images
    for batch in epoch:
        counts = Counter(classes[i] for i in batch)
        assert len(counts) == 12
        assert set(counts.values()) == {4}
        assert len(set(batch)) == 48


def test_classes_and_images_take_turns() -> None:
    """In 5 batches of 2 of 5 classes each class comes twice.

    Its 4 images, 2 at a time, all come before any comes again.
    """
    classes = repeated(5, 4)
    epoch = epoch_of(classes, 4, 2)
    assert len(epoch) == 5
    drawn = np.concatenate(epoch).tolist()
    assert Counter(classes[i] for i in drawn) == dict.fromkeys(range(5), 4)
    assert Counter(drawn) == dict.fromkeys(range(20), 1)


def test_fewer_classes_than_a_batch_holds_get_more_images_each() -> None:
    epoch = epoch_of(repeated(3, 10), 12, 12)
    assert len(epoch) == 3
    for batch in epoch:
        assert Counter(i // 10 for i in batch) == {0: 4, 1: 4, 2: 4}


def test_a_small_class_gives_its_images_again() -> None:
    for batch in epoch_of([0] * 8 + [1] * 2, 8, 2):
        assert len({i for i in batch if i < 8}) == 4
        assert Counter(i for i in batch if i >= 8) == {8: 2, 9: 2}


def test_the_seed_decides() -> None:
    classes = repeated(5, 4)
    assert epoch_of(classes, 4, 2, seed=1) == epoch_of(classes, 4, 2, seed=1)
    assert epoch_of(classes, 4, 2, seed=1) != epoch_of(classes, 4, 2, seed=2)


def test_a_class_with_one_image_is_named() -> None:
    words = ('^The class "class 1" has one image to train on; '
             "a balanced batch pairs at least two of a class: .*$")
    with pytest.raises(Problem, match=words):
        epoch_of([0, 0, 1], 4, 2)


def test_a_batch_without_pairs_is_refused() -> None:
    words = ("^batch: 3 images of 2 classes are fewer than two a class; "
             "raise batch or lower batch_classes.$")
    with pytest.raises(Problem, match=words):
        epoch_of([0, 0, 1, 1], 3, 2)
