"""Peak response maps: eq. 1 by hand, layer by layer and position by position in loops, and what they must not depend on."""
import threading
from collections.abc import Callable

import pytest
import torch
from small_nets import Residual, batch_norm, conv
from torch import Tensor, nn
from torch.nn import functional as F

from lib.maps import peak_response
from lib.maps.peak_response import Traced, peak_response_maps, trace
from lib.maps.peaks import Peaks

pytestmark = pytest.mark.usefixtures("double")


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
    sides = (0, 1, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, self.sides), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


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
        "grouped": [conv(3, 6), nn.ReLU(), nn.Conv2d(6, 9, 3, padding=1, groups=3), nn.ReLU6(), nn.Conv2d(9, 4, 1)],
        "depthwise": [conv(3, 6), batch_norm(6), nn.ReLU6(), nn.Conv2d(6, 6, 3, 2, 1, groups=6), batch_norm(6), nn.ReLU6(), head],
        "depthwise, dilated": [conv(3, 6, gain=20), nn.ReLU6(), nn.Conv2d(6, 12, 3, 1, 2, 2, 6), batch_norm(12), nn.Conv2d(12, 4, 1)],
        "uneven": [nn.Conv2d(3, 6, (2, 3), (2, 1), (1, 0), (1, 2)), nn.ReLU(), nn.Conv2d(6, 6, 1, padding=1), nn.ReLU(), nn.Conv2d(6, 4, (3, 1), 2)],
        "same": [nn.Conv2d(3, 6, (4, 2), padding="same"), nn.ReLU(), nn.Conv2d(6, 6, 2, padding="valid"), batch_norm(6), nn.ReLU(), head],
        "pads before": [Padding(3, 6, 3, 2), batch_norm(6), Padding(6, 6, 3, dilation=2, groups=2), nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2), head],
        "reflecting": [nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), nn.ReLU(), head],
        "pools": [conv(3, 6), batch_norm(6), nn.MaxPool2d(3, 2, 1), nn.ReLU(), conv(6, 6), nn.AvgPool2d(2), nn.ReLU(), head],
        "residual": [conv(3, 6), nn.ReLU(), Residual(conv(6, 6), batch_norm(6), nn.ReLU6(), conv(6, 6), batch_norm(6)), nn.ReLU(),
                     Residual(conv(6, 6), nn.SiLU(), conv(6, 6)), head],
        "concatenated": [conv(3, 4), nn.ReLU(), Concat(conv(4, 3, size=1), nn.Sequential(conv(4, 2), nn.ReLU(), conv(2, 3))), nn.ReLU(), head],
        "in place": [conv(3, 6), nn.ReLU(inplace=True), conv(6, 6), batch_norm(6), nn.ReLU6(inplace=True), WithMore(6, 6, 3, after=scaled_in_place), head],
        "in one module": [WithMore(3, 6, 3, after=torch.relu), WithMore(6, 6, 3, after=once_as_it_is), Overwriting(6, 6, 1), head],
        "norm by a convolution": [conv(3, 6), nn.ReLU(), Band(6), conv(6, 6), nn.ReLU(), Band(6), head],
    }


def images() -> Tensor:
    """Three of different brightness and contrast."""
    return torch.tensor([0.0, 0.3, 0.6])[:, None, None, None] + torch.tensor([1.0, 0.3, 0.4])[:, None, None, None] * torch.rand(3, 3, 9, 8)


