"""DCSM from a photograph: raw maps against derivatives taken class by class, planted squares, and what may not change the result."""
from dataclasses import replace

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
    label_map,
    raw_maps,
    saliency,
    segment,
    strongest_is_one,
    to_input,
    with_background,
)

PAIR = torch.tensor([[[4.0, 2.0]], [[1.0, 2.0]]])   # two classes, two pixels


@pytest.mark.parametrize("guided", [False, True])
def test_raw_maps_are_the_derivatives_of_each_class_by_itself(guided: bool) -> None:
    fcn, photo = toy_fcn(0), toy_photo(1)
    settings = replace(SETTINGS, blocks=("block3", "block1", "block2"))
    raw = raw_maps(fcn, photo, settings, SIDE, guided=guided)
    inputs = {scale: to_input(photo, longest) for scale, longest in ((250, 32), (500, 64))}
    scores = torch.stack([fcn(rgb)[0].sigmoid() for rgb in inputs.values()]).amax(0)
    assert raw.size == (96, 64) and raw.candidates.order == scores.argsort(descending=True)[:3].tolist()
    assert 0 < raw.candidates.kept == int((scores > 0.5).sum()) < 3
    assert set(raw.maps) == {(scale, layer) for scale in inputs for layer in ("image", "2", "4", "7")}
    for (scale, layer), maps in raw.maps.items():
        expected = torch.stack([literal_gradients(fcn, inputs[scale], c, guided)[layer] for c in raw.candidates.order])
        assert maps.amax() == 1 and torch.allclose(maps, expected / expected.amax(), atol=1e-5)
        other = torch.stack([literal_gradients(fcn, inputs[scale], c, not guided)[layer] for c in raw.candidates.order])
        assert not torch.allclose(maps, other / other.amax(), atol=1e-2)


def test_the_threshold_decides_what_is_kept() -> None:
    fcn, photo = toy_fcn(0), toy_photo(1)
    assert raw_maps(fcn, photo, replace(SETTINGS, candidates=1), SIDE, threshold=0.999).candidates.kept == 1
    assert raw_maps(fcn, photo, replace(SETTINGS, candidates=1), SIDE, threshold=1e-6).candidates.kept == 4


def test_the_whole_method_is_raw_maps_then_the_segmentation() -> None:
    fcn, photo = toy_fcn(7), toy_photo(2)
    found = dcsm(fcn, photo, SETTINGS, side=SIDE)
    expected = segment(photo, raw_maps(fcn, photo, SETTINGS, SIDE), SETTINGS, BLOCKS)
    assert found.targets == expected.targets and np.array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5)
    other = dcsm(fcn, photo, SETTINGS, side=2 * SIDE)
    assert found.targets != other.targets or not np.allclose(found.maps, other.maps, atol=0.01)


def colour_fcn() -> Fcn:
    """Class 0 answers to red, class 1 to green, class 2 to blue, wherever the colour stands out from the other two."""
    body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(3, 3, 1), nn.ReLU())
    head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 3, 1))
    fcn = Fcn(wrap(body, "7"), head, ("red", "green", "blue"))
    with torch.no_grad():
        for value in fcn.parameters():
            value.zero_()
        body[0].weight[:, :, 1, 1] = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]])
        body[0].bias.fill_(-1.5)   # of pixels in -1..1: 1 + 1 + 1 - 1.5 on its own colour, -1 + 1 + 1 - 1.5 on black
        for layer, bias in ((body[3], -0.2), (body[6], -0.2), (head[1], 0.0)):
            layer.weight[:, :, 0, 0] = torch.eye(3)
            layer.bias.fill_(bias)
        head[1].weight.mul_(9)
        head[1].bias.fill_(-5)
    return fcn


@pytest.mark.parametrize("reading, normaliser", [("paper", "own"), ("paper", "joint"), ("paper", "after"), ("demo", "own")])
def test_planted_squares_are_found(reading: str, normaliser: str) -> None:
    pixels_of = np.zeros((96, 128, 3), dtype=np.uint8)
    pixels_of[16:48, 16:48] = 255, 0, 0
    pixels_of[48:80, 72:112] = 0, 255, 0
    settings = replace(SETTINGS, scales=(500, 1000), blocks=("block2", "block3"), candidates=3, reading=reading, normaliser=normaliser)
    found = dcsm(colour_fcn(), Image.fromarray(pixels_of), settings, side=64)
    assert sorted(found.targets) == [0, 1]
    for labels in (found.labels_no_crf, found.labels):
        assert (labels[20:44, 20:44] == 1).all() and (labels[52:76, 76:108] == 2).all()
        far = np.ones((96, 128), dtype=bool)
        far[8:56, 8:56] = far[40:88, 64:120] = False
        assert (labels[far] == 0).all()


@pytest.mark.parametrize("normaliser", ["own", "joint", "after"])
def test_neither_the_scale_of_derivatives_nor_float16_decides_which_class_wins(normaliser: str) -> None:
    size, settings = (40, 30), replace(SETTINGS, normaliser=normaliser, map_stride=1)
    maps = {(scale, layer): random_maps(4, 30, 40, seed=scale + int(layer)) for scale in SETTINGS.scales for layer in ("2", "4", "7")}
    factors = dict(zip(maps, (1e-9, 3e-5, 1.0, 7e3, 1e-7, 20.0)))   # derivatives at each layer and scale have sizes of their own
    plain = RawMaps({key: strongest_is_one(m) for key, m in maps.items()}, Candidates([0, 1, 2, 3], 3), size)
    kept = replace(plain, maps={key: strongest_is_one(factors[key] * m).half().float() for key, m in maps.items()})
    ours, theirs = (with_background(saliency(raw, settings, BLOCKS).numpy()) for raw in (kept, plain))
    order = np.sort(theirs, 0)
    clear = order[-1] - order[-2] > 0.005
    assert np.abs(ours - theirs).max() < 0.002 and clear.mean() > 0.9
    assert np.array_equal(label_map(ours, [0, 1, 2])[clear], label_map(theirs, [0, 1, 2])[clear])


def test_strongest_is_one_keeps_ratios() -> None:
    assert torch.allclose(strongest_is_one(1e-12 * PAIR), PAIR / 4) and strongest_is_one(torch.zeros(2, 1, 2)).eq(0).all()
