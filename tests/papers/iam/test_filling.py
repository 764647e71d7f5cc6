"""Extent filling against eq. 3 pixel by pixel, its gradients against autograd's and finite differences."""
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.papers.iam.filling import ExtentFilling, direction, existing, fill, filling_weights


def literal(cues: Tensor, weights: Tensor, steps: int, r: int = 3) -> Tensor:
    """Eq. 2-3: every channel, every pixel, every neighbour on the map."""
    height, width = cues.shape[2:]
    reach = range(-(r // 2), r // 2 + 1)
    offsets = list(itertools.product(reach, reach))
    for _ in range(steps):
        after = torch.zeros_like(cues)
        for b, c, i, j in np.ndindex(*cues.shape):
            for n, (dy, dx) in enumerate(offsets):
                u, v = i + dy, j + dx
                if 0 <= u < height and 0 <= v < width:
                    after[b, c, i, j] += weights[b, c, n, i, j] * cues[b, c, u, v]
        cues = after
    return cues


def plain(cues: Tensor, weights: Tensor, steps: int) -> Tensor:
    """Filling by `unfold`, in autograd's hands."""
    for _ in range(steps):
        near = torch.nn.functional.unfold(cues, 3, padding=1).view(weights.shape)
        cues = (near * weights).sum(2)
    return cues


def case(seed: int, batch: int = 2, channels: int = 3, height: int = 5, width: int = 4,
         r: int = 3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    raw = torch.randn(batch, channels, r * r, height, width, generator=random, dtype=torch.float64)
    cues = torch.rand(batch, channels, height, width, generator=random, dtype=torch.float64)
    return cues, filling_weights(3 * raw, r)


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
@pytest.mark.parametrize("height, width, r", [(5, 4, 3), (1, 6, 3), (6, 1, 3), (1, 1, 3), (2, 2, 3),
                                              (3, 4, 5), (2, 3, 7), (4, 4, 1)])
def test_as_eq_3_pixel_by_pixel(height: int, width: int, r: int, steps: int) -> None:
    cues, weights = case(steps, height=height, width=width, r=r)
    assert torch.allclose(fill(cues, weights, steps, r), literal(cues, weights, steps, r), atol=1e-14, rtol=0)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 2), (2, 1)])
def test_a_single_map_smaller_than_the_neighbourhood(height: int, width: int) -> None:
    cues, weights = case(9, batch=1, channels=1, height=height, width=width, r=5)
    assert torch.allclose(fill(cues, weights, 3, 5), literal(cues, weights, 3, 5), atol=1e-14, rtol=0)


def test_weights_to_neighbours_off_the_map_are_lost() -> None:
    """Not carried around to the next row, channel or image."""
    cues, weights = case(0)
    free = torch.rand_like(weights)
    assert (free * ~existing(3, 5, 4)).sum() > 0
    assert torch.allclose(fill(cues, free, 3), literal(cues, free, 3), atol=1e-12)


def test_a_step_by_hand() -> None:
    """Weight 1 on the left neighbour, in the first column on the pixel itself: the map moves to the right."""
    weights = torch.zeros(1, 1, 9, 2, 3)
    weights[0, 0, 3] = 1
    weights[0, 0, 3, :, 0] = 0
    weights[0, 0, 4, :, 0] = 1
    cues = torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]])
    assert fill(cues, weights, 1).tolist() == [[[[1, 1, 2], [4, 4, 5]]]]
    assert fill(cues, weights, 2).tolist() == [[[[1, 1, 1], [4, 4, 4]]]]


