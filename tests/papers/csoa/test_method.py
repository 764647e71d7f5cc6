"""Every equation of CSoA's losses against a literal transcription, pixel by pixel and pair by pair."""
import math
from dataclasses import replace

import pytest
import torch
from csoa_toys import CLASSES, toy_trunk
from torch import Tensor, nn

from lib.papers.csoa.method import (
    LEAST,
    Embedded,
    alpha_at,
    classification_loss,
    coaug_loss,
    confident,
    confseg_loss,
    distance,
    embedded,
    inner_loss,
    location,
    logits,
    network_of,
    own_map,
    union,
)
from lib.papers.csoa.settings import CsoaSettings, Variant
from lib.papers.csoa.speed import one_by_one

SETTINGS = CsoaSettings(alpha=1.0, rise="linear", inner="sum", detach=True, scaling="minmax",
                        gamma=0.7, delta=1.3, weight=1.0)
Rows = list[list[float]]


def maps(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("variant, has_two", [
    ("base", False), ("coaug", False), ("confseg", True), ("csoa", True)])
def test_confseg_needs_the_second_classifier(variant: Variant, has_two: bool) -> None:
    net = network_of(variant, "4-5", toy_trunk(1), CLASSES, 6)
    assert (net.w_f is not None) is has_two
    assert net.stage == ("stage4" if has_two else None)


def test_eq_1_the_logits_are_averages() -> None:
    s = maps(0, 2, 3, 4, 5)
    expected = torch.empty(2, 3, dtype=s.dtype)
    for m in range(2):
        for c in range(3):
            expected[m, c] = mean(s[m, c].flatten().tolist())
    assert torch.allclose(logits(s), expected)


def test_the_map_of_the_class() -> None:
    s = maps(1, 3, 4, 2, 2)
    assert torch.equal(own_map(s, torch.tensor([2, 0, 3])), torch.stack([s[0, 2], s[1, 0], s[2, 3]]))


def literal_mask(s: Rows) -> list[list[int]]:
    """Mask of eq. 2-4 as printed."""
    pixels = [v for row in s for v in row]
    mu_1 = mean(pixels)
    mu_2 = mean([abs(v - mu_1) for v in pixels])
    mask = []
    for row in s:
        mask.append([int(abs(v - mu_1) > mu_2) for v in row])
    return mask


def test_eq_2_to_4_the_mask() -> None:
    s = maps(2, 3, 5, 4)
    assert confident(s).int().tolist() == [literal_mask(one.tolist()) for one in s]
    assert not confident(torch.full((1, 3, 3), 2.0)).any()   # nothing stands out from a constant map


def test_eq_7_the_mask_is_spgs_two_thresholds() -> None:
    """Foreground above mu_1 + mu_2, background below mu_1 - mu_2."""
    s = maps(3, 1, 8, 8)
    mu_1 = s.mean()
    mu_2 = (s - mu_1).abs().mean()
    assert torch.equal(confident(s)[0], (s[0] > mu_1 + mu_2) | (s[0] < mu_1 - mu_2))


def test_eq_5_where_the_teacher_is_sure_the_pupil_follows() -> None:
    s_l, s_f = maps(4, 2, 4, 3), maps(5, 2, 4, 3)
    sums = []
    for teacher, pupil in zip(s_l.tolist(), s_f.tolist(), strict=True):
        mask = literal_mask(teacher)
        cells = [(i, j) for i in range(4) for j in range(3)]
        sums.append(sum(abs(pupil[i][j] - teacher[i][j]) * mask[i][j] for i, j in cells))
    assert inner_loss(s_f, s_l, confident(s_l), "sum").item() == pytest.approx(mean(sums))
    assert inner_loss(s_f, s_l, confident(s_l), "mean").item() == pytest.approx(mean(sums) / 12)


@pytest.mark.parametrize("detach", [True, False])
def test_the_teacher_is_pulled_only_when_it_is_not_detached(detach: bool) -> None:
    s_l = maps(6, 2, 3, 4, 4).requires_grad_()
    s_f = maps(7, 2, 3, 4, 4).requires_grad_()
    confseg_loss(s_l, s_f, torch.tensor([1, 2]), replace(SETTINGS, detach=detach)).backward()
    assert s_f.grad[0, 1].abs().sum() > 0
    assert s_f.grad[0, 0].eq(0).all()
    assert s_f.grad[1, 2].abs().sum() > 0
    if detach:
        assert s_l.grad is None
    else:
        assert torch.allclose(s_l.grad, -s_f.grad)


def test_the_location_lies_between_0_and_1_at_the_images_size() -> None:
    s = torch.tensor([[[-2.0, 0.0], [2.0, 6.0]]])
    assert location(s, (2, 2), "minmax").tolist() == [[[[0, 0.25], [0.5, 1]]]]
    assert location(maps(8, 3, 4, 4), (16, 12), "minmax").shape == (3, 1, 16, 12)


def test_a_constant_map_has_no_foreground_and_no_nan() -> None:
    assert location(torch.full((1, 2, 2), 3.0), (4, 4), "minmax").eq(0).all()


def test_the_positive_part_of_a_map_over_its_maximum() -> None:
    s = torch.tensor([[[-2.0, 0.0], [3.0, 6.0]], [[-1.0, -2.0], [-3.0, -4.0]]])
    # and nothing where nothing is positive
    assert location(s, (2, 2), "positive").tolist() == [[[[0, 0], [0.5, 1]]], [[[0, 0], [0, 0]]]]


def test_a_loop_over_pairs_gives_the_same_loss() -> None:
    vectors = Embedded(*(maps(seed, 6, 5) for seed in (21, 22, 23)))
    classes = torch.tensor([0, 0, 1, 2, 1, 1])
    expected = coaug_loss(vectors, classes, 0.7, 1.3).item()
    assert one_by_one(vectors, classes, 0.7, 1.3).item() == pytest.approx(expected, rel=1e-6)


def test_eq_8_and_10_what_is_embedded() -> None:
    """With the average colour as the embedding network, written out for every pixel."""
    images, s = maps(9, 2, 3, 4, 4).abs(), maps(10, 2, 4, 4)
    vectors = embedded(lambda parts: parts.mean((2, 3)), images, s, "minmax")
    cells = [(i, j) for i in range(4) for j in range(4)]
    for m in range(2):
        low, high = s[m].min().item(), s[m].max().item()
        mask = literal_mask(s[m].tolist())
        where = ((s[m] - low) / (high - low)).tolist()
        for channel in range(3):
            pixel = images[m, channel].tolist()
            f = mean([where[i][j] * pixel[i][j] for i, j in cells])
            b = mean([(1 - where[i][j]) * pixel[i][j] for i, j in cells])
            mask_b = mean([(1 - where[i][j]) * mask[i][j] * pixel[i][j] for i, j in cells])
            assert vectors.f[m, channel].item() == pytest.approx(f)
            assert vectors.b[m, channel].item() == pytest.approx(b)
            assert vectors.mask_b[m, channel].item() == pytest.approx(mask_b)


def norm(a: list[float], b: list[float]) -> float:
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))


