"""Mini-batches: squares pixel by pixel, targets by hand, cached outputs against the whole network."""
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.nets.fcn import Fcn, fully_convolutional
from lib.nets.network import Network, NetworkInfo
from lib.training.batches import CachedViews, Photographs, cut, rounded, square, targets
from lib.training.settings import TrainingSettings

PAD = torch.tensor([0.485, 0.456, 0.406])


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size, side, inside", [   # width and height of the photo, of what it becomes
    ((40, 20), 64, (64, 32)),
    ((20, 40), 64, (32, 64)),
    ((64, 64), 64, (64, 64)),
    ((500, 333), 96, (96, 64)),
    ((333, 500), 96, (64, 96)),
    ((7, 5), 96, (96, 69)),
    ((1000, 3), 64, (64, 1)),
    ((3, 1000), 64, (1, 64)),
])
@pytest.mark.parametrize("flip", [False, True])
def test_a_square_holds_the_scaled_photo_top_left(size: tuple[int, int], side: int, inside: tuple[int, int],
                                                  flip: bool) -> None:
    photo = noise(*size)
    width, height = inside
    found = square(photo, side, flip)
    scaled = np.asarray(photo.resize(inside, Image.Resampling.BILINEAR))
    if flip:
        scaled = scaled[:, ::-1]
    expected = torch.tensor(scaled.tolist()).permute(2, 0, 1) / 255
    assert found.shape == (3, side, side) and found.dtype == torch.float32
    assert torch.equal(found[:, :height, :width], expected)
    assert torch.equal(found[:, height:], PAD[:, None, None].expand(3, side - height, side))
    assert torch.equal(found[:, :, width:], PAD[:, None, None].expand(3, side, side - width))


def test_a_flipped_photo_stays_at_the_left() -> None:
    values = np.zeros((64, 32, 3), np.uint8)
    values[:, :16] = (255, 0, 0)
    values[:, 16:] = (0, 0, 255)
    photo = Image.fromarray(values)
    found = square(photo, 64, flip=True)
    assert [found[:, 5, x].tolist() for x in (0, 15, 16, 31)] == [[0, 0, 1]] * 2 + [[1, 0, 0]] * 2
    assert torch.equal(found[:, 5, 32], PAD)
    assert torch.equal(square(photo, 64)[:, 5, 0], torch.tensor([1.0, 0, 0]))


@pytest.mark.parametrize("side, expected", [
    (500, 512), (350, 352), (700, 704), (223, 224), (224, 224), (10, 64), (78, 64), (81, 96), (336.4, 352)])
def test_sides_are_the_nearest_multiple_of_32(side: float, expected: int) -> None:
    assert rounded(side) == expected


def labelled(*labels: str, id: str = "a") -> Sample:
    return Sample(id, Path(), "a.png", "train", labels)


def test_targets_by_hand() -> None:
    samples = [labelled("cat"), labelled("cow", "cat"), labelled("dog", "cow"), labelled("dog", "dog")]
    p = targets(samples, ["dog", "cat", "cow"])
    assert p.tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 1], [1, 0, 0]] and p.dtype == torch.float32


@pytest.mark.parametrize("samples, words", [
    ([labelled("cat"), labelled("dog"), labelled(id="empty")],
     'The image "empty" has no label; multi-label training needs at least one'),
    ([labelled("cat"), labelled("dog"), labelled("cat", "cta", id="b")],
     'The image "b" is labelled "cta", which is none of the dataset\'s classes'),
    ([labelled("cat"), labelled("cat")],
     'The class "dog" has no image to train on; leave it out'),
])
def test_what_cannot_be_trained_on_is_named(samples: list[Sample], words: str) -> None:
    with pytest.raises(Problem) as caught:
        targets(samples, ["cat", "dog"])
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_photographs_are_scaled_and_flipped_anew(dataset: Dataset, tiny: Callable[..., Fcn],
                                                 settings: TrainingSettings) -> None:
    """Every side that ratios 0.6 to 1.4 of 160 pixels allow; each image either way round, by itself.

    The same again from the same key.
    """
    wide = dataclasses.replace(settings, side=160, ratios=(0.6, 1.4))
    samples = dataset.split("train")
    source = Photographs(tiny(), samples, wide)
    sides: set[int] = set()
    flips: set[tuple[bool, bool]] = set()
    for key in range(24):
        pixels = source.reading([3, 0], np.random.default_rng(key))()
        side = pixels.shape[-1]
        assert pixels.shape == (2, 3, side, side)
        assert torch.equal(pixels, source.reading([3, 0], np.random.default_rng(key))())
        sides.add(side)
        flips.add((is_flipped(pixels[0], samples[3]), is_flipped(pixels[1], samples[0])))
    assert sides == {96, 128, 160, 192, 224}
    assert flips == {(False, False), (False, True), (True, False), (True, True)}


