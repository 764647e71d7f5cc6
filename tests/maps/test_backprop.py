"""Derivatives of score maps.

Plain against finite differences, guided against the rule written out layer by layer and another package.
"""
import copy
from collections.abc import Callable

import pytest
import torch
from small_nets import Residual, Stage, batch_norm, conv, guided_networks, with_layers
from torch import Tensor, nn
from torch.nn import functional as F

from lib.maps.backprop import trace
from lib.nets.fcn import IMAGE

STEP = 1e-6
pytestmark = pytest.mark.usefixtures("double")


def plain_networks() -> dict[str, list[Stage]]:
    a = conv(3, 4, gain=2)
    b = conv(4, 4, gain=2)
    c = conv(4, 4, gain=2)
    d = conv(4, 5, size=1)
    wide = conv(3, 4, gain=12)   # beyond 6 in places
    return {
        "relu": [a, nn.ReLU(), b, nn.ReLU(), d],
        "relu in place": [a, nn.ReLU(inplace=True), nn.Sequential(b, nn.ReLU(inplace=True)), d],
        "relu6": [wide, nn.ReLU6(), b, d],
        "relu6 in place": [wide, nn.ReLU6(inplace=True), b, d],
        "hardtanh(0, 6)": [wide, nn.Hardtanh(0, 6), b, d],
        "hardtanh(0, 6) in place": [wide, nn.Hardtanh(0, 6, inplace=True), b, d],
        "hardtanh(0, 2) by keywords": [wide, lambda x: F.hardtanh(x, max_val=2.0, min_val=0.0), b, d],
        "F.hardtanh_": [wide, lambda x: F.hardtanh_(x, 0, 6), d],
        "F.relu6": [wide, lambda x: F.relu6(x, inplace=True), d],
        "F.relu": [a, F.relu, b, lambda x: F.relu(input=x, inplace=True), d],
        "F.relu_ and torch.relu": [a, F.relu_, b, torch.relu, d],
        "Tensor.relu_ and Tensor.relu": [a, lambda x: x.relu_(), b, lambda x: x.relu(), d],
        "torch.relu_": [a, torch.relu_, d],
        "residual": [a, nn.ReLU(), lambda x: F.relu(x + c(b(x).relu_())), d],
        "norm, pool, residual": [
            a, batch_norm(4), nn.MaxPool2d(2), nn.ReLU(inplace=True),
            Residual(b, nn.ReLU6(inplace=True), c), d],
        "other kinks": [a, nn.Hardtanh(), nn.LeakyReLU(), b, lambda x: x.clamp(-0.5, 1.5), F.gelu, d],
    }


def by_finite_differences(stages: list[Stage], layer: Tensor, label: int) -> Tensor:
    """max over channels of |d sum S_c / dL| `(B, h, w)`.

    Two bumps of every single number of the layer `(B, D, h, w)`.
    """
    def score(values: Tensor) -> Tensor:
        for stage in stages:
            values = stage(values.clone())
        return values[:, label].sum((1, 2))

    maps = []
    for values in layer.detach():
        bump = STEP * torch.eye(values.numel()).view(-1, *values.shape)
        slope = (score(values + bump) - score(values - bump)) / (2 * STEP)
        maps.append(slope.view(values.shape).abs().amax(0))
    return torch.stack(maps)


@pytest.mark.parametrize("name", list(plain_networks()))
@torch.no_grad()
def test_plain_derivatives_by_finite_differences(name: str) -> None:
    stages = plain_networks()[name]
    image = torch.randn(2, 3, 6, 6)
    classes = torch.tensor([[0, 3], [4, 1]])
    _, layers = with_layers([lambda x, stage=stage: stage(x.clone()) for stage in stages])(image)
    found = trace(with_layers(stages), image, guided=False).gradients(classes, chunk=1)
    assert list(found) == list(layers) == [str(i) for i in range(len(stages))]
    for i, (key, layer) in enumerate(layers.items()):
        assert found[key].shape == (2, 2, *layer.shape[2:])
        for place in range(2):
            by_hand = torch.cat([
                by_finite_differences(stages[i:], layer[b:b + 1], int(classes[b, place])) for b in range(2)])
            assert by_hand.abs().max() > 1e-3
            torch.testing.assert_close(found[key][:, place], by_hand, rtol=1e-5, atol=1e-6)


