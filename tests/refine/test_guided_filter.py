"""The guided filter against OpenCV's, against a regression in every window, and on unlike windows at once."""
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from lib.refine.guided_filter import box_mean, guided_filter


def window(y: int, x: int, radius: int) -> tuple[slice, slice]:
    """Cut off at the upper and left border here, at the others by numpy."""
    return slice(max(y - radius, 0), y + radius + 1), slice(max(x - radius, 0), x + radius + 1)


def literal(source: np.ndarray, guide: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """He et al., eq. 5-8.

    Ridge regression in every window cut off at the border, then the mean of all models over a pixel.
    """
    height, width, channels = guide.shape
    slope, offset = np.zeros(guide.shape), np.zeros(source.shape)
    for y in range(height):
        for x in range(width):
            here = window(y, x, radius)
            g, p = guide[here].reshape(-1, channels), source[here].ravel()
            centred = g - g.mean(0)
            ridge = centred.T @ centred / len(g) + eps * np.eye(channels)
            slope[y, x] = np.linalg.inv(ridge) @ (centred.T @ (p - p.mean()) / len(g))
            offset[y, x] = p.mean() - slope[y, x] @ g.mean(0)
    out = np.zeros(source.shape)
    for y in range(height):
        for x in range(width):
            here = window(y, x, radius)
            out[y, x] = slope[here].mean((0, 1)) @ guide[y, x] + offset[here].mean()
    return out


def literal_box(x: np.ndarray, radius: int) -> np.ndarray:
    means = np.zeros(x.shape)
    for i, j in np.ndindex(x.shape):
        means[i, j] = x[window(i, j, radius)].mean()
    return means


def pair(seed: int, height: int, width: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((height, width)), rng.random((height, width, channels))


def tensors(source: np.ndarray, guide: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(source)[None, None], torch.from_numpy(guide).permute(2, 0, 1)[None]


@pytest.mark.parametrize("radius", [1, 3, 5])
@pytest.mark.parametrize("eps", [1e-3, 0.3])
def test_as_opencv(radius: int, eps: float) -> None:
    """OpenCV mirrors at the border where this filter cuts windows off.

    Both agree inside, and everywhere on an image that is mirrored by hand (the models of mirrored windows are
    mirrored too, so that 2 r suffices).
    """
    source, guide = (a.astype(np.float32) for a in pair(radius, 26, 31))
    theirs = cv2.ximgproc.guidedFilter(guide, source, radius, eps)
    reach = 2 * radius
    ours = guided_filter(*tensors(source, guide), radius, eps)[0, 0].numpy()
    assert np.abs(ours - theirs)[reach:-reach, reach:-reach].max() < 2e-6
    large_source = np.pad(source, reach, mode="symmetric")
    large_guide = np.pad(guide, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    mirrored = guided_filter(*tensors(large_source, large_guide), radius, eps)
    assert np.abs(mirrored[0, 0, reach:-reach, reach:-reach].numpy() - theirs).max() < 2e-6
    assert np.abs(ours - theirs).max() > 1e-3   # at the border they do differ


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("radius, eps", [(1, 0.01), (2, 1e-4), (4, 0.5), (40, 0.01)])
def test_as_a_regression_in_every_window(channels: int, radius: int, eps: float) -> None:
    source, guide = pair(channels, 9, 12, channels)
    ours = guided_filter(*tensors(source, guide), radius, eps)
    assert ours.shape == (1, 1, 9, 12)
    np.testing.assert_allclose(ours[0, 0].numpy(), literal(source, guide, radius, eps), atol=1e-10)


def test_a_radius_of_its_own_for_every_image() -> None:
    batch = [tensors(*pair(seed, 14, 11)) for seed in range(4)]
    sources = torch.cat([source for source, _ in batch])
    guides = torch.cat([guide for _, guide in batch])
    radii = torch.tensor([1, 2, 5, 20])
    together = guided_filter(sources, guides, radii, 0.02)
    for n, (source, guide) in enumerate(batch):
        alone = guided_filter(source, guide, int(radii[n]), 0.02)
        assert torch.allclose(together[n:n + 1], alone, atol=1e-12, rtol=0)
    one_for_all = guided_filter(sources, guides, 2, 0.02)
    assert torch.equal(one_for_all[1], together[1]) and (one_for_all[2] - together[2]).abs().max() > 1e-3


def test_a_constant_guide_leaves_two_box_means() -> None:
    source, _ = pair(1, 10, 13)
    guide = torch.full((1, 3, 10, 13), 0.7, dtype=torch.float64)
    ours = guided_filter(torch.from_numpy(source)[None, None], guide, 2, 0.01)
    np.testing.assert_allclose(ours[0, 0].numpy(), literal_box(literal_box(source, 2), 2), atol=1e-12)


def test_the_source_as_guide_is_kept_where_eps_is_small_and_blurred_where_it_is_large() -> None:
    source, _ = pair(2, 12, 12)
    same = torch.from_numpy(source)[None, None]
    assert (guided_filter(same, same, 2, 1e-9) - same).abs().max() < 1e-6
    blurred = literal_box(literal_box(source, 2), 2)
    np.testing.assert_allclose(guided_filter(same, same, 2, 1e6)[0, 0].numpy(), blurred, atol=1e-6)


def test_contrast_inversion_of_the_guide_changes_nothing() -> None:
    source, guide = tensors(*pair(3, 12, 12))
    inverted = guided_filter(source, 5 - guide, 3, 0.01)
    assert torch.allclose(guided_filter(source, guide, 3, 0.01), inverted, atol=1e-12)


def test_a_guide_far_from_zero_keeps_its_precision() -> None:
    source, guide = pair(4, 12, 12)
    moved = guided_filter(*tensors(source, guide + 1000), 2, 1e-3)
    np.testing.assert_allclose(moved[0, 0].numpy(), literal(source, guide, 2, 1e-3), atol=1e-6)


def test_the_type_of_the_source_is_kept() -> None:
    source, guide = tensors(*pair(5, 8, 8))
    ours = guided_filter(source.float(), guide.float(), 2, 0.01)
    assert ours.dtype == torch.float32
    assert torch.allclose(ours.double(), guided_filter(source, guide, 2, 0.01), atol=1e-6)


def test_box_mean_by_hand() -> None:
    x = torch.tensor([[1.0, 2, 3], [4, 5, 6]])[None, None].repeat(2, 1, 1, 1)
    found = box_mean(x, torch.tensor([0, 1]))
    assert torch.equal(found[0], x[0])
    assert found[1, 0].tolist() == [[3.0, 3.5, 4.0], [3.0, 3.5, 4.0]]