def is_flipped(pixels: Tensor, sample: Sample) -> bool:
    """Whether a square shows the sample's photograph the other way round; it must show it somehow."""
    for flip in (False, True):
        if torch.equal(pixels, square(sample.photo(), pixels.shape[-1], flip)):
            return flip
    raise AssertionError(sample.id)


def test_cached_views_are_what_the_network_sees(dataset: Dataset, tiny: Callable[..., Fcn],
                                                settings: TrainingSettings) -> None:
    """Ratios 0.5 to 1.7 make three views at 0.8, 1.1 and 1.4 of 128 pixels, the second flipped.

    Scores to half precision.
    """
    fcn, samples = tiny(), dataset.split("train")
    given = dataclasses.replace(settings, side=128, ratios=(0.5, 1.7), frozen="relu1", views=3)
    source = CachedViews(fcn, samples, given)
    rows = [5, 0, 7]
    seen: set[int] = set()
    # the frozen part has stride 4
    sides = {96 // 4: (96, False), 128 // 4: (128, True), 192 // 4: (192, False)}
    assert [view.shape for view in source.views] == [(8, 6, side, side) for side in sides]
    for key in range(12):
        batch = source.reading(rows, np.random.default_rng(key))()
        side, flip = sides[batch.shape[-1]]
        pixels = torch.stack([square(samples[i].photo(), side, flip) for i in rows])
        assert batch.dtype == torch.float16
        torch.testing.assert_close(source.scores(batch), fcn(pixels), rtol=5e-3, atol=5e-3)
        seen.add(side)
    assert len(seen) == 3


def test_a_network_is_cut_in_two(tiny: Callable[..., Fcn]) -> None:
    fcn, x = tiny(), torch.rand(2, 3, 64, 64)
    for name in ("conv1", "relu1", "norm2", "relu2"):
        lower, upper = cut(fcn, name)
        torch.testing.assert_close(fcn.head(upper(lower(fcn.trunk.normalise(x)))), fcn.score_maps(x))
        assert list(dict(lower.named_children()))[-1] == name


class Branched(nn.Module):
    """No plain sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 3, padding=1)
        self.sum = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(self.left(x) + self.right(x))


@pytest.mark.parametrize("frozen, views, words", [
    ("left", 2, "branched: views can be cached only where the trunk is a plain sequence "
                'with a module "left"; set views to 0.'),
    (None, 2, "views: only what a frozen part of the trunk has seen can be cached; name its last module"),
])
def test_views_need_a_plain_sequence_and_a_frozen_part(dataset: Dataset, settings: TrainingSettings,
                                                       frozen: str | None, views: int, words: str) -> None:
    trunk = Network(Branched(), NetworkInfo(
        name="branched",
        output_stride=1,
        features="sum",
        stages={},
        is_response=lambda _name, module: isinstance(module, nn.ReLU),
        normalisation=lambda rgb: rgb,
        linear=None,
    ))
    fcn = fully_convolutional(trunk, dataset.classes)
    given = dataclasses.replace(settings, frozen=frozen, views=views)
    with pytest.raises(Problem) as caught:
        CachedViews(fcn, dataset.split("train"), given)
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_views_of_an_unknown_module_are_one_sentence(tiny: Callable[..., Fcn]) -> None:
    with pytest.raises(Problem, match='plain sequence with a module "relu9"'):
        cut(tiny(), "relu9")
