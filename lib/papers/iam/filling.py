"""Instance extent filling (IAM, section 3.2, eq. 2-3): the cues of a peak spread over its object.

A trained filling module is one safetensors file that knows what it is: see `save_filling`.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import interpolate

from lib.base.problem import Problem
from lib.base.spent import spends
from lib.base.strict import bounded
from lib.nets.saved import built_from, fill_described, read_described, save_described

# Pixels of all maps that a CPU takes through all steps together: their weights (2 MB) stay in its cache.
CACHED = 60_000


def neighbours(r: int) -> list[tuple[int, int]]:
    """(dy, dx) of a pixel's r² neighbours, itself included, row by row: the order of all filling weights."""
    if r < 1 or r % 2 == 0:
        raise Problem("r is the side of the neighbourhood around a pixel, so it must be odd and at least 1, "
                      f"not {r}; the paper has 3.")
    reach = range(-(r // 2), r // 2 + 1)
    return [(dy, dx) for dy in reach for dx in reach]


def existing(r: int, height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Which neighbours lie on the map: bool `(r * r, height, width)`."""
    y = torch.arange(height, device=device)
    x = torch.arange(width, device=device)
    on_the_map = []
    for dy, dx in neighbours(r):
        has_row = (y + dy >= 0) & (y + dy < height)
        has_column = (x + dx >= 0) & (x + dx < width)
        on_the_map.append(has_row[:, None] & has_column)
    return torch.stack(on_the_map)


def filling_weights(raw: Tensor, r: int = 3) -> Tensor:
    """W of eq. 3 from unbounded numbers `(B, C, r * r, h, w)`.

    Non-negative, 0 where there is no neighbour, sum 1 over the others. Eq. 3 asks that the weights of a pixel
    sum to one and leaves open how: Y multiplies, as if it divided by the sum. A softmax does so without a sum
    that can vanish or weights that can turn negative, so that N steps can neither blow up nor die out. The
    pixel itself always exists: no softmax is over nothing.
    """
    if raw.shape[2] != r * r:
        raise Problem(f"Filling weights of r = {r} have {r * r} neighbours a pixel, "
                      f"these have {raw.shape[2]}: give (B, C, {r * r}, h, w).")
    missing = ~existing(r, *raw.shape[3:], raw.device)
    return raw.masked_fill(missing, -math.inf).softmax(2)


def fill(cues: Tensor, weights: Tensor, steps: int, r: int = 3) -> Tensor:
    """G^steps `(B, C, h, w)` of eq. 2-3 from G^0 = cues: each step takes weighted means over neighbours.

    Eq. 3 prints E(M) where G^(k-1) is meant: as printed, all steps would give the same map. The
    weights `(B, C, r * r, h, w)` are those of `filling_weights`; B and C may be 1, for all maps alike. What
    they give to neighbours off the map is lost. Memory grows with the square root of `steps`.
    """
    batch, channels, height, width = cues.shape
    if weights.shape[2:] != (r * r, height, width):
        raise Problem(f"Filling weights {tuple(weights.shape)} do not fit maps {tuple(cues.shape)}: "
                      f"they must be (B, C, {r * r}, h, w).")
    if steps == 0 or cues.numel() == 0:
        return cues
    weights = (weights * existing(r, height, width, cues.device)).to(cues.dtype)
    weights = weights.expand(batch, channels, -1, -1, -1)
    shifts = [_shift(dy, dx, height, width) for dy, dx in neighbours(r)]
    maps_at_once = batch * channels
    if cues.device.type == "cpu":
        maps_at_once = max(CACHED // (height * width), 1)
    filled = []
    for some_cues, their_weights in zip(cues.flatten(0, 1).split(maps_at_once),
                                        weights.flatten(0, 1).split(maps_at_once), strict=True):
        flat_weights = their_weights.movedim(1, 0).reshape(r * r, -1)
        filled.append(_Filling.apply(some_cues.flatten(), flat_weights, shifts, steps))
    return torch.cat(filled).view(cues.shape)


def direction(weights: Tensor) -> Tensor:
    """The vector field of figure 5, `(2, h, w)` to the right and down, of one image's weights `(C, 9, h, w)`.

    At every pixel the eight unit vectors to its neighbours are summed, each times its weight's mean over the
    channels minus that mean's average over the map. (The average is over pixels: one over neighbours would
    cancel in the sum.)
    """
    mean = weights.mean(0)
    apart = torch.tensor([(dx, dy) for dy, dx in neighbours(3)], dtype=weights.dtype, device=weights.device)
    unit = apart / apart.norm(dim=1, keepdim=True).clamp(min=1)   # the pixel itself: no direction
    above_average = mean - mean.mean((1, 2), keepdim=True)
    return torch.einsum("nhw,nd->dhw", above_average, unit)


class ExtentFilling(nn.Module):
    """Encoder E, filling F by the feature pyramid R, decoder D (figure 3); knows nothing of classes.

    depths      channels of the trunk's maps that `forward` gets, shallow to deep (the paper: stages 2, 3, 4)
    channels    C of eq. 2-3 (open in the paper)
    width       channels of the pyramid (open; 256 in the feature pyramid it cites)
    r           side of the neighbourhood

    N, the number of steps, is the larger side of the encoded map: every pixel can reach every other (section
    3.2).
    """

    def __init__(self, depths: Sequence[int], channels: int = 16, width: int = 256, r: int = 3) -> None:
        super().__init__()
        self.depths = list(depths)
        self.channels = channels
        self.width = width
        self.r = r
        self.encoder = nn.ModuleList([_stack(1, channels), _stack(channels, channels)])
        self.decoder = nn.ModuleList([_stack(channels, channels), _stack(channels, channels)])
        self.logit = nn.Conv2d(channels, 1, 1)
        self.adapt = nn.ModuleList(_adapter(depth, width) for depth in depths)
        self.head = nn.Conv2d(width, channels * len(neighbours(r)), 1)

    @spends("forward")
    def forward(self, prms: Tensor, levels: Sequence[Tensor], image: Tensor) -> Tensor:
        """IAM logits `(P, H, W)` of P peak response maps `(P, H, W)`.

        levels are the trunk's feature maps `(B, D_l, h_l, w_l)` of B images, in the order of `depths`; image
        `(P,)` long says which of the B each peak is of. The filling weights are computed once an image.
        """
        cues, sizes = self.encode(prms)
        weights = self.weights(levels, cues.shape[2:])[image]
        steps = max(cues.shape[2:])
        return self.decode(fill(cues, weights, steps, self.r), sizes)

    def weights(self, levels: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """W = R(M) of eq. 2 at `size` (h, w): `(B, C, r * r, h, w)`; figure 5 shows their `direction`."""
        if len(levels) != len(self.adapt):
            raise Problem(f"The filling was made for {len(self.adapt)} maps of the trunk, "
                          f"it got {len(levels)}; give it as many as `depths`.")
        adapted = [adapt(level) for adapt, level in zip(self.adapt, levels, strict=True)]
        fused = adapted.pop()
        for shallower in reversed(adapted):
            fused = shallower + _resize(fused, shallower.shape[2:])
        raw = self.head(_resize(fused, size)).unflatten(1, (self.channels, -1))
        return filling_weights(raw, self.r)

    def encode(self, prms: Tensor) -> tuple[Tensor, list[torch.Size]]:
        """G^0 `(P, C, H // 4, W // 4)`, and the sizes that the decoder has to come back to."""
        if min(prms.shape[1:]) < 4:
            raise Problem(f"A peak response map of {prms.shape[1]} x {prms.shape[2]} is too small "
                          "to be halved twice; use larger images.")
        # A peak response map sums to 1 over all pixels: its values are of the order of 1e-5, under what a
        # convolution's bias starts with.
        largest = prms.amax((1, 2), keepdim=True).clamp(min=torch.finfo(prms.dtype).tiny)
        x = (prms / largest)[:, None]
        sizes = []
        for stack in self.encoder:
            sizes.append(x.shape[2:])
            x = nn.functional.max_pool2d(stack(x), 2)
        return x, sizes

    def decode(self, filled: Tensor, sizes: Sequence[torch.Size]) -> Tensor:
        """D, symmetric to E: logits `(P, H, W)` from G^N `(P, C, h, w)`."""
        for stack, size in zip(self.decoder, reversed(sizes), strict=True):
            filled = stack(_resize(filled, size))
        return self.logit(filled)[:, 0]


def _stack(depth: int, channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(depth, channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def _adapter(depth: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(depth, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if x.shape[2:] == torch.Size(size):
        return x
    return interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _shift(dy: int, dx: int, height: int, width: int) -> int | None:
    """How far away a neighbour is in a flat buffer; None where the map is too small to have any."""
    if abs(dy) >= height or abs(dx) >= width:
        return None
    return dy * width + dx


class _Filling(torch.autograd.Function):
    """All steps on flat buffers: cues `(L,)`, weights `(r * r, L)`, L all pixels of all channels and maps.

    A neighbour is then a fixed `shift` away, one contiguous piece for all maps at once. Where that piece runs
    over a border, into the next row or map, its weight is 0. The states are kept at the start of each block
    of steps alone and computed again in the backward pass (gradient checkpointing). That is done here and not
    by torch.utils.checkpoint, because the weights' gradient, nine times as large as a state, can then be
    summed up in place: several times faster on a CPU.
    """

    @staticmethod
    def forward(ctx, cues: Tensor, weights: Tensor, shifts: list[int | None], steps: int) -> Tensor:
        block = math.isqrt(steps - 1) + 1
        state = cues
        kept = []
        for k in range(steps):
            if k % block == 0 and any(ctx.needs_input_grad):
                kept.append(state)
            state = _step(state, weights, shifts)
        ctx.save_for_backward(weights, *kept)
        ctx.shifts = shifts
        ctx.steps = steps
        ctx.block = block
        return state

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, Tensor, None, None]:
        weights, *kept = ctx.saved_tensors
        weight_slope = torch.zeros_like(weights)
        starts = range(0, ctx.steps, ctx.block)
        for first, state in zip(reversed(starts), reversed(kept), strict=True):
            states = [state]
            for _ in range(first + 1, min(first + ctx.block, ctx.steps)):
                states.append(_step(states[-1], weights, ctx.shifts))
            for state in reversed(states):
                slope = _step_back(slope, state, weights, weight_slope, ctx.shifts)
        return slope, weight_slope, None, None


def _step(state: Tensor, weights: Tensor, shifts: list[int | None]) -> Tensor:
    """One filling step F, eq. 3."""
    filled = torch.zeros_like(state)
    for weight, shift in zip(weights, shifts, strict=True):
        here, there = _pieces(shift, len(state))
        filled[here].addcmul_(weight[here], state[there])
    return filled


def _step_back(slope: Tensor, state: Tensor, weights: Tensor, weight_slope: Tensor,
               shifts: list[int | None]) -> Tensor:
    """The gradient with respect to `state`; that with respect to the weights is added to `weight_slope`."""
    before = torch.zeros_like(state)
    for weight, its_slope, shift in zip(weights, weight_slope, shifts, strict=True):
        here, there = _pieces(shift, len(state))
        before[there].addcmul_(weight[here], slope[here])
        its_slope[here].addcmul_(slope[here], state[there])
    return before


def _pieces(shift: int | None, length: int) -> tuple[slice, slice]:
    """The pixels that have a neighbour `shift` away, and those neighbours; None: no pixel has one."""
    if shift is None:
        return slice(0, 0), slice(0, 0)
    if shift >= 0:
        return slice(0, length - shift), slice(shift, length)
    return slice(-shift, length), slice(0, length + shift)


@dataclass(frozen=True)
class Header:
    """What a file of weights says of its filling module."""
    network: str
    facts: dict[str, str | int | float]
    depths: list[int] = bounded(1, 65_536)
    channels: int = bounded(1, 1024)
    width: int = bounded(1, 4096)
    r: int = bounded(1, 15)
    side: int = bounded(1, 4096)
    map_side: int = bounded(1, 4096)


def save_filling(filling: ExtentFilling, path: Path, network: str, side: int, map_side: int,
                 **facts: str | int) -> None:
    """Write weights and what it takes to build the module again, whole or not at all, with `facts` beside.

    side, map_side   of the squares that the classifier saw, and of the peak response maps
    """
    header = {"network": network, "depths": filling.depths, "channels": filling.channels,
              "width": filling.width, "r": filling.r, "side": side, "map_side": map_side, "facts": facts}
    save_described(filling, path, "filling", header)


def read_filling(path: Path | str) -> dict[str, Any]:
    """The header that `save_filling` wrote beside the weights."""
    return read_described(path, "filling", Header, "a filling module", "iam_train")


def load_filling(path: Path | str, expected: str | None = None) -> ExtentFilling:
    """The module in evaluation mode, on the CPU; `expected` is the trunk that the caller counts on."""
    header = read_filling(path)
    if expected not in (None, header["network"]):
        raise Problem(f"{path}: this filling module was trained on {header['network']}, not on {expected}; "
                      "name the file that belongs to it.")
    with built_from(path):
        filling = ExtentFilling(header["depths"], header["channels"], header["width"], header["r"])
    fill_described(filling, path, header["network"], 1)
    return filling.requires_grad_(False).eval()
