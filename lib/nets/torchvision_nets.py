"""torchvision's networks: their weights are fetched through torchvision or read from a file of one's own."""
import re
import sys
from collections import OrderedDict
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torchvision.models.googlenet import BasicConv2d as GoogLeNetConv
from torchvision.models.inception import BasicConv2d as InceptionConv

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.nets.network import Network, choose, undilate
from lib.nets.weights import fill, imagenet_classes, load_state_dict

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")   # classifiers used in training only; they are left out
GOOGLENET_STAGES = {"stage1": "conv1", "stage2": "conv3", "stage3": "inception3b", "stage4": "inception4e", "stage5": "inception5b"}
INCEPTION_STAGES = {"stage1": "Conv2d_2b_3x3", "stage2": "Conv2d_4a_3x3", "stage3": "Mixed_5d", "stage4": "Mixed_6e", "stage5": "Mixed_7c"}
RESNET_STAGES = {"stage1": "relu", "stage2": "layer1", "stage3": "layer2", "stage4": "layer3", "stage5": "layer4"}
SPG_STAGES = INCEPTION_STAGES | {"stage4": "Mixed_6b", "stage5": "Mixed_6e"}
VGG_STAGES = {"stage1": "features.4", "stage2": "features.9", "stage3": "features.16", "stage4": "features.23", "stage5": "features.29"}


class ConvNormReLU(nn.Module):
    """torchvision's BasicConv2d with its ReLU as a module, not in place: same parameter names, can be hooked."""

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = conv, bn, nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Bottleneck(torchvision.models.resnet.Bottleneck):
    """torchvision's block with a ReLU of its own at each place, and nothing in place."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)
        del self.relu
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        return self.relu3(self.bn3(self.conv3(out)) + (x if self.downsample is None else self.downsample(x)))


class WideInceptionB(nn.Module):
    """Inception-v3's Mixed_6a, reading every position, padded so that the side stays (SPG)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.branch3x3, self.branch3x3dbl_1 = block.branch3x3, block.branch3x3dbl_1
        self.branch3x3dbl_2, self.branch3x3dbl_3 = block.branch3x3dbl_2, block.branch3x3dbl_3
        for last in (self.branch3x3, self.branch3x3dbl_3):
            last.conv.stride, last.conv.padding = (1, 1), (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch3x3(x), self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))), max_pool2d(x, 3, 1, 1)], 1)


def torchvision_googlenet(output_stride: int | None = None, pretrained: bool = True, weights: Path | None = None,
                          tail: str = "dilated") -> Network:
    """torchvision's GoogLeNet (batch norm, 3x3 in place of 5x5 convolutions) at output stride 16 (default, as rCAM reads it) or 32.

    At stride 16 the last pooling has stride 1 and the blocks after it are dilated by 2, which keeps the map at stride 32 exactly, at
    every second position; or left as they are.
    """
    stride = 16 if output_stride is None else output_stride
    choose("torchvision_googlenet", "output_stride", stride, (32, 16))
    choose("torchvision_googlenet", "tail", tail, ("dilated", "undilated"))
    body = with_relu_modules(torchvision.models.GoogLeNet(aux_logits=False, init_weights=False))
    source = _fill("torchvision_googlenet", body, pretrained, weights, "GoogLeNet_Weights.IMAGENET1K_V1")
    if stride == 16:
        # the maps are never negative here (ReLU), so zeros pad a maximum as well as -inf
        body.maxpool4 = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1))
        if tail == "dilated":
            _dilate(body.inception5a)
            _dilate(body.inception5b)
    return Network("torchvision_googlenet", body, output_stride=stride, features="inception5b", stages=dict(GOOGLENET_STAGES),
                   is_response=_is_conv_norm_relu, normalisation=to_unit_range, linear="fc", weights=source, classes=imagenet_classes())


def torchvision_inception_v3(output_stride: int | None = None, pretrained: bool = True, weights: Path | None = None) -> Network:
    """torchvision's Inception-v3 (CSoA's "GoogLeNet") at output stride 32; it pads little, so 299 gives sides 149, 73, 35, 17, 8.

    At stride 8 it is as SPG changed it, and CSoA after it: Mixed_6a has stride 1 and keeps the side, nothing comes after Mixed_6e, whose
    map is returned in place of logits; stages 4 and 5 end with Mixed_6b and Mixed_6e.
    """
    stride = 32 if output_stride is None else output_stride
    choose("torchvision_inception_v3", "output_stride", stride, (32, 8))
    body = with_relu_modules(torchvision.models.Inception3(aux_logits=False, init_weights=False))
    source = _fill("torchvision_inception_v3", body, pretrained, weights, "Inception_V3_Weights.IMAGENET1K_V1")
    if stride == 8:
        return Network("torchvision_inception_v3", _as_spg(body), output_stride=8, features="Mixed_6e", stages=dict(SPG_STAGES),
                       is_response=_is_conv_norm_relu, normalisation=to_unit_range, linear=None, weights=source)
    return Network("torchvision_inception_v3", body, output_stride=32, features="Mixed_7c", stages=dict(INCEPTION_STAGES),
                   is_response=_is_conv_norm_relu, normalisation=to_unit_range, linear="fc", weights=source, classes=imagenet_classes())


