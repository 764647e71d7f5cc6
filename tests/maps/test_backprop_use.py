"""Derivatives of score maps.

Networks come out unharmed, nothing stays active, and all classes together are one by one.
"""
import copy
import math
import threading
from collections.abc import Mapping

import pytest
import torch
from small_nets import Residual, conv, guided_networks, with_layers
from torch import Tensor, nn

from lib.maps.backprop import Rectifiers, trace
from lib.nets import load_network
from lib.nets.fcn import IMAGE, fully_convolutional

pytestmark = pytest.mark.usefixtures("double")

FIVE = torch.tensor([[0, 1, 2, 3, 4], [4, 4, 0, 1, 3], [2, 0, 3, 4, 1]])   # classes of three images


@pytest.mark.parametrize("guided", [False, True])
def test_a_network_comes_out_as_it_went_in(guided: bool) -> None:
    body = nn.Sequential(
        conv(3, 6),
        nn.ReLU(inplace=True),
        conv(6, 6, gain=9),
        nn.ReLU6(inplace=True),
        conv(6, 6, gain=9),
        nn.Hardtanh(0, 6, inplace=True),
        Residual(conv(6, 6), nn.ReLU(inplace=True)),
        conv(6, 4, size=1),
    )
    image = torch.randn(2, 3, 6, 6)
    original = image.clone()
    before = body(image.clone())
    weights = copy.deepcopy(body.state_dict())
    forms = [type(module) for module in body.modules()]
    trace(lambda x: (body(x), {IMAGE: x}), image, guided).gradients(torch.tensor([[0, 1], [2, 3]]))
    assert torch.equal(body(image.clone()), before)
    assert torch.equal(image, original) and not image.requires_grad and image.grad is None
    assert [type(module) for module in body.modules()] == forms
    assert all(module.inplace for module in body.modules() if hasattr(module, "inplace"))
    assert all(torch.equal(value, weights[key]) for key, value in body.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in body.parameters())
    for module in body.modules():
        assert not any((module._forward_hooks, module._forward_pre_hooks))
        assert not any((module._backward_hooks, module._backward_pre_hooks))


def test_scores_under_the_rule_are_those_without() -> None:
    stages = guided_networks(True)["residual"]
    image = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected, _ = with_layers(stages)(image.clone())
        with Rectifiers(guided=True):
            found, _ = with_layers(stages)(image.clone())
    assert torch.equal(found, expected)


def relu_is_plain() -> bool:
    x = torch.tensor([2.0, -1.0, 3.0], requires_grad=True)
    weighted = torch.relu(x) * torch.tensor([-5.0, 1.0, 1.0])
    gradient, = torch.autograd.grad(weighted.sum(), x)
    y = x.detach().clone()
    return gradient.tolist() == [-5, 0, 1] and torch.relu_(y) is y and y.tolist() == [2, 0, 3]


