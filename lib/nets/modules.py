"""What params.yaml may ask of networks, known without torch; a test compares it with the networks."""
from lib.base.problem import Problem, nearest

# Without a linear layer after a global average pooling there is no exact class activation map.
WITHOUT_CAM: tuple[str, ...] = ("vgg16_conv", "torchvision_vgg16")
# With layers that nobody has published weights of: no result may come from them as they are.
RANDOM: tuple[str, ...] = ("googlenet_gap",)

_CAFFE: tuple[str, ...] = (
    "conv1_7x7_s2", "pool1_3x3_s2", "pool1_norm1", "conv2_3x3_reduce", "conv2_3x3", "conv2_norm2",
    "pool2_3x3_s2",
    "inception_3a", "inception_3b", "pool3_3x3_s2",
    "inception_4a", "inception_4b", "inception_4c", "inception_4d", "inception_4e")
_EFFICIENTNET: tuple[str, ...] = ("conv_stem", "bn1", *(f"blocks.{i}" for i in range(7)), "conv_head", "bn2")
_TORCHVISION_GOOGLENET: tuple[str, ...] = (
    "conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3",
    "inception4a", "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4",
    "inception5a", "inception5b")
_INCEPTION: tuple[str, ...] = (
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3",
    "maxpool2",
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    "Mixed_7a", "Mixed_7b", "Mixed_7c")

# Modules of a trunk, in its order, up to which training can leave it as it is.
MODULES: dict[str, tuple[str, ...]] = {
    "efficientnet_lite0": _EFFICIENTNET,
    "googlenet_bvlc": (*_CAFFE, "pool4_3x3_s2", "inception_5a", "inception_5b"),
    "googlenet_gap": (*_CAFFE, "CAM_conv"),
    "vgg16_conv": tuple(str(i) for i in range(30)),
    "torchvision_googlenet": _TORCHVISION_GOOGLENET,
    "torchvision_vgg16": tuple(f"features.{i}" for i in range(30)),
    "torchvision_resnet50": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "torchvision_inception_v3": _INCEPTION,
}


def check_frozen(where: str, network: str, frozen: str | None) -> None:
    """Refuse a module that the network has not; `where` is the place in params.yaml."""
    modules = MODULES.get(network, ())
    if frozen is not None and modules and frozen not in modules:
        raise Problem(f'{where}.frozen: {network} has no module "{frozen}"{nearest(frozen, modules)}')


def check_cam(where: str, networks: list[str]) -> None:
    """Refuse networks that have no class activation maps, or random ones."""
    for network in networks:
        if network in RANDOM:
            raise Problem(f'{where}: "{network}" has layers without published weights, which would be '
                          "random; name another network, such as googlenet_bvlc.")
        if network in WITHOUT_CAM:
            raise Problem(f'{where}: "{network}" has no linear layer after a global average pooling, so it '
                          "has no class activation maps; name one that ends so, such as googlenet_bvlc.")
