"""Derivatives of dilated depthwise convolutions: torch's own, whatever the sides, kernels and layouts."""
import pytest
import torch
from torch import Tensor, nn

from lib.nets import load_network
from lib.nets.depthwise import DepthwiseConv2d, phases, quick_depthwise
from lib.nets.network import undilate


def both(side: tuple[int, int], kernel: int, dilation: int,
         bias: bool) -> tuple[nn.Conv2d, nn.Conv2d, Tensor]:
    """A plain convolution, the same as the class that is tested, and an input, in float64."""
    torch.manual_seed(0)
    padding = dilation * (kernel // 2)
    plain = nn.Conv2d(6, 6, kernel, 1, padding, dilation, groups=6, bias=bias).double()
    quick = nn.Conv2d(6, 6, kernel, 1, padding, dilation, groups=6, bias=bias).double()
    quick.load_state_dict(plain.state_dict())
    return plain, quick_depthwise(quick), torch.randn(3, 6, *side, dtype=torch.float64)


@pytest.mark.parametrize("side", [(14, 14), (7, 9), (4, 3), (15, 8)])
@pytest.mark.parametrize("kernel, dilation", [(3, 2), (5, 2), (3, 4), (5, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_derivatives_are_torchs_own(side: tuple[int, int], kernel: int, dilation: int,
                                               bias: bool) -> None:
    plain, quick, x = both(side, kernel, dilation, bias)
    results = []
    for convolution in (plain, quick):
        own = x.clone().requires_grad_()
        y = convolution(own)
        (y ** 3).sum().backward()
        results.append([y, own.grad, *(parameter.grad for parameter in convolution.parameters())])
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(expected, found, rtol=1e-12, atol=1e-12)


def test_the_way_through_it_is_taken_where_it_pays() -> None:
    _, quick, x = both((8, 8), 3, 2, True)
    assert isinstance(quick, DepthwiseConv2d)
    assert "DilatedDepthwise" in quick(x).grad_fn.name()
    assert "DilatedDepthwise" not in undilate(quick)(x).grad_fn.name()
    with torch.no_grad():
        assert quick(x).grad_fn is None


def test_several_derivatives_at_once() -> None:
    """As class maps take them: a batch of derivatives of one forward pass."""
    plain, quick, x = both((8, 6), 5, 2, True)
    seeds = torch.randn(4, 3, 6, 8, 6, dtype=torch.float64)
    found = []
    for convolution in (plain, quick):
        own = x.clone().requires_grad_()
        found.append(torch.autograd.grad(convolution(own), own, seeds, is_grads_batched=True)[0])
    assert torch.allclose(*found, rtol=1e-12, atol=1e-12)


def test_phases_by_hand() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert phases(x, (2, 2))[:, 0].tolist() == [[[0, 2]], [[1, 0]], [[3, 5]], [[4, 0]]]


def test_only_plain_depthwise_layers_change_their_class() -> None:
    body = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3, stride=2, groups=4),
                         nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3, groups=4))
    kinds = [type(module) for module in quick_depthwise(body)]
    assert kinds == [DepthwiseConv2d, nn.Conv2d, nn.Conv2d, nn.Conv2d]


def test_networks_of_the_suite_have_them() -> None:
    """Its four dilated layers at stride 16, under the names that they had."""
    network = load_network("efficientnet_lite0", 16, pretrained=False)
    rgb = torch.rand(1, 3, 64, 64, requires_grad=True)
    dilated = [name for name, module in network.body.named_modules()
               if isinstance(module, DepthwiseConv2d) and max(module.dilation) > 1]
    assert len(dilated) == 4 and all(f"{name}.weight" in network.body.state_dict() for name in dilated)
    assert torch.isfinite(torch.autograd.grad(network(rgb).sum(), rgb)[0]).all()
