"""The convolutions of VGG-16 with the weights of its authors; keys as in torchvision's `vgg16().features`."""
from functools import partial
from pathlib import Path

from torch import nn

from lib.base.paths import mirror_folder
from lib.nets.googlenet import bgr_minus_mean
from lib.nets.network import Network, NetworkInfo, choose, stages_of
from lib.nets.weights import fill, load_safetensors

FILE = "weights/vgg16_conv.fp16.safetensors"
SHA256 = "7be7a830dd26a2c22e0fbc88a3d187fde282a9cde74916e0db32ffd846f4336c"
MEAN_BGR: tuple[float, ...] = (103.939, 116.779, 123.68)
BLOCKS: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256, 256, 256),
                                       (512, 512, 512), (512, 512, 512))
# where blocks 1-4 are pooled, and the last ReLU (pool5 is dropped)
STAGES = stages_of("4", "9", "16", "23", "29")


def vgg16_conv(output_stride: int | None = None, mirror: Path | None = None,
               pretrained: bool = True) -> Network:
    """VGG-16's 13 convolutions without a classifier, at output stride 16 (default) or 8.

    At stride 16 pool5 is dropped, at stride 8 pool4 too. At stride 8 nothing is dilated (CSoA and CAM drop
    the pooling and train on). The forward pass returns the last map.
    """
    stride = 16 if output_stride is None else output_stride
    choose("vgg16_conv", "output_stride", stride, (16, 8))
    body = _convolutions(stride)
    weights = {}
    if pretrained:
        path = mirror_folder(mirror) / FILE
        fill(body, load_safetensors(path, SHA256), path)
        weights = {"file": path.name, "sha256": SHA256}
    return Network(body, NetworkInfo(
        name="vgg16_conv",
        output_stride=stride,
        features="29",
        stages=STAGES,
        is_response=_is_response,
        normalisation=partial(bgr_minus_mean, mean=MEAN_BGR),
        linear=None,
        weights=weights,
    ))


def _convolutions(stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for number, block in enumerate(BLOCKS, start=1):
        for maps in block:
            layers += [nn.Conv2d(inputs, maps, 3, padding=1), nn.ReLU()]
            inputs = maps
        if number == 4 and stride == 8:
            layers.append(nn.Identity())   # in place of pool4, so that the layers after it keep their names
        elif number < 5:
            layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def _is_response(_name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.ReLU)
