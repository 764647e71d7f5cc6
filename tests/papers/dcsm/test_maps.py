"""Raw maps of one image: what a file holds, and that it is what the method computes."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dcsm_toys import CLASSES, MAPS, SETTINGS, SIDE, literal_gradients, toy_fcn, toy_photo
from sentences import is_one_sentence

from lib.base.problem import Problem
from lib.nets import load_network
from lib.nets.fcn import fully_convolutional
from lib.papers.dcsm.maps import Key, image_maps, load_raw
from lib.papers.dcsm.method import raw_maps, strongest_is_one, to_input
from lib.papers.dcsm.settings import MapsSettings

PHOTO = toy_photo(1)   # 96 x 64: at scales 250, 500 and 750 inputs of 32 x 32, 64 x 32 and 96 x 64


# what a file holds

def shapes(arrays: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {key: value.shape for key, value in arrays.items() if "|" in key}


def simonyans(settings: MapsSettings) -> list[str]:
    """The names of Simonyan's maps in a file."""
    arrays = image_maps(toy_fcn(4), PHOTO, settings, SIDE, ablations=False)
    return [name for name in arrays if name.startswith("simonyan")]


def test_names_of_arrays_are_read_back() -> None:
    key = Key("wide", 750, "layer3.0")
    assert str(key) == "wide|750|layer3.0" and Key.read(str(key)) == key
    assert Key.read("scores") is None


def test_main_maps_are_guided_ones_and_simonyans() -> None:
    arrays = image_maps(toy_fcn(4), PHOTO, MAPS, SIDE, ablations=False)
    assert int(arrays["kept"]) == 1
    assert arrays["size"].tolist() == [96, 64]
    assert arrays["scores"].shape == (2, 4)
    assert sorted(arrays["order"].tolist()) == [0, 1, 2, 3]   # as many as the network has, of the 15 wanted
    assert shapes(arrays) == {
        "guided|250|2": (2, 16, 16), "guided|250|4": (2, 16, 16), "guided|250|7": (2, 8, 8),
        "guided|500|2": (2, 16, 32), "guided|500|4": (2, 16, 32), "guided|500|7": (2, 8, 16),
        "simonyan|500|image": (1, 16, 32)}   # of the targets alone, at half the resolution


def test_ablations_are_the_lower_blocks_other_scales_many_candidates_and_plain_ones() -> None:
    arrays = image_maps(toy_fcn(4), PHOTO, replace(MAPS, wide=3), SIDE, ablations=True)
    assert shapes(arrays) == {
        "wide|250|2": (3, 16, 16), "wide|250|4": (3, 16, 16), "wide|250|7": (3, 8, 8),
        "wide|500|2": (3, 16, 32), "wide|500|4": (3, 16, 32), "wide|500|7": (3, 8, 16),
        "plain|250|2": (2, 16, 16), "plain|250|4": (2, 16, 16), "plain|250|7": (2, 8, 8),
        "plain|500|2": (2, 16, 32), "plain|500|4": (2, 16, 32), "plain|500|7": (2, 8, 16),
        "guided|250|image": (2, 16, 16), "guided|500|image": (2, 16, 32),
        "guided|750|2": (2, 32, 48), "guided|750|4": (2, 32, 48), "guided|750|7": (2, 16, 24)}
    assert len(arrays["order"]) == 3


def test_the_threshold_decides_which_classes_are_targets() -> None:
    fcn = toy_fcn(0)
    for threshold, expected in ((0.999, 1), (1e-6, 4)):
        settings = replace(MAPS, threshold=threshold, candidates=1)
        arrays = image_maps(fcn, PHOTO, settings, SIDE, ablations=False)
        assert int(arrays["kept"]) == expected


@pytest.mark.parametrize("wide, expected", [(1, 2), (2, 2), (3, 3), (4, 4), (15, 4)])
def test_wide_is_no_more_than_the_classes_and_no_less_than_the_targets(wide: int, expected: int) -> None:
    """Two of four classes exceed a threshold between the second and the third."""
    scores = np.sort(image_maps(toy_fcn(4), PHOTO, MAPS, SIDE, False)["scores"].max(0))
    settings = replace(MAPS, wide=wide, threshold=float(scores[1] + scores[2]) / 2, candidates=1)
    arrays = image_maps(toy_fcn(4), PHOTO, settings, SIDE, ablations=True)
    assert int(arrays["kept"]) == 2
    for name, shape in shapes(arrays).items():
        assert shape[0] == (expected if name.startswith("wide") else 2), name


@pytest.mark.parametrize("ablations", [False, True])
def test_maps_are_float16_and_the_strongest_is_one(ablations: bool) -> None:
    for key, value in image_maps(toy_fcn(3), PHOTO, MAPS, SIDE, ablations).items():
        if "|" in key:
            assert value.dtype == np.float16 and value.max() == 1 and value.min() >= 0, key


def test_scores_are_those_of_the_main_scales() -> None:
    fcn = toy_fcn(2)
    expected = torch.cat([fcn(to_input(PHOTO, longest)).sigmoid() for longest in (32, 64)]).numpy()
    for ablations in (False, True):
        arrays = image_maps(fcn, PHOTO, MAPS, SIDE, ablations)
        np.testing.assert_allclose(arrays["scores"], expected, atol=1e-6)
        assert arrays["order"].tolist() == (-expected.max(0)).argsort().tolist()
        assert int(arrays["kept"]) == (expected.max(0) > 0.5).sum()


# that they are right

