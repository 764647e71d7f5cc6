"""Batches of few classes with several images each."""
from collections import Counter

import numpy as np
import pytest

from lib.base.problem import Problem
from lib.papers.csoa.batches import balanced_batches

NAMES = [f"class {c}" for c in range(20)]


def batches(classes: list[int], batch: int, batch_classes: int, seed: int = 0) -> list[list[int]]:
    return balanced_batches(classes, batch, batch_classes, NAMES, np.random.default_rng(seed))


def test_the_papers_batches_hold_four_images_of_each_of_twelve_classes() -> None:
    classes = [c for c in range(20) for _ in range(30)]
    found = batches(classes, 48, 12)
    assert len(found) == 13   # 600 images
    for batch in found:
        counts = Counter(classes[i] for i in batch)
        assert len(counts) == 12 and set(counts.values()) == {4} and len(set(batch)) == 48


def test_classes_and_images_take_turns() -> None:
    """In 5 batches of 2 of 5 classes each class comes twice; its 4 images, 2 at a time, all come before any comes again."""
    classes = [c for c in range(5) for _ in range(4)]
    found = batches(classes, 4, 2)
    assert len(found) == 5
    assert Counter(classes[i] for batch in found for i in batch) == dict.fromkeys(range(5), 4)
    assert Counter(i for batch in found for i in batch) == dict.fromkeys(range(20), 1)


def test_fewer_classes_than_a_batch_holds_get_more_images_each() -> None:
    found = batches([0] * 10 + [1] * 10 + [2] * 10, 12, 12)
    assert all(Counter(i // 10 for i in batch) == {0: 4, 1: 4, 2: 4} for batch in found) and len(found) == 3


def test_a_small_class_gives_its_images_again() -> None:
    found = batches([0] * 8 + [1] * 2, 8, 2)
    for batch in found:
        assert len({i for i in batch if i < 8}) == 4 and Counter(i for i in batch if i >= 8) == {8: 2, 9: 2}


def test_the_seed_decides() -> None:
    classes = [c for c in range(5) for _ in range(4)]
    assert batches(classes, 4, 2, 1) == batches(classes, 4, 2, 1) != batches(classes, 4, 2, 2)


def test_a_class_with_one_image_is_named() -> None:
    with pytest.raises(Problem, match='^The class "class 1" has one image to train on; a balanced batch pairs at least two of a class: .*$'):
        batches([0, 0, 1], 4, 2)


def test_a_batch_without_pairs_is_refused() -> None:
    with pytest.raises(Problem, match="^batch: 3 images of 2 classes are fewer than two a class; raise batch or lower batch_classes.$"):
        batches([0, 0, 1, 1], 3, 2)
