"""Sums over all pixels, weighed by a Gaussian of the distance between features: exact, tile by tile.

Σ_j exp(-½ |f_i - f_j|²) v_j for every pixel i is what a pixel of a dense CRF hears.
"""
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 98              # most pixels of a tile
LEVELS = 12            # most halvings: larger images have larger tiles, so that pairs of tiles stay countable
STRIP = 256 * 1024     # weights that are computed at once, few enough for a cache
FAINTEST = -80.0       # exponents of 2 are no lower: 1e-24 is nothing beside a pixel's own 1, nor denormal
BISECTIONS = 8         # steps in search of the faintest pair that a tile keeps


@dataclass(frozen=True)
class Features:
    """Features `(F, N)` of all pixels, and the width of the Gaussian along all of them.

    Whole numbers give exact distances in float32, up to 2^24.
    """
    values: Tensor
    width: float

    @property
    def scale(self) -> float:
        """Of squared distances, for an exponent of 2, which is quicker than one of e."""
        return math.log2(math.e) / self.width ** 2

    def scaled(self) -> Tensor:
        """Features whose squared distances are halved exponents of 2."""
        return self.values * math.sqrt(self.scale)

    def factors(self, order: Tensor) -> "Factors":
        """Sides of a product that is -½ |f_i - f_j|², tile by tile; `order` is `(T, m)`."""
        values = filled(self.values, order.numel())[:, order]
        half = values.square().sum(0, keepdim=True) * -0.5
        one = torch.ones_like(half)
        return Factors(torch.cat([values, half, one]), torch.cat([values, one, half]), self.scale)


@dataclass(frozen=True)
class Factors:
    """Sides `(F + 2, T, m)` of a product: left^T right is -½ |f_i - f_j|², and an exponent times `scale`."""
    left: Tensor
    right: Tensor
    scale: float


@dataclass
class Strip:
    """Weights `(m, columns * m)` between the pixels of one tile and of several that come no earlier.

    weights   None where they are computed anew for every sum
    """
    row: int
    columns: Tensor
    weights: Tensor | None = None


