"""Every equation of CSoA's losses against a literal transcription, pixel by pixel and pair by pair."""
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lib.papers.csoa.method import (
    Embedded,
    alpha_at,
    classification_loss,
    coaug_loss,
    confident,
    confseg_loss,
    embedded,
    inner_loss,
    location,
    logits,
    own_map,
)
from lib.papers.csoa.settings import CsoaSettings
from lib.papers.csoa.speed import one_by_one

SETTINGS = CsoaSettings(alpha=1.0, rise="linear", inner="sum", detach=True, scaling="minmax", gamma=0.7, delta=1.3, weight=1.0)


def maps(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_eq_1_the_logits_are_averages() -> None:
    s = maps(0, 2, 3, 4, 5)
    assert torch.allclose(logits(s), torch.tensor([[mean(s[m, c].flatten().tolist()) for c in range(3)] for m in range(2)], dtype=s.dtype))


def test_the_map_of_the_class() -> None:
    s = maps(1, 3, 4, 2, 2)
    assert torch.equal(own_map(s, torch.tensor([2, 0, 3])), torch.stack([s[0, 2], s[1, 0], s[2, 3]]))


def literal_mask(s: list[list[float]]) -> list[list[int]]:
    """eq. 2-4 as printed."""
    pixels = [v for row in s for v in row]
    mu_1 = sum(pixels) / len(pixels)
    mask = [[abs(v - mu_1) for v in row] for row in s]
    mu_2 = sum(v for row in mask for v in row) / len(pixels)
    return [[int(v > mu_2) for v in row] for row in mask]


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
    for teacher, pupil in zip(s_l.tolist(), s_f.tolist()):
        mask = literal_mask(teacher)
        sums.append(sum(abs(pupil[i][j] - teacher[i][j]) * mask[i][j] for i in range(4) for j in range(3)))
    assert inner_loss(s_f, s_l, confident(s_l), "sum").item() == pytest.approx(mean(sums))
    assert inner_loss(s_f, s_l, confident(s_l), "mean").item() == pytest.approx(mean(sums) / 12)


@pytest.mark.parametrize("detach", [True, False])
def test_the_teacher_is_pulled_only_when_it_is_not_detached(detach: bool) -> None:
    s_l, s_f = maps(6, 2, 3, 4, 4).requires_grad_(), maps(7, 2, 3, 4, 4).requires_grad_()
    confseg_loss(s_l, s_f, torch.tensor([1, 2]), replace(SETTINGS, detach=detach)).backward()
    assert s_f.grad[0, 1].abs().sum() > 0 and s_f.grad[0, 0].eq(0).all() and s_f.grad[1, 2].abs().sum() > 0
    assert (s_l.grad is None) if detach else torch.allclose(s_l.grad, -s_f.grad)


def test_the_location_lies_between_0_and_1_at_the_images_size() -> None:
    s = torch.tensor([[[-2.0, 0.0], [2.0, 6.0]]])
    assert location(s, (2, 2), "minmax").tolist() == [[[[0, 0.25], [0.5, 1]]]]
    assert location(maps(8, 3, 4, 4), (16, 12), "minmax").shape == (3, 1, 16, 12)
    assert location(torch.full((1, 2, 2), 3.0), (4, 4), "minmax").eq(0).all()   # a constant map has no foreground, and no NaN


def test_the_positive_part_of_a_map_over_its_maximum() -> None:
    s = torch.tensor([[[-2.0, 0.0], [3.0, 6.0]], [[-1.0, -2.0], [-3.0, -4.0]]])
    assert location(s, (2, 2), "positive").tolist() == [[[[0, 0], [0.5, 1]]], [[[0, 0], [0, 0]]]]   # and nothing where nothing is positive


def test_a_loop_over_pairs_gives_the_same_loss() -> None:
    vectors = Embedded(*(maps(seed, 6, 5) for seed in (21, 22, 23)))
    classes = torch.tensor([0, 0, 1, 2, 1, 1])
    assert one_by_one(vectors, classes, 0.7, 1.3).item() == pytest.approx(coaug_loss(vectors, classes, 0.7, 1.3).item(), rel=1e-6)


def test_eq_8_and_10_what_is_embedded() -> None:
    """With the average colour as the embedding network, written out for every pixel."""
    images, s = maps(9, 2, 3, 4, 4).abs(), maps(10, 2, 4, 4)
    found = embedded(lambda x: x.mean((2, 3)), images, s, "minmax")
    for m in range(2):
        low, high, mask = s[m].min().item(), s[m].max().item(), literal_mask(s[m].tolist())
        where = [[(s[m, i, j].item() - low) / (high - low) for j in range(4)] for i in range(4)]
        for channel in range(3):
            pixel = [[images[m, channel, i, j].item() for j in range(4)] for i in range(4)]
            cells = [(i, j) for i in range(4) for j in range(4)]
            assert found.f[m, channel].item() == pytest.approx(mean([where[i][j] * pixel[i][j] for i, j in cells]))
            assert found.b[m, channel].item() == pytest.approx(mean([(1 - where[i][j]) * pixel[i][j] for i, j in cells]))
            assert found.mask_b[m, channel].item() == pytest.approx(mean([(1 - where[i][j]) * mask[i][j] * pixel[i][j] for i, j in cells]))


def literal_coaug(vectors: Embedded, classes: list[int], gamma: float, delta: float) -> float:
    """eq. 9-12, the labels of the two sums swapped back, each divided by its number of ordered pairs."""
    f, b, mask_b = (part.tolist() for part in vectors)
    norm = lambda x, y: math.sqrt(sum((p - q) ** 2 for p, q in zip(x, y)))   # noqa: E731
    cam, back = [norm(x, y) for x, y in zip(f, b)], [norm(x, y) for x, y in zip(b, mask_b)]
    same, diff = [], []
    for m in range(len(f)):
        for n in range(len(f)):
            backs, cams = gamma * (back[m] + back[n]), (cam[m] + cam[n]) / 2
            if classes[m] != classes[n]:
                diff.append(backs / (delta * norm(f[m], f[n]) + cams))
            elif m != n:
                same.append((backs + norm(f[m], f[n])) / cams)
    return (mean(diff) if diff else 0) + (mean(same) if same else 0)


@pytest.mark.parametrize("classes", [[0, 0, 1, 1, 2], [0, 1, 2, 3, 4], [3, 3, 3, 3, 3]])
def test_eq_9_to_12_over_all_pairs(classes: list[int]) -> None:
    vectors = Embedded(maps(11, 5, 7), maps(12, 5, 7), maps(13, 5, 7))
    found = coaug_loss(vectors, torch.tensor(classes), 0.7, 1.3)
    assert found.item() == pytest.approx(literal_coaug(vectors, classes, 0.7, 1.3), rel=1e-6)


def test_coaug_wants_one_class_alike_and_different_ones_apart() -> None:
    """The gradient pulls foregrounds of a class together, pushes those of different classes apart, and each from its background."""
    f = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    b, mask_b = torch.tensor([[0.0, 5.0], [1.0, 5.0]], dtype=torch.float64), torch.tensor([[0.0, 4.0], [1.0, 4.0]], dtype=torch.float64)
    pull, = torch.autograd.grad(coaug_loss(Embedded(f, b, mask_b), torch.tensor([0, 0]), 1.0, 1.0), f)
    push, = torch.autograd.grad(coaug_loss(Embedded(f, b, mask_b), torch.tensor([0, 1]), 1.0, 1.0), f)
    assert pull[0, 0] < 0 < pull[1, 0] and push[0, 0] > 0 > push[1, 0]
    assert (push[:, 1] > 0).all()   # away from the background, which lies above


def test_alike_vectors_have_finite_gradients() -> None:
    f = torch.zeros(4, 3, requires_grad=True)
    coaug_loss(Embedded(f, torch.zeros(4, 3), torch.zeros(4, 3)), torch.tensor([0, 0, 1, 1]), 1.0, 1.0).backward()
    assert f.grad.isfinite().all()


def test_l_cls_is_the_cross_entropy_of_both_classifiers() -> None:
    s_l, s_f, classes = maps(14, 3, 4, 2, 2), maps(15, 3, 4, 2, 2), torch.tensor([1, 0, 3])

    def literal(s: Tensor) -> float:
        y = [[mean(s[m, c].flatten().tolist()) for c in range(4)] for m in range(3)]
        return mean([-math.log(math.exp(row[c]) / sum(map(math.exp, row))) for row, c in zip(y, classes.tolist())])

    assert classification_loss(s_l, None, classes).item() == pytest.approx(literal(s_l))
    assert classification_loss(s_l, s_f, classes).item() == pytest.approx(literal(s_l) + literal(s_f))


def test_alpha_rises_from_nothing_to_its_highest() -> None:
    assert [alpha_at(e, 5, 0.8, "linear") for e in range(5)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert alpha_at(0, 1, 1.0, "linear") == 0
    assert [alpha_at(e, 5, 0.8, "late") for e in range(5)] == [0, 0, 0.8, 0.8, 0.8] and [alpha_at(e, 3, 0.8, "constant") for e in range(3)] == [0.8] * 3


def test_the_extractor_passes_gradients_to_the_map() -> None:
    s = maps(16, 2, 4, 4).float().requires_grad_()
    extractor = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False)
    vectors = embedded(extractor, torch.rand(2, 3, 8, 8), s, "minmax")
    coaug_loss(vectors, torch.tensor([0, 0]), 1.0, 1.0).backward()
    assert s.grad.abs().sum() > 0
