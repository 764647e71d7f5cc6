"""The rule by which probability goes down a network.

Eq. 1 by hand, layer by layer and position by position in loops; and where it does not hold.
"""
import pytest
import torch
from peak_nets import Band, Concat, Overwriting, Toy, by_torch, images, networks, peaks_of, state
from small_nets import Residual, conv
from torch import Tensor, nn
from torch.nn import functional as F

from lib.base.problem import Problem
from lib.maps.peak_response import peak_response_maps, trace
from lib.maps.peaks import Peaks
from lib.maps.top_down import Step

pytestmark = pytest.mark.usefixtures("double")


def eq_1(layer: nn.Conv2d, x: Tensor, p: Tensor) -> Tensor:
    """P(U) = sum over V of P(U|V) P(V).

    P(U|V) are the products x' W+ that meet in V, divided by their sum.
    """
    left, right, top, bottom = getattr(layer, "sides", layer._reversed_padding_repeated_twice)
    lifted = F.pad(x - x.min(), (left, right, top, bottom))[0]
    below = torch.zeros_like(lifted)
    weight = layer.weight.detach().clamp(min=0)
    outputs = layer.out_channels // layer.groups
    inputs = layer.in_channels // layer.groups
    for d, i, j in p[0].nonzero().tolist():
        group = d // outputs
        window = (slice(group * inputs, (group + 1) * inputs), along(layer, 0, i), along(layer, 1, j))
        shares = lifted[window] * weight[d]
        if shares.sum() >= 1e-10:
            below[window] += p[0, d, i, j] * shares / shares.sum()
    return below[None, :, top:below.shape[1] - bottom, left:below.shape[2] - right]


def along(layer: nn.Conv2d, axis: int, place: int) -> slice:
    """The rows (axis 0) or columns (axis 1) that a window reads."""
    first = place * layer.stride[axis]
    reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
    return slice(first, first + reach + 1, layer.dilation[axis])


def down(layer: nn.Module, x: Tensor, p: Tensor) -> Tensor:
    """From the output of a layer to its input `x` (1, C, h, w), one convolution after the other."""
    if isinstance(layer, nn.Sequential):
        inputs = []
        for part in layer:
            inputs.append(x)
            x = part(x.clone()).detach()
        for part, read in zip(reversed(layer), reversed(inputs), strict=True):
            p = down(part, read, p)
        return p
    if isinstance(layer, Residual):
        return p + down(layer.inner, x, p)
    if isinstance(layer, Concat):
        depths = [branch(x).shape[1] for branch in layer.branches]
        parts = zip(layer.branches, p.split(depths, 1), strict=True)
        return sum(down(branch, x, part) for branch, part in parts)
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "reflect":
        plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size)
        plain.weight = layer.weight
        return by_torch(reflected, x, eq_1(plain, reflected(x), p))
    if isinstance(layer, nn.Conv2d):
        after = getattr(layer, "after", torch.relu if isinstance(layer, Overwriting) else None)
        return eq_1(layer, x, p if after is None else by_torch(after, nn.Conv2d.forward(layer, x), p))
    return by_torch(layer, x, p)


