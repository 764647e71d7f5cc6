"""Sums over all pixels, weighed by a Gaussian of the distance between features: exact, as attention.

exp(-½ |f_i - f_j|²) is exp(q_i · k_j), what attention computes, with -½ |f_i|² and -½ |f_j|² as two more
features; a GPU does that without a matrix in memory.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from lib.refine.gaussian import Features, filled, tile_order

GROUPS = 8      # halvings into groups of like pixels, from whose middles distances are exact enough
ALIGNED = 8     # numbers of features and of values are multiples of this, as a GPU's quick kernels want


@dataclass(frozen=True)
class AttentiveGaussian:
    """The weights between all pixels of an image; none is left out.

    order   the pixel at each place of the groups `(G, m)`; numbers from N on repeat the last pixel
    total   Σ_j k_ij of each pixel `(N,)`
    """
    features: Sequence[Features]
    order: Tensor
    total: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, features: Sequence[Features]) -> "AttentiveGaussian":
        """From the pixels' features."""
        scaled = torch.cat([some.scaled() for some in features])
        order = tile_order(scaled, most=1, levels=GROUPS)
        unknown = cls(features, order, scaled.new_ones(scaled.shape[1]))
        return cls(features, order, unknown._totals())

    @torch.no_grad()
    def sums(self, values: Tensor) -> Tensor:
        """Σ_j k_ij v_j of values `(K, N)`, for every pixel i: attention's mean times the sum of weights."""
        queries, keys = self._sides()
        return self.total * self._means(queries, keys, values.T).T

    def _totals(self) -> Tensor:
        """One more key of weight exp(0) = 1, whose value alone is 1: its mean is 1 / (1 + Σ_j k_ij)."""
        queries, keys = self._sides()
        values = torch.zeros_like(self.total)[:, None]
        share = self._means(queries, pad(keys, (0, 0, 0, 1)), pad(values, (0, 0, 0, 1), value=1.0))
        return 1 / share[:, 0] - 1

    def _sides(self) -> tuple[Tensor, Tensor]:
        """Queries `(G, m, D)` and keys `(G, N, D)`, both seen from the middle of the group that asks."""
        parts = [_centred(some, self.order) for some in self.features]
        asking = torch.cat([own for own, _ in parts], dim=-1)
        asked = torch.cat([every for _, every in parts], dim=-1)
        own_half, every_half = _half(asking), _half(asked)
        queries = torch.cat([asking, own_half, torch.ones_like(own_half)], dim=-1)
        keys = torch.cat([asked, torch.ones_like(every_half), every_half], dim=-1)
        return _aligned(queries), _aligned(keys)

    def _means(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Means `(N, K)` of values `(M, K)` of the keys, weighed by each pixel's attention to them."""
        told = _aligned(values).expand(len(keys), -1, -1)
        heard = scaled_dot_product_attention(queries[:, None], keys[:, None], told[:, None], scale=1.0)
        means = heard.new_empty(self.order.numel(), values.shape[1])
        means[self.order.flatten()] = heard[:, 0, :, :values.shape[1]].flatten(0, 1)
        return means[:len(self.total)]


def _centred(features: Features, order: Tensor) -> tuple[Tensor, Tensor]:
    """Features of each group `(G, m, F)` and of all pixels `(G, N, F)`, seen from the group's middle.

    Differences of whole numbers are exact, so that it is they that are divided by the Gaussian's width.
    """
    groups = filled(features.values, order.numel())[:, order].permute(1, 2, 0)
    middle = groups.mean(1, keepdim=True).round()
    return (groups - middle) / features.width, (features.values.T - middle) / features.width


def _half(features: Tensor) -> Tensor:
    return features.square().sum(-1, keepdim=True) * -0.5


def _aligned(features: Tensor) -> Tensor:
    return pad(features, (0, -features.shape[-1] % ALIGNED))
