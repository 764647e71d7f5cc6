"""A pretrained ImageNet network as class score maps, its linear layer at every place: where peaks of 1000 classes come from (IAM, section 4.3)."""
import torch
from torch import nn

from lib.nets import load_network
from lib.nets.fcn import Fcn


def imagenet_fcn(name: str) -> Fcn:
    """Score maps of the classes that the network was trained on; class scores are means over peaks."""
    trunk = load_network(name)
    weight, bias = trunk.classifier
    head = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    with torch.no_grad():
        head.weight.copy_(weight[..., None, None])
        head.bias.copy_(bias)
    fcn = Fcn(trunk, nn.Sequential(head), trunk.classes or [str(k) for k in range(len(weight))], "peaks")
    return fcn.requires_grad_(False).to(memory_format=torch.channels_last)
