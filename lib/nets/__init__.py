"""Classification networks whose maps the papers read.

Light to import: torch comes with the first network that is built, torchvision and timm with the first of
theirs.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.problem import Problem, nearest

if TYPE_CHECKING:
    from lib.nets.network import Network

Builder = Callable[..., "Network"]
COMMON: tuple[str, ...] = ("output_stride", "mirror", "pretrained")


def _efficientnet() -> Builder:
    from lib.nets.efficientnet import efficientnet_lite0
    return efficientnet_lite0


def _googlenet_bvlc() -> Builder:
    from lib.nets.googlenet import googlenet_bvlc
    return googlenet_bvlc


def _googlenet_gap() -> Builder:
    from lib.nets.googlenet import googlenet_gap
    return googlenet_gap


def _vgg16_conv() -> Builder:
    from lib.nets.vgg import vgg16_conv
    return vgg16_conv


def _torchvision_googlenet() -> Builder:
    from lib.nets.torchvision_nets import torchvision_googlenet
    return torchvision_googlenet


def _torchvision_vgg16() -> Builder:
    from lib.nets.torchvision_nets import torchvision_vgg16
    return torchvision_vgg16


def _torchvision_resnet50() -> Builder:
    from lib.nets.torchvision_nets import torchvision_resnet50
    return torchvision_resnet50


def _torchvision_inception_v3() -> Builder:
    from lib.nets.torchvision_nets import torchvision_inception_v3
    return torchvision_inception_v3


# name -> a function that imports and returns the builder
NETWORKS: dict[str, Callable[[], Builder]] = {
    "efficientnet_lite0": _efficientnet,
    "googlenet_bvlc": _googlenet_bvlc,
    "googlenet_gap": _googlenet_gap,
    "vgg16_conv": _vgg16_conv,
    "torchvision_googlenet": _torchvision_googlenet,
    "torchvision_vgg16": _torchvision_vgg16,
    "torchvision_resnet50": _torchvision_resnet50,
    "torchvision_inception_v3": _torchvision_inception_v3,
}


def load_network(name: str, output_stride: int | None = None, mirror: Path | None = None,
                 pretrained: bool = True, **options: Any) -> Network:
    """Build a network by name, in evaluation mode, on the CPU, parameters trainable.

    output_stride   None is the network's default: 16 for EfficientNet, the GoogLeNets and VGG, 32 for the
                    others
    mirror          the folder that holds BVLC's and VGG's weights (else the environment variable MIRROR, else
                    ../shared/data)
    pretrained      False leaves the weights random
    options         `tail="dilated" | "undilated"` (efficientnet_lite0, googlenet_bvlc, torchvision_googlenet,
                    torchvision_resnet50) says how the layers after a removed stride are read; `weights=FILE`
                    (googlenet_gap, torchvision_*) is a state dict of one's own
    """
    if name not in NETWORKS:
        raise Problem(f'There is no network "{name}"{nearest(name, NETWORKS)}')
    build = NETWORKS[name]()
    known = inspect.signature(build).parameters
    own = [option for option in known if option not in COMMON]
    for option in options:
        if option not in known:
            raise Problem(f'{name} has no option "{option}"{nearest(option, own)}')
    if "mirror" in known:
        options["mirror"] = mirror
    return build(output_stride=output_stride, pretrained=pretrained, **options)


def with_weights(network: Network) -> Network:
    """The network, wherever results are made with it: one with random weights is refused."""
    if network.weights and not network.random:
        return network
    what = f"its layers {network.random} have" if network.random else "it has"
    raise Problem(f"{network.name}: {what} no published weights and would be random, so that every run gave "
                  "other results; give weights of the whole network, or name another one, such as "
                  "googlenet_bvlc.")