def literal_coaug(vectors: Embedded, classes: list[int], gamma: float, delta: float) -> float:
    """eq. 9-12, the labels of the two sums swapped back, each divided by its number of ordered pairs."""
    f, b, mask_b = (part.tolist() for part in vectors)
    cam = [norm(x, y) for x, y in zip(f, b, strict=True)]
    back = [norm(x, y) for x, y in zip(b, mask_b, strict=True)]
    same, different = [], []
    for m in range(len(f)):
        for n in range(len(f)):
            backs = gamma * (back[m] + back[n])
            cams = (cam[m] + cam[n]) / 2
            if classes[m] != classes[n]:
                different.append(backs / (delta * norm(f[m], f[n]) + cams))
            elif m != n:
                same.append((backs + norm(f[m], f[n])) / cams)
    return (mean(different) if different else 0) + (mean(same) if same else 0)


@pytest.mark.parametrize("classes", [[0, 0, 1, 1, 2], [0, 1, 2, 3, 4], [3, 3, 3, 3, 3]])
def test_eq_9_to_12_over_all_pairs(classes: list[int]) -> None:
    vectors = Embedded(maps(11, 5, 7), maps(12, 5, 7), maps(13, 5, 7))
    loss = coaug_loss(vectors, torch.tensor(classes), 0.7, 1.3)
    assert loss.item() == pytest.approx(literal_coaug(vectors, classes, 0.7, 1.3), rel=1e-6)