def saved(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(folder / "one.npz", **arrays)
    return folder / "one.npz"


@pytest.mark.parametrize("seed", [0, 4, 7])
def test_guided_maps_are_those_of_the_method(seed: int, tmp_path: Path) -> None:
    fcn = toy_fcn(seed)
    stored = load_raw(saved(tmp_path, image_maps(fcn, PHOTO, MAPS, SIDE, False)))
    expected = raw_maps(fcn, PHOTO, replace(SETTINGS, candidates=2), SIDE)
    assert stored.candidates == expected.candidates and stored.size == expected.size
    assert set(stored.maps) == set(expected.maps)
    for key, maps in expected.maps.items():
        assert stored.maps[key].dtype == torch.float32
        assert torch.allclose(stored.maps[key], maps, atol=1e-3)


@pytest.mark.parametrize("kind, guided, number, scales", [
    ("wide", True, 4, (250, 500)), ("plain", False, 2, (250, 500)), ("guided", True, 2, (750,))])
def test_ablation_maps_are_the_derivatives_of_each_class(kind: str, guided: bool, number: int,
                                                         scales: tuple[int, ...], tmp_path: Path) -> None:
    """Classes come in the order of their scores at the main scales, whichever scale the maps are of."""
    fcn = toy_fcn(4)
    stored = load_raw(saved(tmp_path, image_maps(fcn, PHOTO, MAPS, SIDE, True)), kind)
    order = load_raw(tmp_path / "one.npz", "wide").candidates.order[:number]
    assert stored.candidates.order == order and stored.candidates.kept == 1
    for scale in scales:
        rgb = to_input(PHOTO, {250: 32, 500: 64, 750: 96}[scale])
        one_by_one = [literal_gradients(fcn, rgb, c, guided) for c in order]
        for layer in ("2", "4", "7"):
            expected = strongest_is_one(torch.stack([gradients[layer] for gradients in one_by_one]))
            maps = stored.maps[scale, layer]
            assert maps.shape == expected.shape and torch.allclose(maps, expected, atol=1e-3)


def test_maps_at_the_image_have_half_its_resolution(tmp_path: Path) -> None:
    fcn = toy_fcn(4)
    stored = load_raw(saved(tmp_path, image_maps(fcn, PHOTO, MAPS, SIDE, True)))
    for scale, longest in ((250, 32), (500, 64)):
        rgb = to_input(PHOTO, longest)
        of_classes = [literal_gradients(fcn, rgb, c, True)["image"] for c in stored.candidates.order]
        full = torch.stack(of_classes)
        halved = (full[:, ::2, ::2] + full[:, 1::2, ::2] + full[:, ::2, 1::2] + full[:, 1::2, 1::2]) / 4
        assert torch.allclose(stored.maps[scale, "image"], halved / halved.amax(), atol=1e-3)


def test_simonyan_is_the_plain_gradient_at_the_image(tmp_path: Path) -> None:
    """For every target the strongest of |red|, |green| and |blue|, then the mean of 2 x 2 pixels.

    ReLUs are unguided, and there is one scale.
    """
    fcn, rgb = toy_fcn(4), to_input(PHOTO, 64)
    settings = replace(MAPS, threshold=1e-6)   # all four are targets
    stored = load_raw(saved(tmp_path, image_maps(fcn, PHOTO, settings, SIDE, False)), "simonyan")
    expected = []
    for c in stored.candidates.order:
        image = rgb.clone().requires_grad_()
        gradient, = torch.autograd.grad(fcn.score_maps(image)[:, c].sum(), image)
        strongest = gradient[0].abs().numpy().max(0)
        expected.append(strongest.reshape(16, 2, 32, 2).mean((1, 3)))
    assert list(stored.maps) == [(500, "image")]
    assert stored.candidates.kept == len(stored.candidates.order) == 4
    maps = stored.maps[500, "image"].numpy()
    np.testing.assert_allclose(maps, np.stack(expected) / np.max(expected), atol=1e-3)


def test_with_an_even_number_of_scales_the_upper_middle_one_is_simonyans() -> None:
    assert simonyans(replace(MAPS, scales=(750, 250, 500))) == ["simonyan|500|image"]
    assert simonyans(replace(MAPS, scales=(750, 250, 500, 1000))) == ["simonyan|750|image"]


def test_a_real_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = load_network("efficientnet_lite0", pretrained=False)
    fcn = fully_convolutional(trunk, CLASSES).requires_grad_(False)
    chosen = {"scales": (500,), "blocks": ("block3", "block5")}
    settings = replace(MAPS, other_scales=(250,), other_blocks=("block1",), **chosen)
    stored = load_raw(saved(tmp_path, image_maps(fcn, PHOTO, settings, SIDE, False)))
    expected = raw_maps(fcn, PHOTO, replace(SETTINGS, candidates=2, **chosen), SIDE)
    assert set(stored.maps) == set(expected.maps) and len(stored.maps) == 7
    assert stored.candidates == expected.candidates
    assert all(torch.allclose(stored.maps[key], maps, atol=1e-3) for key, maps in expected.maps.items())


def test_missing_kind_is_a_problem(tmp_path: Path) -> None:
    path = saved(tmp_path, image_maps(toy_fcn(4), PHOTO, MAPS, SIDE, False))
    for kind in ("wide", "plain"):
        with pytest.raises(Problem, match=f'holds no maps of the kind "{kind}"') as problem:
            load_raw(path, kind)
        assert is_one_sentence(problem.value)
