"""What is known of networks without building them is true of them."""
import pytest

from lib.base.problem import Problem
from lib.nets import NETWORKS, load_network
from lib.nets.modules import MODULES, WITHOUT_CAM, check_cam, check_frozen


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
