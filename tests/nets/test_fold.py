"""Folding must not change what a network says, nor where its layers are found."""
import copy

import pytest
import torch
from torch import nn

from lib.nets import load_network
from lib.nets.fcn import fully_convolutional
from lib.nets.fold import fold_normalisation


@pytest.mark.parametrize("name, layer", [
    ("efficientnet_lite0", "blocks.3.1"),
    ("torchvision_resnet50", "layer2.1"),
])
def test_folding_keeps_scores_and_layers(name: str, layer: str) -> None:
    torch.manual_seed(0)
    fcn = fully_convolutional(load_network(name, pretrained=False), ["a", "b"])
    for module in fcn.modules():
        if isinstance(module, nn.BatchNorm2d):   # as after training: nothing is 0 or 1
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.2)
            module.running_mean.data.uniform_(-0.2, 0.2)
            module.running_var.data.uniform_(0.5, 2)
    image = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        scores, layers = copy.deepcopy(fcn).scores_and_layers(image, [layer])
        folded, again = fold_normalisation(fcn).scores_and_layers(image, [layer])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fcn.modules())
    largest = float(scores.abs().max())
    assert torch.allclose(folded, scores, atol=1e-4 * largest)
    assert torch.allclose(again[layer], layers[layer], atol=1e-4 * float(layers[layer].abs().max()))
    assert largest > 0 and not torch.allclose(scores[0], scores[1], atol=1e-4 * largest)


def test_a_norm_that_follows_no_convolution_stays() -> None:
    fcn = fully_convolutional(load_network("efficientnet_lite0", pretrained=False), ["a"])
    fcn.trunk.body.blocks[2] = nn.Sequential(fcn.trunk.body.blocks[2], nn.ReLU(), nn.BatchNorm2d(40))
    fold_normalisation(fcn.eval())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fcn.modules()) == 1
