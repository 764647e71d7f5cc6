"""What is known of networks without building them is true of them."""
from pathlib import Path

import pytest

from lib.base.problem import Problem
from lib.nets import NETWORKS, load_network, with_weights
from lib.nets.modules import MODULES, RANDOM, WITHOUT_CAM, check_cam, check_frozen


@pytest.mark.parametrize("name", NETWORKS)
def test_modules_are_those_of_the_trunk_in_its_order(name: str) -> None:
    network = load_network(name, pretrained=False)
    names = list(dict(network.body.named_modules()))
    places = [names.index(module) for module in MODULES[name]]
    assert places == sorted(places) and MODULES[name][-1] == network.features
    assert set(network.stages.values()) <= set(MODULES[name])
    if name in WITHOUT_CAM:
        with pytest.raises(Problem, match="no single linear layer"):
            assert network.classifier
    else:
        assert len(network.classifier) == 2


def test_what_a_network_has_not_is_named() -> None:
    check_frozen("x", "vgg16_conv", "23")
    check_frozen("x", "vgg16_conv", None)
    words = '^x.frozen: efficientnet_lite0 has no module "block.2"; did you mean "blocks.2"'
    with pytest.raises(Problem, match=words):
        check_frozen("x", "efficientnet_lite0", "block.2")
    check_cam("x", ["googlenet_bvlc"])
    with pytest.raises(Problem, match='^x: "vgg16_conv" has no linear layer'):
        check_cam("x", ["googlenet_bvlc", "vgg16_conv"])
    with pytest.raises(Problem, match='^x: "googlenet_gap" has layers without published weights'):
        check_cam("x", ["googlenet_gap"])


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_random_weights_make_no_results(name: str) -> None:
    with pytest.raises(Problem, match=f"{name}: it has no published weights and would be random"):
        with_weights(load_network(name, pretrained=False))


@pytest.mark.mirror
@pytest.mark.parametrize("name", [*RANDOM, "googlenet_bvlc", "vgg16_conv"])
def test_layers_with_random_weights_are_known(name: str, mirror: Path) -> None:
    network = load_network(name, mirror=mirror)
    assert bool(network.random) == (name in RANDOM)
    if network.random:
        with pytest.raises(Problem, match="its layers CAM_conv and CAM_fc have no published weights"):
            with_weights(network)
    else:
        assert with_weights(network) is network
