"""Small networks with every kind of layer that probability can go down through, images and peaks."""
from collections.abc import Callable

import torch
from small_nets import Residual, batch_norm, conv
from torch import Tensor, nn
from torch.nn import functional as F

from lib.maps.peaks import Peaks


class Toy(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers).eval()

    def score_maps(self, rgb: Tensor) -> Tensor:
        return self.layers(rgb)


class Concat(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Padding(nn.Conv2d):
    """Pads on one side only, before it convolves."""
    sides: tuple[int, ...] = (0, 1, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, self.sides)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class WithMore(nn.Conv2d):
    """A convolution and, in the same module, what `after` makes of it."""

    def __init__(self, *args: int, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__(*args)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(super().forward(x))


class Band(nn.Module):
    """A norm over channels by way of a convolution with constant weights."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.register_buffer("band", torch.rand(depth, depth, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(1 + F.conv2d(x * x, self.band))


def scaled_in_place(y: Tensor) -> Tensor:
    y *= torch.linspace(-1, 2, y.shape[1])[:, None, None]
    return y.relu()


def once_as_it_is(y: Tensor) -> Tensor:
    return y + y.relu()


def input_overwritten(x: Tensor) -> Tensor:
    return x.mul_(torch.linspace(0.5, 2, x.shape[1])[:, None, None])


class Overwriting(nn.Conv2d):
    """Changes its input after it was read and before the element-wise layer that follows."""

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1.0
        y = super().forward(x)
        input_overwritten(x)
        return y.relu()


def networks() -> dict[str, list[nn.Module]]:
    head = conv(6, 4, size=1)
    return {
        "strided": [conv(3, 6, stride=2), nn.ReLU(), conv(6, 6, stride=2), nn.ReLU(), head],
        "grouped": [
            conv(3, 6), nn.ReLU(), nn.Conv2d(6, 9, 3, padding=1, groups=3), nn.ReLU6(), nn.Conv2d(9, 4, 1)],
        "depthwise": [
            conv(3, 6), batch_norm(6), nn.ReLU6(),
            nn.Conv2d(6, 6, 3, 2, 1, groups=6), batch_norm(6), nn.ReLU6(), head],
        "depthwise, dilated": [
            conv(3, 6, gain=20), nn.ReLU6(),
            nn.Conv2d(6, 12, 3, 1, 2, 2, 6), batch_norm(12), nn.Conv2d(12, 4, 1)],
        "uneven": [
            nn.Conv2d(3, 6, (2, 3), (2, 1), (1, 0), (1, 2)), nn.ReLU(),
            nn.Conv2d(6, 6, 1, padding=1), nn.ReLU(), nn.Conv2d(6, 4, (3, 1), 2)],
        "same": [
            nn.Conv2d(3, 6, (4, 2), padding="same"), nn.ReLU(),
            nn.Conv2d(6, 6, 2, padding="valid"), batch_norm(6), nn.ReLU(), head],
        "pads before": [
            Padding(3, 6, 3, 2), batch_norm(6),
            Padding(6, 6, 3, dilation=2, groups=2), nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2), head],
        "reflecting": [nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), nn.ReLU(), head],
        "pools": [
            conv(3, 6), batch_norm(6), nn.MaxPool2d(3, 2, 1), nn.ReLU(),
            conv(6, 6), nn.AvgPool2d(2), nn.ReLU(), head],
        "residual": [
            conv(3, 6), nn.ReLU(),
            Residual(conv(6, 6), batch_norm(6), nn.ReLU6(), conv(6, 6), batch_norm(6)), nn.ReLU(),
            Residual(conv(6, 6), nn.SiLU(), conv(6, 6)), head],
        "concatenated": [
            conv(3, 4), nn.ReLU(),
            Concat(conv(4, 3, size=1), nn.Sequential(conv(4, 2), nn.ReLU(), conv(2, 3))), nn.ReLU(), head],
        "in place": [
            conv(3, 6), nn.ReLU(inplace=True), conv(6, 6), batch_norm(6), nn.ReLU6(inplace=True),
            WithMore(6, 6, 3, after=scaled_in_place), head],
        "in one module": [
            WithMore(3, 6, 3, after=torch.relu), WithMore(6, 6, 3, after=once_as_it_is),
            Overwriting(6, 6, 1), head],
        "norm by a convolution": [conv(3, 6), nn.ReLU(), Band(6), conv(6, 6), nn.ReLU(), Band(6), head],
    }


def images() -> Tensor:
    """Three of different brightness and contrast."""
    brightness = torch.tensor([0.0, 0.3, 0.6])[:, None, None, None]
    contrast = torch.tensor([1.0, 0.3, 0.4])[:, None, None, None]
    return brightness + contrast * torch.rand(3, 3, 9, 8)


def peaks_of(scores: Tensor) -> Peaks:
    """Many in the first image, one in the last, not in order; corners, borders and the middle."""
    h, w = scores.shape[2:]
    rows = [   # image, class, row, column
        (0, 0, 0, 0),
        (2, 3, h // 2, w // 2),
        (0, 1, h - 1, w - 1),
        (1, 2, 0, w - 1),
        (0, 1, h // 2, w // 2),
        (1, 0, h // 2, 0),
        (0, 3, h // 2, w // 2),
    ]
    image, label, row, column = torch.tensor(rows).T
    return Peaks(image, label, row, column, scores[image, label, row, column])


def some(peaks: Peaks, chosen: Tensor) -> Peaks:
    return Peaks(*(values[chosen] for values in vars(peaks).values()))


def state(net: nn.Module) -> list[object]:
    """Everything that must be as it was."""
    hooks = []
    for module in net.modules():
        hooks += [len(value) for name, value in vars(module).items() if name.endswith("_hooks")]
    modes = [module.training for module in net.modules()]
    forwards = [module.forward.__func__ for module in net.modules() if type(module) is not Toy]
    weights = []
    for name, p in net.named_parameters():
        gradient = None if p.grad is None else p.grad.tolist()
        weights.append((name, id(p), p._version, p.requires_grad, p.tolist(), gradient))
    buffers = [(name, buffer.tolist()) for name, buffer in net.named_buffers()]
    active = (torch._C._len_torch_function_stack(), torch.is_grad_enabled())
    return [hooks, modes, forwards, weights, buffers, active]


def by_torch(layer: Callable[[Tensor], Tensor], x: Tensor, p: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(layer(x * 1.0), x, p)[0]