def peaks_of(scores: Tensor) -> Peaks:
    """Many in the first image, one in the last, not in order; corners, borders and the middle."""
    _, _, h, w = scores.shape
    rows = [(0, 0, 0, 0), (2, 3, h // 2, w // 2), (0, 1, h - 1, w - 1), (1, 2, 0, w - 1), (0, 1, h // 2, w // 2), (1, 0, h // 2, 0), (0, 3, h // 2, w // 2)]
    image, label, row, column = torch.tensor(rows).T
    return Peaks(image, label, row, column, scores[image, label, row, column])


def some(peaks: Peaks, chosen: Tensor) -> Peaks:
    return Peaks(*(getattr(peaks, name)[chosen] for name in ("image", "label", "row", "column", "value")))


def eq_1(layer: nn.Conv2d, x: Tensor, p: Tensor) -> Tensor:
    """P(U) = sum over V of P(U|V) P(V), where P(U|V) are the products x' W+ that meet in V, divided by their sum."""
    left, right, top, bottom = sides = getattr(layer, "sides", layer._reversed_padding_repeated_twice)
    lifted = F.pad(x - x.min(), sides)[0]
    below, weight = torch.zeros_like(lifted), layer.weight.detach().clamp(min=0)
    (r, s), (dy, dx), (sy, sx) = layer.kernel_size, layer.dilation, layer.stride
    outputs, inputs = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    for d, i, j in p[0].nonzero().tolist():
        window = (slice(d // outputs * inputs, (d // outputs + 1) * inputs), slice(i * sy, i * sy + dy * (r - 1) + 1, dy), slice(j * sx, j * sx + dx * (s - 1) + 1, dx))
        shares = lifted[window] * weight[d]
        if shares.sum() >= 1e-10:
            below[window] += p[0, d, i, j] * shares / shares.sum()
    return below[None, :, top:below.shape[1] - bottom, left:below.shape[2] - right]


def by_torch(layer: Callable[[Tensor], Tensor], x: Tensor, p: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(layer(x * 1.0), x, p)[0]


def down(layer: nn.Module, x: Tensor, p: Tensor) -> Tensor:
    """From the output of a layer to its input `x` (1, C, h, w), one convolution after the other."""
    if isinstance(layer, nn.Sequential):
        seen = [x]
        for part in layer[:-1]:
            seen.append(part(seen[-1].clone()).detach())
        for part, read in zip(reversed(layer), reversed(seen)):
            p = down(part, read, p)
        return p
    if isinstance(layer, Residual):
        return p + down(layer.inner, x, p)
    if isinstance(layer, Concat):
        depths = [branch(x).shape[1] for branch in layer.branches]
        return sum(down(branch, x, part) for branch, part in zip(layer.branches, p.split(depths, 1)))
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "reflect":
        plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size)
        plain.weight = layer.weight
        return by_torch(lambda y: F.pad(y, (1, 1, 1, 1), mode="reflect"), x, eq_1(plain, F.pad(x, (1, 1, 1, 1), mode="reflect"), p))
    if isinstance(layer, nn.Conv2d):
        after = getattr(layer, "after", torch.relu if isinstance(layer, Overwriting) else None)
        return eq_1(layer, x, p if after is None else by_torch(after, nn.Conv2d.forward(layer, x), p))
    return by_torch(layer, x, p)


def literally(net: Toy, rgb: Tensor, peaks: Peaks) -> Tensor:
    maps = []
    for b, label, row, column in zip(*(field.tolist() for field in (peaks.image, peaks.label, peaks.row, peaks.column))):
        image = rgb[b:b + 1]
        p = torch.zeros_like(net.score_maps(image))
        p[0, label, row, column] = 1
        prm = down(net.layers, image, p)[0].sum(0).clamp(min=0)
        maps.append(prm / prm.sum() if prm.sum() > 0 else prm)
    return torch.stack(maps).detach()


def test_by_hand() -> None:
    """One convolution of two pixels side by side. Negative weights and the bias play no part; the image's minimum 0.25 counts as nothing."""
    layer = nn.Conv2d(3, 1, (1, 2))
    layer.weight.data = torch.tensor([[1.0, 3.0], [-5.0, 2.0], [0.0, -1.0]]).view(1, 3, 1, 2)
    rgb = 0.25 + torch.tensor([[0.5, 0.25, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]).view(1, 3, 1, 3)
    zero, columns = torch.zeros(2, dtype=torch.long), torch.tensor([0, 1])
    found = peak_response_maps(Toy(layer), rgb, Peaks(zero, zero, zero, columns, torch.zeros(2)))
    # 1 * 0.5 | 3 * 0.25 + 2 * 1   and   1 * 0.25 | 3 * 0 + 2 * 0.5
    expected = torch.tensor([[0.5, 2.75, 0.0], [0.0, 0.25, 1.0]]) / torch.tensor([[3.25], [1.25]])
    torch.testing.assert_close(found[:, 0], expected)


def test_nothing_is_lost_between_convolutions() -> None:
    """Transition probabilities sum to one over the inputs of every output, at borders too: whatever sum starts down arrives."""
    net = Toy(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2), nn.Conv2d(6, 8, (2, 3), padding=(1, 1)), nn.Conv2d(8, 4, 1))
    net.layers[0].bias.data.fill_(9)   # the ReLU lets everything through
    with torch.enable_grad():
        traced = trace(net, images())
        seeds = torch.rand(2, *traced.scores.shape)
        arrived = traced.down(seeds)
    assert arrived.min() >= 0
    torch.testing.assert_close(arrived.sum((2, 3, 4)), seeds.sum((2, 3, 4)))


@pytest.mark.parametrize("name", networks())
def test_against_loops(name: str) -> None:
    net, rgb = Toy(*networks()[name]), images()
    with torch.no_grad():
        scores = net.score_maps(rgb)
    peaks = peaks_of(scores)
    found, expected = peak_response_maps(net, rgb, peaks), literally(net, rgb, peaks)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    totals = found.sum((1, 2))
    assert (totals > 0).sum() >= 3 and torch.allclose(totals[totals > 0], torch.ones(1))
    with torch.enable_grad():
        torch.testing.assert_close(trace(net, rgb).scores, scores)   # the forward pass is the network's


def test_no_other_image_of_the_batch_matters() -> None:
    net, rgb = Toy(*networks()["residual"]), images()
    peaks = peaks_of(net.score_maps(rgb))
    found = peak_response_maps(net, rgb, peaks)
    for b in range(3):
        mine = peaks.image == b
        alone = some(peaks, mine)
        torch.testing.assert_close(peak_response_maps(net, rgb[b:b + 1], Peaks(alone.image * 0, alone.label, alone.row, alone.column, alone.value)), found[mine])


def test_every_peak_has_its_own_map_in_any_order() -> None:
    net, rgb = Toy(*networks()["pools"]), images()
    peaks = peaks_of(net.score_maps(rgb))
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3, 0])   # one of them twice
    torch.testing.assert_close(peak_response_maps(net, rgb, some(peaks, order)), peak_response_maps(net, rgb, peaks)[order])


@pytest.mark.parametrize("chunk, slots", [(1, [1] * 4), (3, [1] * 4), (6, [2, 2]), (10, [3, 1]), (100, [4])])
def test_the_chunk_bounds_what_goes_down_together(chunk: int, slots: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to four peaks an image in three images: the first of each go together, then the second, ... The forward pass happens once."""
    net, rgb, seen, forwards = Toy(*networks()["concatenated"]), images(), [], []
    peaks = peaks_of(net.score_maps(rgb))
    whole, plain = peak_response_maps(net, rgb, peaks), Traced.down
    monkeypatch.setattr(Traced, "down", lambda self, seeds: seen.append(len(seeds)) or plain(self, seeds))
    net.layers.register_forward_hook(lambda *_: forwards.append(1))
    torch.testing.assert_close(peak_response_maps(net, rgb, peaks, chunk), whole)
    assert seen == slots and len(forwards) == 1


def test_no_peak_no_work() -> None:
    none = torch.zeros(0, dtype=torch.long)
    found = peak_response_maps(Toy(), torch.rand(2, 3, 5, 7).float(), Peaks(none, none, none, none, torch.zeros(0)))
    assert found.shape == (0, 5, 7) and found.dtype == torch.float32


@pytest.mark.parametrize("weight, contrast", [(-1, 0.5), (1, 0)])
def test_where_nothing_comes_down_the_map_is_zero(weight: float, contrast: float) -> None:
    """Negative weights only; an image of one colour."""
    net, image = Toy(conv(3, 2)), 0.5 + contrast * torch.rand(1, 3, 4, 4)
    net.layers[0].weight.data.fill_(weight)
    one = torch.ones(1, dtype=torch.long)
    found = peak_response_maps(net, image, Peaks(one * 0, one, one, one, torch.ones(1)))
    assert found.shape == (1, 4, 4) and found.tolist() == torch.zeros(1, 4, 4).tolist()


def state(net: nn.Module) -> list[object]:
    hooks = [len(value) for m in net.modules() for name, value in vars(m).items() if name.endswith("_hooks")]
    return [hooks, [m.training for m in net.modules()], [m.forward.__func__ for m in net.modules() if type(m) is not Toy], torch._C._len_torch_function_stack(),
            torch.is_grad_enabled(), *((name, id(p), p._version, p.requires_grad, p.tolist(), None if p.grad is None else p.grad.tolist())
                                       for name, p in net.named_parameters()), *((name, b.tolist()) for name, b in net.named_buffers())]


@pytest.mark.parametrize("learning", [True, False])
def test_the_network_stays_as_it_was(learning: bool) -> None:
    net, rgb = Toy(*networks()["depthwise"]).requires_grad_(learning), images()
    net.layers[0].weight.grad = torch.ones_like(net.layers[0].weight)
    net.layers[2].train()   # says nothing to a ReLU6, but is a flag
    peaks, given, before = peaks_of(net.score_maps(rgb).detach()), rgb.clone(), state(net)
    peak_response_maps(net, rgb, peaks)
    assert state(net) == before and torch.equal(rgb, given) and not rgb.requires_grad and rgb.grad is None


def test_an_exception_leaves_nothing_behind() -> None:
    def broken(y: Tensor) -> Tensor:
        assert torch._C._len_torch_function_stack() == 1
        raise ZeroDivisionError

    net = Toy(conv(3, 6), nn.ReLU(), WithMore(6, 4, 1, after=broken))
    before, one = state(net), torch.ones(1, dtype=torch.long)
    for there in (True, False):
        with torch.set_grad_enabled(there), pytest.raises(ZeroDivisionError):
            peak_response_maps(net, images(), Peaks(one, one, one, one, torch.ones(1)))
        assert state(net) == before
    with pytest.raises(IndexError):   # on the way down: there is no such class
        peak_response_maps(Toy(conv(3, 6)), images(), Peaks(one, one * 99, one, one, torch.ones(1)))
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_whoever_calls(context: Callable[[], object]) -> None:
    net, rgb = Toy(*networks()["depthwise"]).requires_grad_(False), images()
    peaks = peaks_of(net.score_maps(rgb))
    expected = peak_response_maps(net, rgb, peaks)
    with context():
        found = peak_response_maps(net, rgb * 1.0, peaks)
    assert torch.equal(found, expected) and not found.requires_grad and found.abs().sum() > 0


def test_threads_do_not_disturb_each_other() -> None:
    """Two are inside the forward pass while this one takes an ordinary derivative of the same network."""
    layers, rgb, found = networks()["strided"], images(), {}
    peaks = peaks_of(Toy(*layers).score_maps(rgb).detach())
    expected = peak_response_maps(Toy(*layers), rgb, peaks)
    ordinary = by_torch(nn.Sequential(*layers), rgb, torch.ones_like(Toy(*layers).score_maps(rgb)))
    barrier = threading.Barrier(3, timeout=20)

    class Meeting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            barrier.wait()
            return x

    def work(number: int) -> None:
        torch.set_num_threads(1)
        found[number] = peak_response_maps(Toy(layers[0], Meeting(), *layers[1:], Meeting()), rgb, peaks)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait()
    between = by_torch(nn.Sequential(*layers), rgb, torch.ones_like(Toy(*layers).score_maps(rgb)))
    barrier.wait()
    for thread in threads:
        thread.join(20)
    assert torch.equal(between, ordinary) and len(found) == 2 and all(torch.allclose(maps, expected) for maps in found.values())


def test_element_wise_layers_are_part_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """conv - batch norm - ReLU6, three times, is three steps and no other layer on the way down."""
    steps, plain = [], peak_response.Step.__call__
    monkeypatch.setattr(peak_response.Step, "__call__", lambda self, p: steps.append(1) or plain(self, p))
    net, rgb = Toy(*networks()["depthwise"]), images()
    with torch.enable_grad():
        traced = trace(net, rgb)
    node, names = traced.scores.grad_fn, []
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    assert names == ["LinkBackward", "AnchorBackward"] * 3 + ["torch::autograd::AccumulateGrad"]
    traced.down(torch.ones(2, *traced.scores.shape))
    assert len(steps) == 3


@pytest.mark.parametrize("name", ["efficientnet_lite0", "googlenet_bvlc", "torchvision_resnet50"])
def test_real_networks_against_the_original_code(name: str) -> None:
    from lib.nets import load_network
    from lib.nets.fcn import fully_convolutional
    from lib.papers.iam.prm_speed import hooked, one_by_one

    torch.set_default_dtype(torch.float32)
    net = fully_convolutional(load_network(name, pretrained=False), "abcd").double().requires_grad_(False)
    rgb = 127 / 255 + 128 / 255 * torch.rand(2, 3, 32, 48, dtype=torch.float64)
    rgb[:, :, 0, 0] = 127 / 255   # the minimum is what EfficientNet's own padding, before the convolution, fills in; see the test with loops
    with torch.no_grad():
        h, w = net.score_maps(rgb).shape[2:]
    image, label = torch.tensor([0, 1, 0]), torch.tensor([3, 0, 1])
    peaks = Peaks(image, label, label % h, image * (w - 1), torch.ones(3))
    found = peak_response_maps(net, rgb, peaks)
    torch.testing.assert_close(found, one_by_one(*hooked(net, rgb), peaks), rtol=1e-5, atol=1e-9)
    assert torch.allclose(found.sum((1, 2)), torch.ones(3, dtype=torch.float64))