def test_coaug_wants_one_class_alike_and_different_ones_apart() -> None:
    """The gradient pulls foregrounds of a class together, and pushes those of different classes apart.

    And it pushes each from its background.
    """
    f = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[0.0, 5.0], [1.0, 5.0]], dtype=torch.float64)
    mask_b = torch.tensor([[0.0, 4.0], [1.0, 4.0]], dtype=torch.float64)
    vectors = Embedded(f, b, mask_b)
    pull, = torch.autograd.grad(coaug_loss(vectors, torch.tensor([0, 0]), 1.0, 1.0), f)
    push, = torch.autograd.grad(coaug_loss(vectors, torch.tensor([0, 1]), 1.0, 1.0), f)
    assert pull[0, 0] < 0 < pull[1, 0]
    assert push[0, 0] > 0 > push[1, 0]
    assert (push[:, 1] > 0).all()   # away from the background, which lies above


def test_alike_vectors_have_finite_gradients() -> None:
    f = torch.zeros(4, 3, requires_grad=True)
    vectors = Embedded(f, torch.zeros(4, 3), torch.zeros(4, 3))
    coaug_loss(vectors, torch.tensor([0, 0, 1, 1]), 1.0, 1.0).backward()
    assert f.grad.isfinite().all()


def literal_cross_entropy(s: Tensor, classes: list[int]) -> float:
    """The cross entropy of the averages of class maps `(B, K, h, w)`, image by image."""
    each = []
    for m, c in enumerate(classes):
        y = [mean(one.flatten().tolist()) for one in s[m]]
        each.append(-math.log(math.exp(y[c]) / sum(map(math.exp, y))))
    return mean(each)


def test_l_cls_is_the_cross_entropy_of_both_classifiers() -> None:
    s_l, s_f = maps(14, 3, 4, 2, 2), maps(15, 3, 4, 2, 2)
    classes = [1, 0, 3]
    first, second = literal_cross_entropy(s_l, classes), literal_cross_entropy(s_f, classes)
    assert classification_loss(s_l, None, torch.tensor(classes)).item() == pytest.approx(first)
    assert classification_loss(s_l, s_f, torch.tensor(classes)).item() == pytest.approx(first + second)


def test_alpha_rises_from_nothing_to_its_highest() -> None:
    assert [alpha_at(epoch, 5, 0.8, "linear") for epoch in range(5)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert alpha_at(0, 1, 1.0, "linear") == 0
    assert [alpha_at(epoch, 5, 0.8, "late") for epoch in range(5)] == [0, 0, 0.8, 0.8, 0.8]
    assert [alpha_at(epoch, 3, 0.8, "constant") for epoch in range(3)] == [0.8] * 3


def test_the_extractor_passes_gradients_to_the_map() -> None:
    s = maps(16, 2, 4, 4).float().requires_grad_()
    extractor = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False)
    vectors = embedded(extractor, torch.rand(2, 3, 8, 8), s, "minmax")
    coaug_loss(vectors, torch.tensor([0, 0]), 1.0, 1.0).backward()
    assert s.grad.abs().sum() > 0


def test_eq_13_a_pixel_belongs_to_the_object_where_either_map_says_so() -> None:
    s_l = torch.tensor([[1.0, 4.0], [2.1, 0.0]])
    s_f = torch.tensor([[9.0, 1.0], [1.0, 10.0]])
    assert union(s_l, s_f, 0.5).tolist() == [[True, True], [True, True]]
    assert union(s_l, s_f, 0.6).tolist() == [[True, True], [False, True]]
    assert union(s_l, None, 0.6).tolist() == [[False, True], [False, False]]


def test_eq_9_to_11_the_distance_is_a_norm_that_never_vanishes() -> None:
    a, b = torch.tensor([[3.0, 0.0], [1.0, 2.0]]), torch.tensor([[0.0, 4.0], [1.0, 2.0]])
    assert distance(a, b).tolist() == pytest.approx([5, LEAST])
    # Of equal vectors the derivative is 0, where that of the norm itself would be no number.
    same = torch.ones(3, requires_grad=True)
    distance(same, torch.ones(3)).backward()
    assert same.grad.tolist() == [0, 0, 0]