@dataclass(frozen=True)
class TiledGaussian:
    """The weights between all pixels of an image, in tiles of pixels with like features.

    A pixel of tile A is at least as far from those of tile B as the boxes around both are apart, so that it
    hears at most |B| exp(-½ gap²) of all of B. For every tile, pairs are left out beginning with the
    faintest, as many as have bounds that add up to `tolerance` or less; a pair goes only where both of its
    tiles can do without it. So for values within [-1, 1], whatever the image,

        |Σ_j k_ij v_j - the computed sum| <= tolerance

    at every pixel (rounding aside). Weights are symmetric: each pair of tiles is computed once for both.

    factors   of the distances along each kind of features
    order     the pixel at each place of the tiles `(T, m)`; numbers from N on repeat the last pixel
    strips    all pairs of tiles that are kept
    """
    factors: list[Factors]
    order: Tensor
    strips: list[Strip]

    @classmethod
    @torch.no_grad()
    def of(cls, features: Sequence[Features], tolerance: float, memory: int) -> "TiledGaussian":
        """From the pixels' features; at most `memory` bytes of weights are kept from one sum to the next."""
        together = torch.cat([some.scaled() for some in features])
        order = tile_order(together)
        kept = kept_pairs(filled(together, order.numel())[:, order], tolerance)
        strips = list(_strips(kept, order.shape[1]))
        kernel = cls([some.factors(order) for some in features], order, strips)
        kernel._keep_weights(memory // together.element_size())
        return kernel

    @property
    def share(self) -> float:
        """Of all pairs of tiles, those that are kept."""
        number = len(self.order)
        kept = sum(len(strip.columns) for strip in self.strips)
        return (2 * kept - number) / number ** 2   # a tile meets itself once, every other one twice

    @torch.no_grad()
    def sums(self, values: Tensor) -> Tensor:
        """Σ_j k_ij v_j of values `(K, N)`, for every pixel i.

        Pixels come last: products with a few columns would take six times as long as with a few rows.
        """
        channels, pixels = values.shape
        padded = torch.cat([values, values.new_zeros(channels, self.order.numel() - pixels)], dim=1)
        told = padded[:, self.order]
        heard = torch.zeros_like(told)
        for strip in self.strips:
            weights = self.weights(strip) if strip.weights is None else strip.weights
            heard[:, strip.row] += told[:, strip.columns].flatten(1) @ weights.T
            back = told[:, strip.row] @ weights
            heard.index_add_(1, strip.columns, back.view(channels, len(strip.columns), -1))
        return padded.index_copy_(1, self.order.flatten(), heard.flatten(1))[:, :pixels]

    def weights(self, strip: Strip, out: Tensor | None = None) -> Tensor:
        """exp(-½ |f_i - f_j|²) of a strip.

        A tile's weights with itself are halved: both directions add up to them.
        """
        size = self.order.shape[1]
        first, *others = self.factors
        exponents = torch.mm(*_sides(first, strip), out=out)
        before = first.scale
        for more in others:
            exponents.addmm_(*_sides(more, strip), beta=before, alpha=more.scale)
            before = 1
        if not others:
            exponents *= before
        weights = exponents.clamp_(min=FAINTEST).exp2_()
        if strip.columns[0] == strip.row:
            weights[:, :size] *= 0.5
        return weights

    def _keep_weights(self, most: int) -> None:
        """Compute the weights of the first strips, as many as are `most` numbers together, in one piece."""
        size = self.order.shape[1]
        ends = torch.tensor([len(strip.columns) * size ** 2 for strip in self.strips]).cumsum(0)
        fitting = self.strips[:int((ends <= most).sum())]
        if not fitting:
            return
        together = self.factors[0].left.new_empty(int(ends[len(fitting) - 1]))
        for strip, end in zip(fitting, ends.tolist(), strict=False):
            width = len(strip.columns) * size
            strip.weights = self.weights(strip, together[end - size * width:end].view(size, width))


def _sides(factors: Factors, strip: Strip) -> tuple[Tensor, Tensor]:
    """Both sides of a strip's product: `(m, F + 2)` and `(F + 2, columns * m)`."""
    return factors.left[:, strip.row].T, factors.right[:, strip.columns].flatten(1)


def tile_order(features: Tensor, most: int = TILE, levels: int = LEVELS) -> Tensor:
    """Tiles `(T, m)` as numbers of pixels: the leaves of a k-d tree over features `(F, N)`.

    Every level halves each part along the feature that spreads most. Numbers from N on are repetitions of the
    last pixel, where N fills no 2^n tiles.
    """
    pixels = features.shape[1]
    depth = min(max(0, math.ceil(math.log2(pixels / most))), levels)
    size = -(-pixels // 2 ** depth)
    features = filled(features, size * 2 ** depth)
    parts = torch.arange(features.shape[1], device=features.device)[None]
    for _ in range(depth):
        inside = features[:, parts]
        widest = inside.var(2).argmax(0)
        along = inside[widest, torch.arange(len(parts), device=features.device)]
        parts = parts.gather(1, along.argsort(1)).view(2 * len(parts), -1)
    return parts


def filled(features: Tensor, number: int) -> Tensor:
    """Features `(F, number)` of `(F, N)` pixels, the last of which is repeated."""
    return torch.cat([features, features[:, -1:].expand(-1, number - features.shape[1])], dim=1)


def kept_pairs(tiles: Tensor, tolerance: float) -> Tensor:
    """Which pairs of tiles `(T, T)` are kept, as `TiledGaussian` says: from features `(F, T, m)`."""
    _, number, size = tiles.shape
    if tolerance == 0:
        return torch.ones(number, number, dtype=torch.bool, device=tiles.device)
    loudest = _gaps(tiles).mul_(-0.5).clamp_(min=FAINTEST).exp2_().mul_(size)
    # The faintest pair that is kept, as a logarithm: tolerance / T can be left out T times.
    low = torch.full((number, 1), math.log(tolerance / number), dtype=tiles.dtype, device=tiles.device)
    high = torch.full_like(low, math.log(tolerance))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        left_out = torch.where(loudest <= middle.exp(), loudest, 0).sum(1, keepdim=True)
        fits = left_out <= tolerance
        low = torch.where(fits, middle, low)
        high = torch.where(fits, high, middle)
    needed = loudest > low.exp()
    return needed | needed.T


def _gaps(tiles: Tensor) -> Tensor:
    """Squared distances `(T, T)` between the boxes around tiles `(F, T, m)`."""
    number = tiles.shape[1]
    total = tiles.new_zeros(number, number)
    for low, high in zip(tiles.amin(2), tiles.amax(2), strict=True):
        above = low[:, None] - high
        total += torch.maximum(above, above.T).clamp_(min=0).square_()
    return total


def _strips(kept: Tensor, size: int) -> Iterator[Strip]:
    """The upper triangle of kept pairs, in pieces that a core's cache holds."""
    most = max(1, STRIP // size ** 2)
    for row, wanted in enumerate(kept.triu()):
        for columns in wanted.nonzero()[:, 0].split(most):
            yield Strip(row, columns)