def test_nothing_stays_active_after_an_exception() -> None:
    body = conv(3, 2)

    def broken(x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        torch.relu(body(x))
        assert not relu_is_plain()
        raise ZeroDivisionError

    def unrelated(x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:   # fails in the backward pass
        return torch.relu(body(x)), {"other": torch.zeros(1, 1, 2, 2, requires_grad=True)}

    with torch.no_grad():
        for forward_pass, error in ((broken, ZeroDivisionError), (unrelated, RuntimeError)):
            with pytest.raises(error):
                trace(forward_pass, torch.randn(1, 3, 4, 4), guided=True).gradients(torch.tensor([[0]]))
            assert torch._C._len_torch_function_stack() == 0 and not torch.is_grad_enabled()
    assert relu_is_plain()


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 100])
def test_all_classes_together_are_one_by_one(chunk: int, guided: bool) -> None:
    forward_pass = with_layers(guided_networks(True)["residual"])
    image = torch.randn(3, 3, 8, 8)
    found = trace(forward_pass, image, guided).gradients(FIVE, chunk)
    for b in range(3):
        for place in range(5):
            one = trace(forward_pass, image[b:b + 1], guided)
            alone = one.gradients(FIVE[b:b + 1, place:place + 1])
            for name in found:
                torch.testing.assert_close(found[name][b, place], alone[name][0, 0], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("chunk, sizes", [(1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (8, [5])])
def test_the_chunk_bounds_what_goes_down_together(chunk: int, sizes: list[int],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, bool]] = []
    forwards: list[int] = []
    grad = torch.autograd.grad
    forward_pass = with_layers(guided_networks(False)["chain"])

    def counted(outputs: Tensor, inputs: list[Tensor], ones: Tensor, retain_graph: bool,
                **more: object) -> tuple[Tensor, ...]:
        calls.append((len(ones), retain_graph))
        return grad(outputs, inputs, ones, retain_graph=retain_graph, **more)

    def watched(image: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        forwards.append(1)
        return forward_pass(image)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    trace(watched, torch.randn(2, 3, 8, 8), guided=True).gradients(torch.arange(5).expand(2, -1), chunk)
    assert [size for size, _ in calls] == sizes and len(calls) == math.ceil(5 / chunk)
    assert [kept for _, kept in calls] == [True] * (len(sizes) - 1) + [False]   # the graph goes with the last
    assert len(forwards) == 1


def test_one_forward_pass_serves_several_calls() -> None:
    """Classes chosen after a look at the scores, in parts.

    The graph stays until the last call, and the rule is the forward pass's.
    """
    forward_pass = with_layers(guided_networks(True)["residual"])
    image = torch.randn(2, 3, 8, 8)
    classes = torch.tensor([[0, 1, 2], [4, 4, 0]])
    for guided in (True, False):
        whole = trace(forward_pass, image, guided).gradients(classes)
        traced = trace(forward_pass, image, guided)
        assert torch.equal(traced.scores, forward_pass(image.clone())[0])
        assert list(traced.layers) == list(whole)
        first = traced.gradients(classes[:, :2], chunk=1, last=False)
        last = traced.gradients(classes[:, 2:])
        for name in whole:
            parts = torch.cat([first[name], last[name]], dim=1)
            torch.testing.assert_close(parts, whole[name], rtol=1e-10, atol=1e-13)
        with pytest.raises(RuntimeError, match="second time"):
            traced.gradients(classes)


def test_two_threads_do_not_disturb_each_other() -> None:
    """One guided, one plain, in step: both are inside the forward pass whenever either goes on.

    This thread has no rule at all.
    """
    stages = [module.requires_grad_(False) for module in guided_networks(True)["chain"]]
    image = torch.randn(2, 3, 8, 8)
    classes = torch.tensor([[0, 3], [4, 1]])
    alone = {guided: trace(with_layers(stages), image, guided).gradients(classes) for guided in (False, True)}
    barrier = threading.Barrier(3, timeout=10)
    found: dict[bool, dict[str, Tensor]] = {}
    plain: list[bool] = []

    def work(guided: bool) -> None:
        torch.set_num_threads(1)
        meeting = [lambda x, stage=stage: (barrier.wait(), stage(x))[1] for stage in stages]
        found[guided] = trace(with_layers(meeting), image, guided).gradients(classes)

    threads = [threading.Thread(target=work, args=(guided,)) for guided in (False, True)]
    for thread in threads:
        thread.start()
    for _ in stages:
        barrier.wait()
        plain.append(relu_is_plain())
    for thread in threads:
        thread.join(10)
    assert all(plain) and set(found) == {False, True}
    for guided, layers in alone.items():
        assert all(torch.equal(found[guided][name], layers[name]) for name in layers)


def test_a_real_network() -> None:
    """Every stage and the image.

    Plain against torch without any rule, guided against one class of one image at a time.
    """
    torch.set_default_dtype(torch.float32)
    trunk = load_network("efficientnet_lite0", pretrained=False)
    fcn = fully_convolutional(trunk, "abcde").double().requires_grad_(False)
    names = [IMAGE, *trunk.stages.values()]
    image = torch.rand(2, 3, 64, 48, dtype=torch.float64)
    classes = torch.tensor([[4, 0, 2], [1, 3, 0]])

    def forward_pass(x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        return fcn.scores_and_layers(x, names)

    guided, plain = (trace(forward_pass, image, rule).gradients(classes, chunk=2) for rule in (True, False))
    assert list(guided) == names
    assert guided[IMAGE].shape == (2, 3, 64, 48) and guided["bn2"].shape == (2, 3, 4, 3)
    scores, layers = forward_pass(image.clone().requires_grad_())
    for b in range(2):
        for place in range(3):
            score = scores[b, classes[b, place]].sum()
            by_torch = torch.autograd.grad(score, list(layers.values()), retain_graph=True)
            one = trace(forward_pass, image[b:b + 1], guided=True)
            alone = one.gradients(classes[b:b + 1, place:place + 1])
            for name, gradient in zip(names, by_torch, strict=True):
                expected = gradient[b].abs().amax(0)
                tolerance = 1e-8 * gradient.abs().max().item()
                torch.testing.assert_close(plain[name][b, place], expected, rtol=1e-6, atol=tolerance)
                largest = alone[name].max().item()
                assert largest > 0
                found = guided[name][b, place]
                torch.testing.assert_close(found, alone[name][0, 0], rtol=1e-6, atol=1e-8 * largest)
