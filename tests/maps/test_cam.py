"""Class activation maps by literal sums, and by what they add up to."""
import pytest
import torch
from torch import Tensor

from lib.maps.cam import cam, class_scores, normalise, winner_under_max_pooling


@pytest.fixture
def parts() -> tuple[Tensor, Tensor, Tensor]:
    """Features (3, 5, 4, 6), classifier (7, 5) and bias (7,)."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 5, 4, 6, generator=generator)
    weight = torch.randn(7, 5, generator=generator)
    bias = torch.randn(7, generator=generator)
    return features, weight, bias


def test_the_sum_of_the_paper(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    """CAM_j(x) = sum_i w_ij C_i(x), position by position."""
    features, weight, _ = parts
    classes = torch.tensor([6, 0, 3])
    found = cam(features, weight, classes)
    assert found.shape == (3, 1, 4, 6)
    for b in range(3):
        for y in range(4):
            for x in range(6):
                by_hand = sum(float(weight[classes[b], i] * features[b, i, y, x]) for i in range(5))
                assert float(found[b, 0, y, x]) == pytest.approx(by_hand, abs=1e-5)


def test_its_mean_is_the_class_score_without_bias(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    """Pooling and the linear layer change places (Zhou et al., section 2)."""
    features, weight, bias = parts
    logits = torch.nn.functional.linear(features.mean((2, 3)), weight, bias)
    for j in range(7):
        means = cam(features, weight, torch.full((3,), j)).mean((1, 2, 3))
        assert torch.allclose(means, logits[:, j] - bias[j], atol=1e-5)


def test_it_is_grad_cam_of_such_a_network(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    """The gradient of the score by a map is its weight / positions everywhere: no backward pass is needed."""
    features, weight, bias = parts
    features = features.clone().requires_grad_()
    logits = torch.nn.functional.linear(features.mean((2, 3)), weight, bias)
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), features)
    grad_cam = (gradient.sum((2, 3), keepdim=True) * features).sum(1, keepdim=True)
    assert torch.allclose(cam(features, weight, torch.full((3,), 2)), grad_cam, atol=1e-5)


def test_all_classes_at_once(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    features, weight, _ = parts
    found = class_scores(features, weight)
    assert found.shape == (3, 7, 4, 6)
    for j in range(7):
        assert torch.allclose(found[:, j:j + 1], cam(features, weight, torch.full((3,), j)), atol=1e-6)


def test_the_winner_under_max_pooling_by_loop(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    features, weight, bias = parts
    found = winner_under_max_pooling(features, weight, bias).tolist()
    for b in range(3):
        scores = []
        for k in range(7):
            strongest = max(float(weight[k] @ features[b, :, y, x]) for y in range(4) for x in range(6))
            scores.append(strongest + float(bias[k]))
        assert found[b] == scores.index(max(scores))


def test_max_pooling_and_average_pooling_choose_differently() -> None:
    """A peak of class 0 on empty ground, class 1 everywhere a little; the bias can turn it."""
    features = torch.zeros(1, 2, 3, 3)
    features[0, 0, 1, 1], features[0, 1] = 5, 1
    weight = torch.eye(2)
    assert features.mean((2, 3)).argmax(1).tolist() == [1]
    assert winner_under_max_pooling(features, weight, torch.zeros(2)).tolist() == [0]
    assert winner_under_max_pooling(features, weight, torch.tensor([0.0, 4.5])).tolist() == [1]


def test_normalise_by_hand() -> None:
    maps = torch.tensor([[[-1.0, 0.0], [1.0, 3.0]], [[10.0, 20.0], [15.0, 10.0]], [[0.0, 0.0], [0.0, 1e-3]]])
    expected = torch.tensor([[[0.0, 0.25], [0.5, 1.0]], [[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    assert torch.allclose(normalise(maps[:, None]), expected[:, None])


@pytest.mark.parametrize("value", [0.0, 1.0, -7.5, 1e6])
def test_a_constant_map_becomes_zero(value: float) -> None:
    assert normalise(torch.full((2, 1, 3, 3), value)).abs().max() == 0
