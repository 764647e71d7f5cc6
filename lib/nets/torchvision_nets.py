"""torchvision's networks: their weights are fetched through torchvision or read from a file of one's own."""
import re
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from lib.base.files import sha256
from lib.base.problem import Problem
from lib.nets.light import without_compiler
from lib.nets.network import Network, NetworkInfo, choose, stages_of, undilate
from lib.nets.weights import fill, imagenet_classes, load_state_dict

with without_compiler():
    import torchvision
    from torchvision.models.googlenet import BasicConv2d as GoogLeNetConv
    from torchvision.models.inception import BasicConv2d as InceptionConv

# Classifiers that are used in training only; they are left out.
AUXILIARY: tuple[str, ...] = ("aux1.", "aux2.", "AuxLogits.")
GOOGLENET_STAGES = stages_of("conv1", "conv3", "inception3b", "inception4e", "inception5b")
INCEPTION_STAGES = stages_of("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
SPG_STAGES = INCEPTION_STAGES | {"stage4": "Mixed_6b", "stage5": "Mixed_6e"}
RESNET_STAGES = stages_of("relu", "layer1", "layer2", "layer3", "layer4")
VGG_STAGES = stages_of("features.4", "features.9", "features.16", "features.23", "features.29")
RESNET_RESPONSES = re.compile(r"(^relu|\.relu[12]|\.bn3|\.downsample\.1)$")   # names of modules


class ConvNormReLU(nn.Module):
    """torchvision's BasicConv2d with its ReLU as a module, not in place, that can be hooked.

    Parameters keep their names.
    """

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = conv
        self.bn = bn
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Bottleneck(torchvision.models.resnet.Bottleneck):
    """torchvision's block with a ReLU of its own at each place, and nothing in place."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)
        del self.relu
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(out + shortcut)


class WideInceptionB(nn.Module):
    """Inception-v3's Mixed_6a, reading every position, padded so that the side stays (SPG)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.branch3x3 = block.branch3x3
        self.branch3x3dbl_1 = block.branch3x3dbl_1
        self.branch3x3dbl_2 = block.branch3x3dbl_2
        self.branch3x3dbl_3 = block.branch3x3dbl_3
        for last in (self.branch3x3, self.branch3x3dbl_3):
            last.conv.stride = (1, 1)
            last.conv.padding = (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3(x)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([single, double, max_pool2d(x, 3, 1, 1)], 1)


def torchvision_googlenet(output_stride: int | None = None, pretrained: bool = True,
                          weights: Path | None = None, tail: str = "dilated") -> Network:
    """torchvision's GoogLeNet at output stride 16 (default, as rCAM reads it) or 32.

    It has batch norm, and 3x3 in place of 5x5 convolutions. At stride 16 the last pooling has stride 1 and
    the blocks after it are dilated by 2, which keeps the map at stride 32 exactly, at every second position;
    or left as they are.
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
    return Network(body, NetworkInfo(
        name="torchvision_googlenet",
        output_stride=stride,
        features="inception5b",
        stages=GOOGLENET_STAGES,
        is_response=_is_conv_norm_relu,
        normalisation=to_unit_range,
        linear="fc",
        weights=source,
        classes=imagenet_classes(),
    ))


def torchvision_inception_v3(output_stride: int | None = None, pretrained: bool = True,
                             weights: Path | None = None) -> Network:
    """torchvision's Inception-v3 (CSoA's "GoogLeNet") at output stride 32 (default) or 8.

    At stride 32 it pads little, so 299 gives sides 149, 73, 35, 17, 8. At stride 8 it is as SPG changed it,
    and CSoA after it: Mixed_6a has stride 1 and keeps the side, nothing comes after Mixed_6e, whose map is
    returned in place of logits; stages 4 and 5 end with Mixed_6b and Mixed_6e.
    """
    stride = 32 if output_stride is None else output_stride
    choose("torchvision_inception_v3", "output_stride", stride, (32, 8))
    body = with_relu_modules(torchvision.models.Inception3(aux_logits=False, init_weights=False))
    source = _fill("torchvision_inception_v3", body, pretrained, weights,
                   "Inception_V3_Weights.IMAGENET1K_V1")
    if stride == 8:
        return Network(_as_spg(body), NetworkInfo(
            name="torchvision_inception_v3",
            output_stride=8,
            features="Mixed_6e",
            stages=SPG_STAGES,
            is_response=_is_conv_norm_relu,
            normalisation=to_unit_range,
            linear=None,
            weights=source,
        ))
    return Network(body, NetworkInfo(
        name="torchvision_inception_v3",
        output_stride=32,
        features="Mixed_7c",
        stages=INCEPTION_STAGES,
        is_response=_is_conv_norm_relu,
        normalisation=to_unit_range,
        linear="fc",
        weights=source,
        classes=imagenet_classes(),
    ))


def torchvision_resnet50(output_stride: int | None = None, pretrained: bool = True,
                         weights: Path | None = None, tail: str = "dilated") -> Network:
    """torchvision's ResNet-50 at output stride 32 (default), 16 or 8.

    Below 32 the layers after a removed stride are dilated or not, by `tail`. A block's last convolution and
    its shortcut are added before any activation: their response maps are the batch norms' outputs.
    """
    stride = 32 if output_stride is None else output_stride
    choose("torchvision_resnet50", "output_stride", stride, (32, 16, 8))
    choose("torchvision_resnet50", "tail", tail, ("dilated", "undilated"))
    dilated = [False, stride < 16, stride < 32]
    body = torchvision.models.ResNet(Bottleneck, [3, 4, 6, 3], replace_stride_with_dilation=dilated)
    source = _fill("torchvision_resnet50", body, pretrained, weights, "ResNet50_Weights.IMAGENET1K_V1")
    if tail == "undilated":
        undilate(body)
    return Network(body, NetworkInfo(
        name="torchvision_resnet50",
        output_stride=stride,
        features="layer4",
        stages=RESNET_STAGES,
        is_response=_is_resnet_response,
        normalisation=imagenet_mean_and_deviation,
        linear="fc",
        weights=source,
        classes=imagenet_classes(),
    ))


def torchvision_vgg16(output_stride: int | None = None, pretrained: bool = True,
                      weights: Path | None = None) -> Network:
    """torchvision's VGG-16 at output stride 16 (default), fully connected layers included, or 8.

    Its last convolutional map is the one before pool5. At stride 8, without pool4, it is a trunk as
    `vgg16_conv` is: nothing is dilated, and the last map is returned in place of logits.
    """
    stride = 16 if output_stride is None else output_stride
    choose("torchvision_vgg16", "output_stride", stride, (16, 8))
    body = torchvision.models.vgg16(weights=None, init_weights=False)
    source = _fill("torchvision_vgg16", body, pretrained, weights, "VGG16_Weights.IMAGENET1K_V1")
    classes = imagenet_classes()
    if stride == 8:
        body.features[23] = nn.Identity()   # pool4 and pool5: the layers keep their names
        body.features[30] = nn.Identity()
        body = nn.Sequential(OrderedDict(features=body.features))
        classes = ()
    return Network(body, NetworkInfo(
        name="torchvision_vgg16",
        output_stride=stride,
        features="features.29",
        stages=VGG_STAGES,
        is_response=_is_vgg_response,
        normalisation=imagenet_mean_and_deviation,
        linear=None,
        weights=source,
        classes=classes,
    ))


def imagenet_mean_and_deviation(rgb: Tensor) -> Tensor:
    """RGB in 0..1 minus ImageNet's mean colour, divided by its standard deviation."""
    mean = rgb.new_tensor([0.485, 0.456, 0.406])
    deviation = rgb.new_tensor([0.229, 0.224, 0.225])
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
    """The modules of an Inception-v3 in their order, up to Mixed_6e, as SPG changed them."""
    body.Mixed_6a = WideInceptionB(body.Mixed_6a)
    children = dict(body.named_children())
    order = list(children)
    kept = order[:order.index("Mixed_6e") + 1]
    return nn.Sequential(OrderedDict((name, children[name]) for name in kept))


def _is_conv_norm_relu(_name: str, module: nn.Module) -> bool:
    return isinstance(module, ConvNormReLU)


def _is_resnet_response(name: str, _module: nn.Module) -> bool:
    return RESNET_RESPONSES.search(name) is not None


def _is_vgg_response(name: str, module: nn.Module) -> bool:
    return name.startswith("features.") and isinstance(module, nn.ReLU)


def _fill(network: str, body: nn.Module, pretrained: bool, file: Path | None,
          published: str) -> dict[str, str]:
    """Load a file of one's own, else torchvision's `published` weights if `pretrained`.

    Returns which file was loaded, and its hash.
    """
    if file is None and not pretrained:
        return {}
    path = Path(file) if file else _fetched(network, published)
    state = load_state_dict(path)
    fill(body, {name: value for name, value in state.items() if not name.startswith(AUXILIARY)}, path)
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
            raise Problem(f"{network}: its weights are not on this machine and could not be fetched "
                          f"({error}); "
                          f"download {path.name} from torchvision's site and give it as weights=FILE, "
                          f"or put it into {path.parent}.") from None
    if not sha256(path).startswith(start):
        raise Problem(f"{path}: damaged, its content does not have the hash in its name; "
                      "delete the file to have it fetched again.")
    return path
