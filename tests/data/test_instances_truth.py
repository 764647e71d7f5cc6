"""Which pixels are whose, and of which class each object is."""
from pathlib import Path

import numpy as np
import pytest
from iam_toys import is_one_sentence
from PIL import Image

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample, instance_truth
from lib.data.writer import writing


def sample(folder: Path, instances: list[list[int]], classes: list[list[int]]) -> Sample:
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
    numbers, found = instance_truth(sample(tmp_path, instances, classes), 3)
    assert numbers.dtype == np.uint8 and numbers.tolist() == instances
    assert found == {7: 1, 9: 1, 254: 2} and all(type(value) is int for pair in found.items() for value in pair)


def test_the_class_is_that_of_most_pixels(tmp_path: Path) -> None:
    """Background and void inside an object count for no class, however many; of classes with as many pixels it is the first."""
    instances = [[1] * 8, [2] * 8, [3] * 8]
    classes = [[3, 3, 3, 1, 1, 2, 2, 0], [0, 0, 0, 0, 255, 255, 255, 2], [3, 3, 1, 1, 0, 0, 255, 255]]
    assert instance_truth(sample(tmp_path, instances, classes), 3)[1] == {1: 2, 2: 1, 3: 0}


def test_classes_that_the_network_has_not_do_not_count(tmp_path: Path) -> None:
    one = sample(tmp_path, [[1, 1, 1, 1]], [[3, 3, 3, 2]])
    assert instance_truth(one, 3)[1] == {1: 2} and instance_truth(one, 2)[1] == {1: 1}


def test_no_object(tmp_path: Path) -> None:
    assert instance_truth(sample(tmp_path, [[0, 255]], [[1, 1]]), 3)[1] == {}


@pytest.mark.parametrize(("classes", "known"), [([0, 0, 255, 1], 3), ([2, 3, 3, 1], 1)])
def test_an_object_without_any_class_pixel(tmp_path: Path, classes: list[int], known: int) -> None:
    with pytest.raises(Problem, match='The image "x": object 4 of its instance mask has no pixel of a class in its class mask') as caught:
        instance_truth(sample(tmp_path, [[4, 4, 4, 6]], [classes]), known)
    assert is_one_sentence(caught.value)
