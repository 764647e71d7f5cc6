"""BVLC GoogLeNet (no batch norm) and the GoogLeNet-GAP that rCAM cuts from it.

Parameter names are those of the mirror's weights.
"""
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.base.files import sha256
from lib.base.paths import mirror_folder
from lib.nets.network import Network, NetworkInfo, choose, stages_of
from lib.nets.weights import fill, imagenet_classes, load_safetensors, load_state_dict

FILE = "weights/googlenet_bvlc.fp16.safetensors"
SHA256 = "79c2f7908af8b5c913fafc71e09402cdc4ccf6df09f279c4a7351007a7608930"
MEAN_BGR: tuple[float, ...] = (104.0, 117.0, 123.0)
STAGES = stages_of("conv1_7x7_s2", "conv2_3x3", "inception_3b", "inception_4e")

# maps of c1x1, c3x3_reduce, c3x3, c5x5_reduce, c5x5, pool_proj
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


class ConvReLU(nn.Conv2d):
    """A convolution and its ReLU: the module whose output is a set of response maps."""

    def __init__(self, inputs: int, outputs: int, size: int, **more: int) -> None:
        super().__init__(inputs, outputs, size, **more)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(super().forward(x))


class ChannelNorm(nn.Module):
    """Caffe's local response norm over 5 channels, x / (1 + 1e-4/5 * sum of squares)^0.75.

    The sum is a 1x1 convolution with a band matrix: three times faster on a CPU than nn.LocalResponseNorm,
    equal to rounding.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        channel = torch.arange(maps)
        band = (channel[:, None] - channel).abs().le(2).float() * (1e-4 / 5)
        self.register_buffer("band", band[:, :, None, None], persistent=False)
        self.register_buffer("one", torch.ones(maps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        root = torch.rsqrt(nn.functional.conv2d(x * x, self.band, self.one))
        return x * (root * torch.sqrt(root))


class Inception(nn.Module):
    """Four branches side by side.

    With `dilation` 2 every 3x3 and 5x5 window, the pooling's too, reads each second position.
    """

    def __init__(self, inputs: int, maps: tuple[int, ...], dilation: int = 1) -> None:
        super().__init__()
        c1, c3_reduce, c3, c5_reduce, c5, proj = maps
        self.c1x1 = ConvReLU(inputs, c1, 1)
        self.c3x3_reduce = ConvReLU(inputs, c3_reduce, 1)
        self.c3x3 = ConvReLU(c3_reduce, c3, 3, padding=dilation, dilation=dilation)
        self.c5x5_reduce = ConvReLU(inputs, c5_reduce, 1)
        self.c5x5 = ConvReLU(c5_reduce, c5, 5, padding=2 * dilation, dilation=dilation)
        # padded with zeros, as good as the usual -inf here: what is pooled went through a ReLU
        self.pool = nn.Sequential(nn.ZeroPad2d(dilation), nn.MaxPool2d(3, 1, dilation=dilation))
        self.pool_proj = ConvReLU(inputs, proj, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.c1x1(x),
            self.c3x3(self.c3x3_reduce(x)),
            self.c5x5(self.c5x5_reduce(x)),
            self.pool_proj(self.pool(x)),
        ]
        return torch.cat(branches, 1)


def googlenet_bvlc(output_stride: int | None = None, mirror: Path | None = None, pretrained: bool = True,
                   tail: str = "dilated") -> Network:
    """BVLC GoogLeNet at output stride 32 (as published) or 16 (default).

    At stride 16 pool4 has stride 1, and 5a and 5b are dilated by 2 or left as they are, by `tail`. Dilated,
    the map at stride 16 holds the one at stride 32 exactly, at every second position.
    """
    stride = 16 if output_stride is None else output_stride
    choose("googlenet_bvlc", "output_stride", stride, (32, 16))
    choose("googlenet_bvlc", "tail", tail, ("dilated", "undilated"))
    body = _trunk()
    pool4 = _pool() if stride == 32 else nn.MaxPool2d(3, 1, padding=1)
    body.add_module("pool4_3x3_s2", pool4)
    dilation = 2 if stride == 16 and tail == "dilated" else 1
    _add_inceptions(body, ("5a", "5b"), inputs=832, dilation=dilation)
    _add_head(body, "loss3_classifier")
    weights = {}
    if pretrained:
        path = mirror_folder(mirror) / FILE
        fill(body, load_safetensors(path, SHA256), path)
        weights = {"file": path.name, "sha256": SHA256}
    return Network(body, _info("googlenet_bvlc", stride, "inception_5b", "loss3_classifier", weights))


def googlenet_gap(output_stride: int | None = None, mirror: Path | None = None, pretrained: bool = True,
                  weights: Path | None = None) -> Network:
    """GoogLeNet-GAP (rCAM, section 3.1), at output stride 16.

    BVLC GoogLeNet is cut after inception_4e; a 3x3 convolution to 1024 maps in 2 groups follows, global
    average pooling and one linear layer. The ImageNet weights of that head (CAM_conv, CAM_fc) are not to be
    had: `pretrained` fills the trunk from BVLC GoogLeNet and leaves the head random, to be trained. `weights`
    is a state dict of the whole network for those who have one.
    """
    choose("googlenet_gap", "output_stride", 16 if output_stride is None else output_stride, (16,))
    body = _trunk()
    source: dict[str, str] = {}
    head = ""
    if pretrained and weights is None:
        path = mirror_folder(mirror) / FILE
        own = body.state_dict().keys()
        published = load_safetensors(path, SHA256)
        fill(body, {name: value for name, value in published.items() if name in own}, path)
        source = {"file": path.name, "sha256": SHA256, "note": "trunk only; CAM_conv and CAM_fc are random"}
        head = "CAM_conv and CAM_fc"
    body.add_module("CAM_conv", ConvReLU(832, 1024, 3, padding=1, groups=2))
    _add_head(body, "CAM_fc")
    if weights is not None:
        fill(body, load_state_dict(weights), weights)
        source = {"file": Path(weights).name, "sha256": sha256(Path(weights))}
    return Network(body, _info("googlenet_gap", 16, "CAM_conv", "CAM_fc", source, head))


def bgr_minus_mean(rgb: Tensor, mean: tuple[float, float, float]) -> Tensor:
    """RGB in 0..1 -> BGR in 0..255 minus the mean (Caffe's networks)."""
    return 255.0 * rgb.flip(1) - rgb.new_tensor(mean).view(1, 3, 1, 1)


def _trunk() -> nn.Sequential:
    """Everything up to inception_4e."""
    body = nn.Sequential()
    body.add_module("conv1_7x7_s2", ConvReLU(3, 64, 7, stride=2, padding=3))
    body.add_module("pool1_3x3_s2", _pool())
    body.add_module("pool1_norm1", ChannelNorm(64))
    body.add_module("conv2_3x3_reduce", ConvReLU(64, 64, 1))
    body.add_module("conv2_3x3", ConvReLU(64, 192, 3, padding=1))
    body.add_module("conv2_norm2", ChannelNorm(192))
    body.add_module("pool2_3x3_s2", _pool())
    _add_inceptions(body, ("3a", "3b"), inputs=192)
    body.add_module("pool3_3x3_s2", _pool())
    _add_inceptions(body, ("4a", "4b", "4c", "4d", "4e"), inputs=480)
    return body


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _add_inceptions(body: nn.Sequential, blocks: tuple[str, ...], inputs: int, dilation: int = 1) -> None:
    for block in blocks:
        body.add_module(f"inception_{block}", Inception(inputs, INCEPTIONS[block], dilation))
        c1, _, c3, _, c5, proj = INCEPTIONS[block]
        inputs = c1 + c3 + c5 + proj


def _add_head(body: nn.Sequential, linear: str) -> None:
    """Global average pooling (whatever the input's size) and the linear layer."""
    body.add_module("pool5", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    body.add_module("dropout", nn.Dropout(0.4))
    body.add_module(linear, nn.Linear(1024, 1000))


def _info(name: str, stride: int, features: str, linear: str, weights: dict[str, str],
          random: str = "") -> NetworkInfo:
    return NetworkInfo(
        name=name,
        output_stride=stride,
        features=features,
        stages={**STAGES, "stage5": features},
        is_response=_is_response,
        normalisation=partial(bgr_minus_mean, mean=MEAN_BGR),
        linear=linear,
        weights=weights,
        classes=imagenet_classes(),
        random=random,
    )


def _is_response(_name: str, module: nn.Module) -> bool:
    return isinstance(module, ConvReLU)