def test_maps_taken_through_the_steps_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One map at a time, four of six, or more pixels a map than are taken at once: values and gradients."""
    cues, weights = (x.requires_grad_() for x in case(10))
    found = {}
    for cached in (1, 20, 80, 60_000):
        monkeypatch.setattr("lib.papers.iam.filling.CACHED", cached)
        filled = fill(cues, weights, 5)
        found[cached] = filled, *torch.autograd.grad(filled.square().sum(), (cues, weights))
    for parts in found.values():
        assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(parts, found[1], strict=True))


def test_weights_for_all_channels_or_images_alike() -> None:
    cues, weights = case(1)
    one = weights[:1, :1]
    assert torch.equal(fill(cues, one, 4), fill(cues, one.expand(2, 3, -1, -1, -1).contiguous(), 4))
    assert torch.equal(fill(cues, weights[:, :1], 4)[:, 2], fill(cues[:, 2:], weights[:, :1], 4)[:, 0])


def test_constant_stays_constant_and_values_stay_in_their_range() -> None:
    cues, weights = case(2, height=7, width=6)
    flat = torch.full_like(cues, 0.3)
    assert torch.allclose(fill(flat, weights, 30), flat, atol=1e-13)
    filled = fill(cues, weights, 30)
    assert (filled.amax((2, 3)) <= cues.amax((2, 3)) + 1e-12).all()
    assert (filled.amin((2, 3)) >= cues.amin((2, 3)) - 1e-12).all()
    spread = filled.amax((2, 3)) - filled.amin((2, 3))
    assert (spread < 0.7 * (cues.amax((2, 3)) - cues.amin((2, 3)))).all()   # it did fill


def test_n_steps_reach_every_pixel_and_fewer_do_not() -> None:
    cues = torch.zeros(1, 1, 6, 6)
    cues[0, 0, 0, 0] = 1
    weights = filling_weights(torch.zeros(1, 1, 9, 6, 6))
    assert fill(cues, weights, 6)[0, 0, 5, 5] > 0 and fill(cues, weights, 4)[0, 0, 5, 5] == 0


def test_weights_across_an_edge_keep_both_sides_apart() -> None:
    raw = torch.zeros(1, 1, 3, 3, 4, 6)
    raw[..., 2, :, 2], raw[..., 0, :, 3] = -200, -200   # nothing between columns 2 and 3
    cues = torch.zeros(1, 1, 4, 6)
    cues[..., 1, 1] = 1
    filled = fill(cues, filling_weights(raw.flatten(2, 3)), 12)
    assert (filled[..., :3] > 0.02).all() and (filled[..., 3:] == 0).all()


def test_filling_weights_by_hand() -> None:
    raw = torch.zeros(1, 1, 9, 3, 3)
    raw[0, 0, 5, 1, 1] = math.log(4)
    weights = filling_weights(raw)[0, 0]
    assert weights[:, 0, 0].tolist() == [0, 0, 0, 0, 0.25, 0.25, 0, 0.25, 0.25]
    assert weights[:, 1, 1].tolist() == pytest.approx([1 / 12] * 5 + [4 / 12] + [1 / 12] * 3)


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_filling_weights_sum_to_one_and_have_finite_gradients(scale: float) -> None:
    raw = (scale * torch.randn(2, 3, 9, 4, 5, generator=torch.Generator().manual_seed(3))).requires_grad_()
    weights = filling_weights(raw)
    assert (weights >= 0).all() and torch.allclose(weights.sum(2), torch.ones(2, 3, 4, 5))
    assert (weights * ~existing(3, 4, 5) == 0).all()
    (weights * torch.rand_like(weights)).sum().backward()
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10])
def test_gradients_as_autograd_keeps_them_without_checkpoints(steps: int) -> None:
    cues = case(4)[0].requires_grad_()
    raw = torch.randn(2, 3, 9, 5, 4, dtype=torch.float64, requires_grad=True)
    slope = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    ours = torch.autograd.grad((slope * fill(cues, filling_weights(raw), steps)).sum(), (cues, raw))
    theirs = torch.autograd.grad((slope * plain(cues, filling_weights(raw), steps)).sum(), (cues, raw))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-14) and a.abs().max() > 0


@pytest.mark.parametrize("channels", [2, 1])
def test_gradients_by_finite_differences(channels: int) -> None:
    """Two maps of 3 x 2 pixels, weights for each or for both.

    What torch's gradcheck does, without the seconds it takes to import.
    """
    cues, weights = case(5, batch=1, channels=2, height=3, width=2)
    inputs = [cues, weights[:, :channels].clone()]
    slope = torch.rand(cues.shape, dtype=cues.dtype)

    def total() -> Tensor:
        return (slope * fill(*inputs, 5)).sum()

    def difference(values: Tensor, n: int) -> float:
        """The quotient of differences at one number."""
        here = values[n].item()
        values[n] = here + 1e-6
        above = total().item()
        values[n] = here - 1e-6
        below = total().item()
        values[n] = here
        return (above - below) / 2e-6

    for values in inputs:
        values.requires_grad_()
    gradients = torch.autograd.grad(total(), inputs)
    with torch.no_grad():
        for values, gradient in zip(inputs, gradients, strict=True):
            for n in range(values.numel()):
                expected = difference(values.view(-1), n)
                assert gradient.flatten()[n].item() == pytest.approx(expected, abs=1e-8)
    assert all(gradient.abs().max() > 0.1 for gradient in gradients)


def test_states_kept_grow_with_the_square_root_of_the_steps() -> None:
    cues, weights = case(6)
    saved = {}
    for n in (16, 100, 400):
        viewed = fill(cues.requires_grad_(), weights, n).grad_fn
        concatenated = viewed.next_functions[0][0]
        (filling, _), = concatenated.next_functions
        saved[n] = len(filling.saved_tensors) - 1   # one is the weights
    assert saved == {16: 4, 100: 10, 400: 20}


def test_direction_by_hand() -> None:
    """One pixel of four gives its right and its lower-right neighbour 0.4 and 0.8 more than none.

    Two channels are averaged.
    """
    weights = torch.zeros(2, 9, 2, 2)
    weights[0, 5, 0, 0] = 0.8
    weights[1, 8, 0, 0] = 1.6
    weights[:, 4] = 7.0
    field = direction(weights)
    diagonal = 0.8 / math.sqrt(2)
    here, elsewhere = 0.75, -0.25   # minus the average over the four pixels
    assert field[:, 0, 0].tolist() == pytest.approx([here * (0.4 + diagonal), here * diagonal])
    assert field[:, 1, 0].tolist() == pytest.approx([elsewhere * (0.4 + diagonal), elsewhere * diagonal])
    assert torch.equal(field[:, 0, 1], field[:, 1, 1])


def test_direction_turns_round_at_a_boundary() -> None:
    raw = torch.zeros(4, 3, 3, 6, 6)
    raw[:, :, 2, :, 2], raw[:, :, 0, :, 3] = -5, -5
    field = direction(filling_weights(raw.flatten(1, 2)[None])[0])[0, 1:-1]
    assert (field[:, 2] < 0).all() and (field[:, 3] > 0).all()


def network() -> ExtentFilling:
    torch.manual_seed(0)
    return ExtentFilling((5, 7, 9), channels=4, width=6)


def inputs(peaks: int, height: int = 30, width: int = 23) -> tuple[Tensor, list[Tensor], Tensor]:
    random = torch.Generator().manual_seed(7)
    prms = torch.rand(peaks, height, width, generator=random) ** 8
    sizes = [(5, 8), (7, 4), (9, 2)]
    levels = [torch.randn(2, depth, side, side + 1, generator=random) for depth, side in sizes]
    return prms / prms.sum((1, 2), keepdim=True), levels, torch.arange(peaks) % 2


def test_the_module_gives_logits_of_any_size_and_every_parameter_a_gradient() -> None:
    net, (prms, levels, image) = network().train(), inputs(3)
    logits = net(prms, levels, image)
    assert logits.shape == (3, 30, 23)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, (prms > prms.mean()).float()).backward()
    for parameter in net.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0


def test_peaks_use_the_weights_of_their_own_image() -> None:
    net, (prms, levels, image) = network().eval(), inputs(4)
    with torch.no_grad():
        together = net(prms, levels, image)
        for i in range(4):
            own_levels = [level[image[i]][None] for level in levels]
            alone = net(prms[i:i + 1], own_levels, torch.zeros(1, dtype=torch.long))
            assert torch.allclose(together[i], alone[0], atol=1e-5)
        assert (net(prms[:1], levels, torch.tensor([1])) - together[:1]).abs().max() > 1e-4


def test_the_module_is_encoding_filling_decoding() -> None:
    """There are as many steps as the encoded map's larger side has pixels: 30 x 23 is encoded to 7 x 5."""
    net, (prms, levels, image) = network().eval(), inputs(2)
    with torch.no_grad():
        cues, sizes = net.encode(prms)
        weights = net.weights(levels, cues.shape[2:])
        assert cues.shape == (2, 4, 7, 5) and weights.shape == (2, 4, 9, 7, 5)
        assert torch.equal(net(prms, levels, image), net.decode(fill(cues, weights[image], 7), sizes))
        fewer = net.decode(fill(cues, weights[image], 5), sizes)
        assert not torch.equal(net(prms, levels, image), fewer)


