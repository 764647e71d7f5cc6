"""Maps of this suite beside those of every peer, on small networks."""
from dataclasses import replace

import pytest
import torch
from dcsm_toys import toy_fcn
from iam_toys import toy_trunk
from torch import Tensor

from lib.base.problem import Problem
from lib.base.race import Effort, Race, difference
from lib.bench import cams, guided, refiners
from lib.nets.network import Network


def apart(race: Race) -> dict[str, float | None]:
    """How far every peer's maps are from ours; a `Problem` beyond the tolerance."""
    return {peer.name: difference(race, peer) for peer in race.peers}


@pytest.fixture
def network() -> Network:
    return toy_trunk()


def test_one_class_an_image(network: Network) -> None:
    batch = cams.batch_of(network, 3, 64)
    found = apart(cams.alone(batch)) | apart(cams.enlarged(batch))
    assert found.pop("forward pass, no maps") is None
    assert set(found) == {"torch-cam, CAM", "pytorch-grad-cam, GradCAM"} and max(found.values()) < 1e-4


def test_several_classes_an_image(network: Network) -> None:
    batch = cams.batch_of(network, 2, 64, 2)
    assert batch.classes.shape == (2, 2) and (batch.classes[:, 0] != batch.classes[:, 1]).all()
    race = cams.of_several_classes(batch)
    assert race.ours().shape == (2, 2, 64, 64)
    assert apart(race)["pytorch-grad-cam, GradCAM"] < 1e-4


def test_maps_of_other_classes_are_told_apart(network: Network) -> None:
    batch = cams.batch_of(network, 3, 64)
    others = replace(batch, classes=(batch.classes + 1) % len(network.classifier[1]))
    race = replace(cams.alone(batch), peers=cams.alone(others).peers[1:])
    with pytest.raises(Problem, match="maps of torch-cam, CAM differ from ours"):
        apart(race)


def scene() -> guided.Scene:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return guided.Scene(toy_fcn(5), image, torch.tensor([0, 2, 3]), ("2", "4", "7"))


def test_guided_backpropagation_to_the_image() -> None:
    race = guided.race(scene())
    found = apart(race)
    assert len(found) == 4 and max(found.values()) < 1e-5
    assert race.ours().shape == (3, 32, 32)


def test_peers_leave_the_network_as_it_was() -> None:
    """One of them exchanges its rectifiers: it has a copy."""
    one = scene()
    before = [type(module) for module in one.fcn.modules()]
    race = guided.race(one)
    maps: Tensor = race.ours()
    apart(race)
    assert [type(module) for module in one.fcn.modules()] == before and torch.equal(race.ours(), maps)


def test_the_scene_of_the_benchmark_has_nine_layers() -> None:
    one = guided.scene_of(32)
    assert len(one.layers) == 9
    scores, layers = one.fcn.scores_and_layers(one.image, one.layers)
    assert list(layers) == list(guided.LAYERS) and scores.shape[1] >= guided.CLASSES


def test_the_guided_filter_inside() -> None:
    race = refiners.guided(28)
    assert apart(race)["OpenCV, guidedFilter"] < 1e-5


def test_the_dense_crf_keeps_the_disc() -> None:
    race, = refiners.crf_races(Effort(quick=True))
    refined = race.ours()
    assert refined[28, 28] > 0.9 > 0.1 > refined[0, 0]
