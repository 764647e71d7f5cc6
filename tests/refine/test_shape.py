"""Principal components against a full singular value decomposition of every image."""
import pytest
import torch
from torch import Tensor

from lib.refine.shape import principal_components


def literal(responses: list[Tensor], components: int) -> Tensor:
    """Section 3.2 with numpy-like plainness: centre the vectors v_k, full SVD, project.

    The lib's conventions on sign and scale.
    """
    images = []
    for i in range(len(responses[0])):
        x = torch.cat([r[i].flatten(1) for r in responses]).double()      # (D, N)
        x = x - x.mean(1, keepdim=True)
        left = torch.linalg.svd(x, full_matrices=False).U[:, :components]
        for k in range(left.shape[1]):
            if left[:, k].abs().max() != left[:, k].max():
                left[:, k] = -left[:, k]
        scores = left.T @ x
        scores = scores / scores[0].square().mean().sqrt()
        images.append(scores.reshape(-1, *responses[0].shape[2:]))
    return torch.stack(images)


def realistic(batch: int, channels: int, side: int, seed: int, decay: float = 1.5,
              floor: float = 0.03) -> Tensor:
    """Response maps whose singular values fall like i^-decay onto a floor of noise.

    They are off centre, as rectified maps are.
    """
    generator = torch.Generator().manual_seed(seed)
    positions = side * side
    rank = min(40, channels)
    patterns = torch.linalg.qr(torch.randn(batch, positions, rank, generator=generator)).Q
    loadings = torch.linalg.qr(torch.randn(batch, channels, rank, generator=generator)).Q
    values = torch.arange(1, rank + 1).float() ** -decay * side
    noise = floor * torch.randn(batch, channels, positions, generator=generator) / channels ** 0.5
    offset = torch.rand(batch, channels, 1, generator=generator)
    maps = (loadings * values) @ patterns.transpose(1, 2) + noise + offset
    return maps.view(batch, channels, side, side)


def test_as_a_full_svd() -> None:
    """Within 2e-3 of the first component's standard deviation, on 300 channels with a decaying spectrum."""
    maps = realistic(3, 300, 28, seed=0)
    ours = principal_components([maps[:, :100], maps[:, 100:]], 3)
    assert ours.shape == (3, 3, 28, 28)
    assert (ours - literal([maps], 3)).abs().max() < 2e-3


def test_a_flat_spectrum_is_exact_where_the_channels_are_few() -> None:
    # 3 + 6 channels: nothing is left out
    maps = torch.randn(2, 9, 12, 10, generator=torch.Generator().manual_seed(1))
    assert (principal_components([maps], 3) - literal([maps], 3)).abs().max() < 1e-4


@pytest.mark.parametrize("components", [1, 2, 5])
def test_any_number_of_components(components: int) -> None:
    maps = realistic(2, 30, 12, seed=2)
    ours = principal_components([maps], components)
    assert ours.shape == (2, components, 12, 12)
    assert (ours - literal([maps], components)).abs().max() < 2e-3


def test_the_first_component_has_unit_deviation_and_the_others_less() -> None:
    scores = principal_components([realistic(4, 50, 16, seed=3)], 3).flatten(2)
    assert scores.mean(2).abs().max() < 1e-5
    deviation = scores.std(2, unbiased=False)
    assert (deviation[:, 0] - 1).abs().max() < 1e-5
    assert (deviation.diff(dim=1) < 0).all()
    correlation = scores @ scores.transpose(1, 2) / scores.shape[2]
    assert (correlation - torch.diag_embed(deviation ** 2)).abs().max() < 2e-3


def test_the_sign_rule_by_hand() -> None:
    """One pattern.

    The channel with the largest loading carries it upside down, so the component is upside down as well.
    """
    pattern = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    maps = torch.stack([pattern, -3 * pattern, 2 * pattern])[None] + 7
    assert torch.allclose(principal_components([maps], 1)[0, 0], -pattern, atol=1e-5)
    assert torch.allclose(principal_components([-maps], 1)[0, 0], pattern, atol=1e-5)


def test_a_larger_network_output_gives_the_same_shape() -> None:
    maps = realistic(2, 20, 10, seed=4)
    assert torch.allclose(principal_components([maps], 3), principal_components([1000 * maps], 3), atol=1e-3)


def test_a_batch_is_its_images() -> None:
    maps = realistic(4, 60, 14, seed=5)
    together = principal_components([maps], 3)
    alone = torch.cat([principal_components([maps[i:i + 1]], 3) for i in range(4)])
    assert (together - alone).abs().max() < 1e-4
    assert torch.equal(together, principal_components([maps], 3))


@pytest.mark.parametrize("channels", [1, 2])
def test_fewer_channels_than_components(channels: int) -> None:
    maps = torch.randn(2, channels, 6, 6, generator=torch.Generator().manual_seed(6))
    ours = principal_components([maps], 3)
    assert ours.shape == (2, 3, 6, 6)
    assert (ours[:, :channels] - literal([maps], channels)).abs().max() < 1e-4
    assert not ours[:, channels:].any()


def test_fewer_positions_than_components() -> None:
    assert principal_components([torch.randn(1, 8, 1, 2)], 3).shape == (1, 3, 1, 2)


def test_constant_maps_hold_no_shape() -> None:
    ours = principal_components([torch.full((1, 5, 6, 6), 3.0)], 3)
    assert torch.isfinite(ours).all() and ours.abs().max() < 1e-3