def torchvision_resnet50(output_stride: int | None = None, pretrained: bool = True, weights: Path | None = None,
                         tail: str = "dilated") -> Network:
    """torchvision's ResNet-50 at output stride 32 (default), 16 or 8; below 32 the layers after a removed stride are dilated or not.

    A block's last convolution and its shortcut are added before any activation: their response maps are the batch norms' outputs.
    """
    stride = 32 if output_stride is None else output_stride
    choose("torchvision_resnet50", "output_stride", stride, (32, 16, 8))
    choose("torchvision_resnet50", "tail", tail, ("dilated", "undilated"))
    body = torchvision.models.ResNet(Bottleneck, [3, 4, 6, 3], replace_stride_with_dilation=[False, stride < 16, stride < 32])
    source = _fill("torchvision_resnet50", body, pretrained, weights, "ResNet50_Weights.IMAGENET1K_V1")
    if tail == "undilated":
        undilate(body)
    return Network("torchvision_resnet50", body, output_stride=stride, features="layer4", stages=dict(RESNET_STAGES),
                   is_response=lambda name, _module: bool(re.search(r"(^relu|\.relu[12]|\.bn3|\.downsample\.1)$", name)),
                   normalisation=imagenet_mean_and_deviation, linear="fc", weights=source, classes=imagenet_classes())


def torchvision_vgg16(output_stride: int | None = None, pretrained: bool = True, weights: Path | None = None) -> Network:
    """torchvision's VGG-16, fully connected layers included. Its last convolutional map, before pool5, is at stride 16, or 8 without pool4.

    At stride 8 it is a trunk as `vgg16_conv` is: nothing is dilated, and the last map is returned in place of logits.
    """
    stride = 16 if output_stride is None else output_stride
    choose("torchvision_vgg16", "output_stride", stride, (16, 8))
    body = torchvision.models.vgg16(weights=None, init_weights=False)
    source = _fill("torchvision_vgg16", body, pretrained, weights, "VGG16_Weights.IMAGENET1K_V1")
    if stride == 8:
        body.features[23] = body.features[30] = nn.Identity()
        body = nn.Sequential(OrderedDict(features=body.features))
    return Network("torchvision_vgg16", body, output_stride=stride, features="features.29", stages=dict(VGG_STAGES),
                   is_response=lambda name, module: name.startswith("features.") and isinstance(module, nn.ReLU),
                   normalisation=imagenet_mean_and_deviation, linear=None, weights=source, classes=imagenet_classes() if stride == 16 else ())


def imagenet_mean_and_deviation(rgb: Tensor) -> Tensor:
    mean, deviation = rgb.new_tensor([0.485, 0.456, 0.406]), rgb.new_tensor([0.229, 0.224, 0.225])
    return (rgb - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)


def to_unit_range(rgb: Tensor) -> Tensor:
    """0..1 -> -1..1: what torchvision's `transform_input` makes of its usual normalisation."""
    return 2.0 * rgb - 1.0


def with_relu_modules(body: nn.Module) -> nn.Module:
    """Replace every BasicConv2d, whose ReLU is a function in place, by `ConvNormReLU`."""
    for parent in list(body.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (GoogLeNetConv, InceptionConv)):
                setattr(parent, name, ConvNormReLU(child.conv, child.bn))
    return body


def _dilate(block: nn.Module) -> None:
    """Let every 3x3 window of a GoogLeNet block, its pooling's too, read each second position."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation = module.padding = (2, 2)
    block.branch4[0] = nn.Sequential(nn.ZeroPad2d(2), nn.MaxPool2d(3, 1, dilation=2))


def _as_spg(body: torchvision.models.Inception3) -> nn.Module:
    """Its modules in their order, up to Mixed_6e."""
    body.Mixed_6a = WideInceptionB(body.Mixed_6a)
    order = [name for name, _ in body.named_children()]
    return nn.Sequential(OrderedDict((name, body.get_submodule(name)) for name in order[:order.index("Mixed_6e") + 1]))


def _is_conv_norm_relu(_name: str, module: nn.Module) -> bool:
    return isinstance(module, ConvNormReLU)


def _fill(network: str, body: nn.Module, pretrained: bool, file: Path | None, published: str) -> dict[str, str]:
    """Load a file of one's own, else torchvision's published weights if `pretrained`; says what was loaded."""
    if file is None and not pretrained:
        return {}
    path = Path(file) if file else _fetched(network, published)
    fill(body, {k: v for k, v in load_state_dict(path).items() if not k.startswith(AUXILIARY)}, path)
    return {"file": path.name, "sha256": sha256(path)}


def _fetched(network: str, published: str) -> Path:
    """torchvision's weight file in its cache, downloaded if need be; its name holds the start of its hash."""
    url = torchvision.models.get_weight(published).url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    start = path.stem.rsplit("-", 1)[1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=start, progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as error:
            raise Problem(f"{network}: its weights are not on this machine and could not be fetched ({error}); download {path.name} "
                          f"from torchvision's site and give it as weights=FILE, or put it into {path.parent}.") from None
    if not sha256(path).startswith(start):
        raise Problem(f"{path}: damaged, its content does not have the hash in its name; delete the file to have it fetched again.")
    return path
