"""DCSM from a photograph: raw maps against derivatives taken class by class, and planted squares.

And what may not change the result.
"""
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from dcsm_toys import BLOCKS, SETTINGS, SIDE, literal_gradients, random_maps, toy_fcn, toy_photo, wrap
from PIL import Image
from torch import nn

from lib.nets.fcn import Fcn
from lib.papers.dcsm.method import (
    Candidates,
    RawMaps,
    dcsm,
    forward_pass,
    label_map,
    raw_maps,
    saliency,
    segment,
    strongest_is_one,
    to_input,
    with_background,
)

PAIR = torch.tensor([[[4.0, 2.0]], [[1.0, 2.0]]])   # two classes, two pixels


LAYERS: tuple[str, ...] = ("image", "2", "4", "7")   # of blocks 1 to 3


def literal_maps(fcn: Fcn, rgb: torch.Tensor, layer: str, classes: list[int], guided: bool) -> torch.Tensor:
    """Derivatives at one layer, a forward and a backward pass for each class, divided by their maximum."""
    maps = torch.stack([literal_gradients(fcn, rgb, c, guided)[layer] for c in classes])
    return maps / maps.amax()


def test_raw_maps_are_the_derivatives_of_each_class_by_itself() -> None:
    fcn, photo = toy_fcn(0), toy_photo(1)
    settings = replace(SETTINGS, blocks=("block3", "block1", "block2"))
    raw = raw_maps(fcn, photo, settings, SIDE)
    inputs = {250: to_input(photo, 32), 500: to_input(photo, 64)}
    scores = torch.stack([fcn(rgb)[0].sigmoid() for rgb in inputs.values()]).amax(0)
    order = scores.argsort(descending=True)[:3].tolist()
    assert raw.size == (96, 64) and raw.candidates.order == order
    assert 0 < raw.candidates.kept == int((scores > 0.5).sum()) < 3
    assert set(raw.maps) == {(scale, layer) for scale in inputs for layer in LAYERS}
    for (scale, layer), maps in raw.maps.items():
        assert maps.amax() == 1
        assert torch.allclose(maps, literal_maps(fcn, inputs[scale], layer, order, True), atol=1e-5)
        assert not torch.allclose(maps, literal_maps(fcn, inputs[scale], layer, order, False), atol=1e-2)


@pytest.mark.parametrize("guided", [False, True])
def test_a_forward_pass_goes_back_as_it_is_told(guided: bool) -> None:
    fcn, photo = toy_fcn(0), toy_photo(1)
    classes = [3, 0, 2]
    gradients = forward_pass(fcn, photo, 64, LAYERS, guided).gradients(torch.tensor([classes]))
    rgb = to_input(photo, 64)
    assert list(gradients) == list(LAYERS)
    for layer, maps in gradients.items():
        maps = maps[0] / maps.amax()
        assert torch.allclose(maps, literal_maps(fcn, rgb, layer, classes, guided), atol=1e-5)
        assert not torch.allclose(maps, literal_maps(fcn, rgb, layer, classes, not guided), atol=1e-2)


def test_the_whole_method_is_raw_maps_then_the_segmentation() -> None:
    fcn, photo = toy_fcn(7), toy_photo(2)
    whole = dcsm(fcn, photo, SETTINGS, side=SIDE)
    expected = segment(photo, raw_maps(fcn, photo, SETTINGS, SIDE), SETTINGS, BLOCKS)
    assert whole.targets == expected.targets and np.array_equal(whole.labels, expected.labels)
    np.testing.assert_allclose(whole.maps, expected.maps, atol=1e-5)
    other = dcsm(fcn, photo, SETTINGS, side=2 * SIDE)
    assert whole.targets != other.targets or not np.allclose(whole.maps, other.maps, atol=0.01)


def colour_fcn() -> Fcn:
    """Class 0 answers to red, class 1 to green, class 2 to blue: where it stands out from the others."""
    body = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(3, 3, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(3, 3, 1), nn.ReLU())
    head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 3, 1))
    fcn = Fcn(wrap(body, "7"), head, ("red", "green", "blue"))
    with torch.no_grad():
        for value in fcn.parameters():
            value.zero_()
        body[0].weight[:, :, 1, 1] = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]])
        # Of pixels in -1..1: 1 + 1 + 1 - 1.5 on its own colour, -1 + 1 + 1 - 1.5 on black.
        body[0].bias.fill_(-1.5)
        for layer, bias in ((body[3], -0.2), (body[6], -0.2), (head[1], 0.0)):
            layer.weight[:, :, 0, 0] = torch.eye(3)
            layer.bias.fill_(bias)
        head[1].weight.mul_(9)
        head[1].bias.fill_(-5)
    return fcn


@pytest.mark.parametrize("reading, normaliser", [
    ("paper", "own"), ("paper", "joint"), ("paper", "after"), ("demo", "own")])
def test_planted_squares_are_found(reading: str, normaliser: str) -> None:
    pixels = np.zeros((96, 128, 3), dtype=np.uint8)
    pixels[16:48, 16:48] = 255, 0, 0
    pixels[48:80, 72:112] = 0, 255, 0
    settings = replace(SETTINGS, scales=(500, 1000), blocks=("block2", "block3"), candidates=3,
                       reading=reading, normaliser=normaliser)
    segmentation = dcsm(colour_fcn(), Image.fromarray(pixels), settings, side=64)
    assert sorted(segmentation.targets) == [0, 1]
    for labels in (segmentation.labels_no_crf, segmentation.labels):
        assert (labels[20:44, 20:44] == 1).all() and (labels[52:76, 76:108] == 2).all()
        far = np.ones((96, 128), dtype=bool)
        far[8:56, 8:56] = far[40:88, 64:120] = False
        assert (labels[far] == 0).all()


@pytest.mark.parametrize("normaliser", ["own", "joint", "after"])
def test_neither_the_scale_of_derivatives_nor_float16_decides_which_class_wins(normaliser: str) -> None:
    """Derivatives at each layer and scale have sizes of their own."""
    settings = replace(SETTINGS, normaliser=normaliser, map_stride=1)
    sizes = iter((1e-9, 3e-5, 1.0, 7e3, 1e-7, 20.0))
    plain, rounded = {}, {}
    for scale, layer in product(SETTINGS.scales, ("2", "4", "7")):
        maps = random_maps(4, 30, 40, seed=scale + int(layer))
        plain[scale, layer] = strongest_is_one(maps)
        rounded[scale, layer] = strongest_is_one(next(sizes) * maps).half().float()
    exact = RawMaps(plain, Candidates([0, 1, 2, 3], 3), (40, 30))
    stored = replace(exact, maps=rounded)
    theirs = with_background(saliency(exact, settings, BLOCKS).numpy())
    ours = with_background(saliency(stored, settings, BLOCKS).numpy())
    order = np.sort(theirs, 0)
    clear = order[-1] - order[-2] > 0.005
    assert np.abs(ours - theirs).max() < 0.002 and clear.mean() > 0.9
    labels = label_map(ours, [0, 1, 2])
    assert np.array_equal(labels[clear], label_map(theirs, [0, 1, 2])[clear])


def test_strongest_is_one_keeps_ratios() -> None:
    assert torch.allclose(strongest_is_one(1e-12 * PAIR), PAIR / 4)
    assert strongest_is_one(torch.zeros(2, 1, 2)).eq(0).all()