def down(module: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """The guided gradient at a module's input x from g, the one at its output.

    Both are `(B, D, h, w)`, everything by hand.
    """
    match module:
        case nn.Sequential():
            inputs = []
            for layer in module:
                inputs.append(x)
                x = layer(x.clone())
            for layer, read in zip(reversed(module), reversed(inputs), strict=True):
                g = down(layer, read, g)
            return g
        case Residual():
            return g + down(module.inner, x, g)
        case nn.ReLU():
            return g * (x > 0) * (g > 0)
        case nn.ReLU6():
            return g * ((x > 0) & (x < 6)) * (g > 0)
        case nn.BatchNorm2d():
            return g * (module.weight / (module.running_var + module.eps).sqrt())[:, None, None]
        case nn.MaxPool2d():
            wide = F.interpolate(module(x), scale_factor=2)
            return F.interpolate(g, scale_factor=2) * (x == wide)
        case nn.AvgPool2d():
            return F.interpolate(g, scale_factor=2) / 4
        case nn.Conv2d():
            return conv_down(module, x, g)
    raise TypeError(module)


def conv_down(layer: nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """Every output hands its gradient to the inputs under the kernel."""
    pad = layer.padding[0]
    stride = layer.stride[0]
    size = layer.kernel_size[0]
    padded = x.new_zeros(*x.shape[:2], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad)
    for v in range(g.shape[2]):
        for u in range(g.shape[3]):
            share = torch.einsum("bo,oikl->bikl", g[:, :, v, u], layer.weight)
            top, left = v * stride, u * stride
            padded[:, :, top:top + size, left:left + size] += share
    return padded[:, :, pad:pad + x.shape[2], pad:pad + x.shape[3]]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", list(guided_networks(False)))
@torch.no_grad()
def test_guided_derivatives_layer_by_layer(name: str, inplace: bool) -> None:
    stages = guided_networks(inplace)[name]
    image = torch.randn(2, 3, 8, 8)
    classes = torch.tensor([[0, 3, 2], [4, 1, 2]])
    found = trace(with_layers(stages), image, guided=True).gradients(classes)
    outputs = [image]
    for stage in stages:
        outputs.append(stage(outputs[-1].clone()))
    for place in range(3):
        g = F.one_hot(classes[:, place], 5)[:, :, None, None].expand_as(outputs[-1]).to(image.dtype)
        for i in reversed(range(len(stages))):
            g = down(stages[i], outputs[i], g)
            torch.testing.assert_close(found[str(i)][:, place], g.abs().amax(1), rtol=1e-9, atol=1e-12)
    plain = trace(with_layers(stages), image, guided=False).gradients(classes)
    assert not torch.allclose(found["0"], plain["0"])   # the rule does something


def test_a_layer_s_derivative_does_not_depend_on_the_other_layers() -> None:
    stages = guided_networks(False)["chain"]
    image = torch.randn(2, 3, 8, 8)
    classes = torch.tensor([[0, 3], [4, 1]])
    together = trace(with_layers(stages), image, guided=True).gradients(classes)
    for name in together:
        def alone(x: Tensor, name: str = name) -> tuple[Tensor, dict[str, Tensor]]:
            scores, layers = with_layers(stages)(x)
            return scores, {name: layers[name]}
        found = trace(alone, image, guided=True).gradients(classes)
        torch.testing.assert_close(found[name], together[name])


class Summed(nn.Module):
    """Class scores `(B, K)` as sums of score maps.

    A package that starts from one score has to be given these.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).sum((2, 3))


def of_image(body: Callable[[Tensor], Tensor], image: Tensor, classes: Tensor, guided: bool) -> Tensor:
    """Derivatives at the image alone, `(B, C, H, W)`."""
    traced = trace(lambda x: (body(x), {IMAGE: x}), image, guided)
    return traced.gradients(classes)[IMAGE]


def test_guided_backprop_of_another_package() -> None:
    from pytorch_grad_cam import GuidedBackpropReLUModel

    body = nn.Sequential(
        conv(3, 8, gain=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Residual(conv(8, 8, gain=2), nn.ReLU(), conv(8, 8, gain=2)),
        nn.ReLU(),
        conv(8, 4, size=1),
    )
    image = torch.randn(3, 3, 12, 10)
    classes = torch.tensor([[0, 1, 3], [2, 3, 0], [1, 2, 3]])
    found = of_image(body, image, classes, guided=True)
    for b in range(3):
        for place in range(3):
            model = GuidedBackpropReLUModel(Summed(copy.deepcopy(body)))
            theirs = model(image[b:b + 1].clone(), int(classes[b, place]))
            torch.testing.assert_close(found[b, place], torch.from_numpy(theirs).abs().amax(2))


@pytest.mark.parametrize("rectifier", [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0, 6)])
def test_on_the_kinks_plain_is_torch(rectifier: nn.Module) -> None:
    """0 and 6 themselves: inputs are exactly there wherever a rectifier or padding came before."""
    image = torch.tensor([-1.0, 0.0, 1.0, 6.0, 7.0]).view(1, 1, 1, 5)
    found = of_image(rectifier, image, torch.zeros(1, 1, dtype=torch.long), guided=False)
    x = image.clone().requires_grad_()
    gradient, = torch.autograd.grad(rectifier(x).sum(), x)
    assert torch.equal(found, gradient)


def test_other_activations_are_not_guided() -> None:
    stages = [
        conv(3, 4),
        nn.Hardtanh(),
        nn.LeakyReLU(),
        conv(4, 4),
        nn.GELU(),
        nn.Hardtanh(-1, 6),
        conv(4, 2, size=1),
    ]
    image = torch.randn(1, 3, 6, 6)
    classes = torch.tensor([[0, 1]])
    plain, guided = (trace(with_layers(stages), image, rule).gradients(classes) for rule in (False, True))
    assert all(torch.equal(plain[name], guided[name]) for name in plain)
