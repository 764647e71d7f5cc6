"""Tiny networks in which derivatives can be followed by hand."""
from collections.abc import Callable

import torch
from torch import Tensor, nn

Stage = Callable[[Tensor], Tensor]


class Residual(nn.Module):
    """x + inner(x)."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def conv(inputs: int, outputs: int, stride: int = 1, gain: float = 1.0, size: int = 3) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2)
    nn.init.normal_(layer.weight, std=gain * (size * size * inputs) ** -0.5)
    nn.init.normal_(layer.bias, std=0.3)
    return layer


def batch_norm(depth: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(depth).eval()
    with torch.no_grad():
        layer.weight.uniform_(-1.5, 1.5)
        layer.bias.uniform_(-0.5, 0.5)
        layer.running_mean.uniform_(-0.5, 0.5)
        layer.running_var.uniform_(0.5, 2)
    return layer


def with_layers(stages: list[Stage]) -> Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]:
    """A forward pass with layers: the image ("0") and what every stage but the last gives.

    The last stage gives the score maps.
    """
    def forward_pass(image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = [image]
        for stage in stages:
            outputs.append(stage(outputs[-1]))
        return outputs[-1], {str(i): x for i, x in enumerate(outputs[:-1])}
    return forward_pass


def guided_networks(inplace: bool) -> dict[str, list[nn.Module]]:
    chain = [
        conv(3, 6, gain=2),
        nn.ReLU(inplace),
        conv(6, 6, stride=2, gain=2),
        nn.ReLU(inplace),
        conv(6, 5, size=1),
    ]
    relu6 = [
        conv(3, 6, gain=12),
        nn.ReLU6(inplace),
        nn.AvgPool2d(2),
        conv(6, 6, gain=8),
        nn.ReLU6(inplace),
        conv(6, 5, size=1),
    ]
    normalised = [
        conv(3, 6),
        batch_norm(6),
        nn.MaxPool2d(2),
        nn.ReLU(inplace),
        conv(6, 6),
        batch_norm(6),
        nn.ReLU(inplace),
        conv(6, 5, size=1),
    ]
    residual = [
        conv(3, 6),
        nn.ReLU(inplace),
        Residual(conv(6, 6), batch_norm(6), nn.ReLU6(inplace), conv(6, 6)),
        nn.ReLU(inplace),
        Residual(conv(6, 6), nn.ReLU(inplace), conv(6, 6)),
        conv(6, 5, size=1),
    ]
    return {"chain": chain, "relu6": relu6, "normalised": normalised, "residual": residual}
