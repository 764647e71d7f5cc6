"""Peak response maps of batches of images: what they must not depend on, and what must not depend on them."""
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from peak_nets import Toy, WithMore, by_torch, images, networks, peaks_of, some, state
from small_nets import conv
from torch import Tensor, nn

from lib.maps.peak_response import Traced, peak_response_maps
from lib.maps.peaks import Peaks

pytestmark = pytest.mark.usefixtures("double")


def test_no_other_image_of_the_batch_matters() -> None:
    net = Toy(*networks()["residual"])
    rgb = images()
    peaks = peaks_of(net.score_maps(rgb))
    found = peak_response_maps(net, rgb, peaks)
    for b in range(3):
        mine = peaks.image == b
        chosen = some(peaks, mine)
        alone = replace(chosen, image=chosen.image * 0)
        torch.testing.assert_close(peak_response_maps(net, rgb[b:b + 1], alone), found[mine])


def test_every_peak_has_its_own_map_in_any_order() -> None:
    net = Toy(*networks()["pools"])
    rgb = images()
    peaks = peaks_of(net.score_maps(rgb))
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3, 0])   # one of them twice
    found = peak_response_maps(net, rgb, some(peaks, order))
    torch.testing.assert_close(found, peak_response_maps(net, rgb, peaks)[order])


@pytest.mark.parametrize("chunk, slots", [(1, [1] * 4), (3, [1] * 4), (6, [2, 2]), (10, [3, 1]), (100, [4])])
def test_the_chunk_bounds_what_goes_down_together(chunk: int, slots: list[int],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to four peaks an image in three images: the first of each go together, then the second, ...

    The forward pass happens once.
    """
    net = Toy(*networks()["concatenated"])
    rgb = images()
    peaks = peaks_of(net.score_maps(rgb))
    whole = peak_response_maps(net, rgb, peaks)
    plain = Traced.down
    together: list[int] = []
    forwards: list[int] = []

    def watched(traced: Traced, seeds: Tensor) -> Tensor:
        together.append(len(seeds))
        return plain(traced, seeds)

    monkeypatch.setattr(Traced, "down", watched)
    net.layers.register_forward_hook(lambda *_: forwards.append(1))
    torch.testing.assert_close(peak_response_maps(net, rgb, peaks, chunk), whole)
    assert together == slots and len(forwards) == 1


def test_no_peak_no_work() -> None:
    none = torch.zeros(0, dtype=torch.long)
    peaks = Peaks(none, none, none, none, torch.zeros(0))
    found = peak_response_maps(Toy(), torch.rand(2, 3, 5, 7).float(), peaks)
    assert found.shape == (0, 5, 7) and found.dtype == torch.float32


@pytest.mark.parametrize("weight, contrast", [(-1, 0.5), (1, 0)])
def test_where_nothing_comes_down_the_map_is_zero(weight: float, contrast: float) -> None:
    """Negative weights only; an image of one colour."""
    net = Toy(conv(3, 2))
    image = 0.5 + contrast * torch.rand(1, 3, 4, 4)
    net.layers[0].weight.data.fill_(weight)
    one = torch.ones(1, dtype=torch.long)
    found = peak_response_maps(net, image, Peaks(one * 0, one, one, one, torch.ones(1)))
    assert found.shape == (1, 4, 4) and found.tolist() == torch.zeros(1, 4, 4).tolist()


@pytest.mark.parametrize("learning", [True, False])
def test_the_network_stays_as_it_was(learning: bool) -> None:
    net = Toy(*networks()["depthwise"]).requires_grad_(learning)
    rgb = images()
    net.layers[0].weight.grad = torch.ones_like(net.layers[0].weight)
    net.layers[2].train()   # says nothing to a ReLU6, but is a flag
    peaks = peaks_of(net.score_maps(rgb).detach())
    given = rgb.clone()
    before = state(net)
    peak_response_maps(net, rgb, peaks)
    assert state(net) == before
    assert torch.equal(rgb, given) and not rgb.requires_grad and rgb.grad is None


def test_an_exception_leaves_nothing_behind() -> None:
    def broken(y: Tensor) -> Tensor:
        assert torch._C._len_torch_function_stack() == 1
        raise ZeroDivisionError

    net = Toy(conv(3, 6), nn.ReLU(), WithMore(6, 4, 1, after=broken))
    before = state(net)
    one = torch.ones(1, dtype=torch.long)
    for there in (True, False):
        with torch.set_grad_enabled(there), pytest.raises(ZeroDivisionError):
            peak_response_maps(net, images(), Peaks(one, one, one, one, torch.ones(1)))
        assert state(net) == before
    with pytest.raises(IndexError):   # on the way down: there is no such class
        peak_response_maps(Toy(conv(3, 6)), images(), Peaks(one, one * 99, one, one, torch.ones(1)))
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_whoever_calls(context: Callable[[], object]) -> None:
    net = Toy(*networks()["depthwise"]).requires_grad_(False)
    rgb = images()
    peaks = peaks_of(net.score_maps(rgb))
    expected = peak_response_maps(net, rgb, peaks)
    with context():
        found = peak_response_maps(net, rgb * 1.0, peaks)
    assert torch.equal(found, expected) and not found.requires_grad and found.abs().sum() > 0


def test_threads_do_not_disturb_each_other() -> None:
    """Two are inside the forward pass while this one takes an ordinary derivative of the same network."""
    layers = networks()["strided"]
    rgb = images()
    found: dict[int, Tensor] = {}
    scores = Toy(*layers).score_maps(rgb).detach()
    peaks = peaks_of(scores)
    expected = peak_response_maps(Toy(*layers), rgb, peaks)
    ordinary = by_torch(nn.Sequential(*layers), rgb, torch.ones_like(scores))
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
    between = by_torch(nn.Sequential(*layers), rgb, torch.ones_like(scores))
    barrier.wait()
    for thread in threads:
        thread.join(20)
    assert torch.equal(between, ordinary) and len(found) == 2
    assert all(torch.allclose(maps, expected) for maps in found.values())


@pytest.mark.parametrize("name", ["efficientnet_lite0", "googlenet_bvlc", "torchvision_resnet50"])
def test_real_networks_against_the_original_code(name: str) -> None:
    from lib.nets import load_network
    from lib.nets.fcn import fully_convolutional
    from lib.papers.iam.prm_speed import hooked, one_by_one

    torch.set_default_dtype(torch.float32)
    net = fully_convolutional(load_network(name, pretrained=False), "abcd").double().requires_grad_(False)
    rgb = 127 / 255 + 128 / 255 * torch.rand(2, 3, 32, 48, dtype=torch.float64)
    # the minimum is what EfficientNet's own padding, before the convolution, fills in: see test_top_down
    rgb[:, :, 0, 0] = 127 / 255
    with torch.no_grad():
        h, w = net.score_maps(rgb).shape[2:]
    image, label = torch.tensor([0, 1, 0]), torch.tensor([3, 0, 1])
    peaks = Peaks(image, label, label % h, image * (w - 1), torch.ones(3))
    found = peak_response_maps(net, rgb, peaks)
    torch.testing.assert_close(found, one_by_one(*hooked(net, rgb), peaks), rtol=1e-5, atol=1e-9)
    assert torch.allclose(found.sum((1, 2)), torch.ones(3, dtype=torch.float64))