def test_the_pyramid_adds_upsampled_levels_from_deep_to_shallow() -> None:
    """Against the sum written out: two 1 x 1 convolutions a level, bilinear to the next shallower one's size.

    Then to N x N.
    """
    net, (_, levels, _) = network().eval(), inputs(1)

    def up(x: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.nn.functional.interpolate(x, size=size, mode="bilinear")

    with torch.no_grad():
        adapted = [adapt[2](adapt[0](level).relu()) for adapt, level in zip(net.adapt, levels, strict=True)]
        shallow, middle, deep = adapted
        raw = net.head(up(shallow + up(middle + up(deep, (4, 5)), (8, 9)), (7, 5)))
        expected = filling_weights(raw.reshape(2, 4, 9, 7, 5))
        assert torch.allclose(net.weights(levels, (7, 5)), expected, atol=1e-6)


def test_the_scale_of_a_prm_does_not_matter_nor_does_an_empty_one_break() -> None:
    net, (prms, levels, image) = network().eval(), inputs(2)
    with torch.no_grad():
        assert torch.allclose(net(prms, levels, image), net(1e-6 * prms, levels, image), atol=1e-5)
        assert net(torch.zeros_like(prms), levels, image).isfinite().all()
        assert net.train()(prms[:0], levels, image[:0]).shape == (0, 30, 23)
        # Batch normalisation took no mean over nothing.
        assert all(kept.isfinite().all() for kept in net.buffers())


def test_learns_to_fill_squares_from_one_of_their_pixels() -> None:
    """Squares of the trunk's colour, cues at one corner of each.

    In 40 steps most of each is found, which one pixel cannot show.
    """
    torch.manual_seed(1)
    net = ExtentFilling((2,), channels=4, width=8).train()
    inside, prms = torch.zeros(2, 6, 20, 20)
    for i, (y, x) in enumerate(torch.randint(0, 10, (6, 2)).tolist()):
        inside[i, y:y + 10, x:x + 10] = 1
        prms[i, y + 2, x + 2] = 1
    level = torch.nn.functional.avg_pool2d(torch.stack([inside, 1 - inside], 1), 4)
    image = torch.arange(6)
    for _ in range(40):
        net.zero_grad()
        logits = net(prms, [level], image)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, inside).backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.02 * p.grad.sign()
    found = net(prms, [level], image) > 0
    common = (found & (inside > 0)).sum((1, 2))
    overlap = common / (found | (inside > 0)).sum((1, 2))
    assert overlap.mean() > 0.6, overlap


def test_problems_are_named() -> None:
    cues, weights = case(8)
    with pytest.raises(Problem, match="odd"):
        fill(cues, weights[:, :, :4], 2, r=2)
    with pytest.raises(Problem, match="do not fit"):
        fill(cues, weights[..., 1:], 2)
    with pytest.raises(Problem, match="9 neighbours"):
        filling_weights(weights[:, :, :8])
    with pytest.raises(Problem, match="3 maps"):
        network().weights(inputs(1)[1][:2], (4, 4))
    with pytest.raises(Problem, match="3 x 9 is too small"):
        network()(torch.rand(1, 3, 9), inputs(1)[1], torch.tensor([0]))