def reflected(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


def literally(net: Toy, rgb: Tensor, peaks: Peaks) -> Tensor:
    maps = []
    for n in range(len(peaks)):
        image = rgb[peaks.image[n]:peaks.image[n] + 1]
        p = torch.zeros_like(net.score_maps(image))
        p[0, peaks.label[n], peaks.row[n], peaks.column[n]] = 1
        prm = down(net.layers, image, p)[0].sum(0).clamp(min=0)
        maps.append(prm / prm.sum() if prm.sum() > 0 else prm)
    return torch.stack(maps).detach()


def test_by_hand() -> None:
    """One convolution of two pixels side by side.

    Negative weights and the bias play no part; the image's minimum 0.25 counts as nothing.
    """
    layer = nn.Conv2d(3, 1, (1, 2))
    layer.weight.data = torch.tensor([[1.0, 3.0], [-5.0, 2.0], [0.0, -1.0]]).view(1, 3, 1, 2)
    rgb = 0.25 + torch.tensor([[0.5, 0.25, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]).view(1, 3, 1, 3)
    zero = torch.zeros(2, dtype=torch.long)
    peaks = Peaks(zero, zero, zero, torch.tensor([0, 1]), torch.zeros(2))
    found = peak_response_maps(Toy(layer), rgb, peaks)
    # 1 * 0.5 | 3 * 0.25 + 2 * 1   and   1 * 0.25 | 3 * 0 + 2 * 0.5
    expected = torch.tensor([[0.5, 2.75, 0.0], [0.0, 0.25, 1.0]]) / torch.tensor([[3.25], [1.25]])
    torch.testing.assert_close(found[:, 0], expected)


def test_nothing_is_lost_between_convolutions() -> None:
    """Transition probabilities sum to one over the inputs of every output, at borders too.

    Whatever sum starts down arrives.
    """
    net = Toy(
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(6, 8, (2, 3), padding=(1, 1)),
        nn.Conv2d(8, 4, 1),
    )
    net.layers[0].bias.data.fill_(9)   # the ReLU lets everything through
    with torch.enable_grad():
        traced = trace(net, images())
        seeds = torch.rand(2, *traced.scores.shape)
        arrived = traced.down(seeds)
    assert arrived.min() >= 0
    torch.testing.assert_close(arrived.sum((2, 3, 4)), seeds.sum((2, 3, 4)))


@pytest.mark.parametrize("name", networks())
def test_against_loops(name: str) -> None:
    net = Toy(*networks()[name])
    rgb = images()
    with torch.no_grad():
        scores = net.score_maps(rgb)
    peaks = peaks_of(scores)
    found = peak_response_maps(net, rgb, peaks)
    torch.testing.assert_close(found, literally(net, rgb, peaks), rtol=1e-9, atol=1e-12)
    totals = found.sum((1, 2))
    assert (totals > 0).sum() >= 3 and torch.allclose(totals[totals > 0], torch.ones(1))
    with torch.enable_grad():
        torch.testing.assert_close(trace(net, rgb).scores, scores)   # the forward pass is the network's


def test_element_wise_layers_are_part_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """conv - batch norm - ReLU6, three times, is three steps and no other layer on the way down."""
    steps: list[int] = []
    plain = Step.__call__

    def counted(step: Step, p: Tensor) -> Tensor:
        steps.append(1)
        return plain(step, p)

    monkeypatch.setattr(Step, "__call__", counted)
    net = Toy(*networks()["depthwise"])
    with torch.enable_grad():
        traced = trace(net, images())
    node = traced.scores.grad_fn
    names = []
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    assert names == ["LinkBackward", "AnchorBackward"] * 3 + ["torch::autograd::AccumulateGrad"]
    traced.down(torch.ones(2, *traced.scores.shape))
    assert len(steps) == 3


class ByAnotherName(nn.Conv2d):
    """Reaches the convolution past torch.conv2d."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class Standardised(nn.Conv2d):
    """Convolves with weights made of its own."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, self.weight - mean, self.bias, self.stride, self.padding)


class Deconvolution(nn.ConvTranspose2d):
    """Learnt as a convolution is, and no way for eq. 1."""


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("layer", [
    ByAnotherName(6, 6, 3, padding=1),
    Standardised(6, 6, 3, padding=1),
    Deconvolution(6, 6, 3, padding=1),
], ids=lambda layer: type(layer).__name__)
def test_a_convolution_that_the_rule_cannot_follow_is_one_sentence(layer: nn.Module, learning: bool) -> None:
    net = Toy(conv(3, 6), nn.ReLU(), layer.double(), Band(6), conv(6, 4, size=1)).requires_grad_(learning)
    before = state(net)
    one = torch.ones(1, dtype=torch.long)
    words = "^Peak response maps: 1 of this network's 3 convolutions are not reached by torch.conv2d "
    with pytest.raises(Problem, match=words):
        peak_response_maps(net, images(), Peaks(one, one, one, one, torch.ones(1)))
    assert state(net) == before
