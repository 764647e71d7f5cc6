"""The exact dense CRF against the mean field written out over all pairs of pixels, in float64."""
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.refine.exact_crf import Exact, ExactCrf, exact_crf, gaussian
from lib.refine.settings import CrfSettings

SETTINGS = CrfSettings(theta_alpha=20, theta_beta=10, theta_gamma=3, bilateral=1.5, spatial=1, iterations=5)
WIDE = CrfSettings(theta_alpha=160, theta_beta=3, theta_gamma=3, bilateral=2, spatial=1, iterations=10)
NORMALISATIONS = ("none", "before", "after", "symmetric")
# "none": sums of thousands of weights decide everything at once, unless their own weight is small.
WEIGHT = {"none": 2e-3, "before": 1.0, "after": 1.0, "symmetric": 1.0}


def kernels(image: Tensor, s: CrfSettings) -> tuple[Tensor, Tensor]:
    """Bilateral and spatial weights between all pixels of an image `(H, W, 3)`, in float64."""
    height, width = image.shape[:2]
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()
    colours = image.reshape(-1, 3).double()
    bilateral = gaussian_of([places / s.theta_alpha, colours / s.theta_beta])
    return bilateral, gaussian_of([places / s.theta_gamma])


def gaussian_of(features: list[Tensor]) -> Tensor:
    """exp(-½ |f_i - f_j|²) between all rows of `(N, F)`, difference by difference."""
    together = torch.cat(features, dim=1)
    apart = torch.cdist(together, together, compute_mode="donot_use_mm_for_euclid_dist")
    return apart.square_().mul_(-0.5).exp_()


def divided(kernel: Tensor, normalisation: str) -> Tensor:
    sums = kernel.sum(1)
    if normalisation == "symmetric":
        return kernel / sums.sqrt()[:, None] / sums.sqrt()
    by = {"none": torch.ones_like(sums), "after": sums[:, None], "before": sums}
    return kernel / by[normalisation]


def as_written(image: Tensor, unary: Tensor, s: CrfSettings, normalisation: str = "symmetric",
               costs: Tensor | None = None) -> Tensor:
    """Algorithm 1 for one image `(H, W, 3)` and energies `(C, H, W)`.

    costs   `(C, C)` for both kernels alike; by default Potts with the settings' weights
    """
    potts = -torch.eye(len(unary))
    of_kernels = [s.bilateral * potts, s.spatial * potts] if costs is None else [costs, costs]
    weights = [divided(kernel, normalisation) for kernel in kernels(image, s)]
    energies = unary.double().flatten(1)
    marginal = (-energies).softmax(0)
    for _ in range(s.iterations):
        total = energies.clone()
        for own, kernel in zip(of_kernels, weights, strict=True):
            total += own.double() @ (marginal @ kernel.T)
        marginal = (-total).softmax(0)
    return marginal.view(unary.shape)


def scene(height: int = 64, width: int = 96, seed: int = 0) -> Tensor:
    """A discus on a slope of grey, with noise: `(H, W, 3)` uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    colours = np.stack([60 + x, 90 + y, 120 - 0.5 * x], -1).astype(float)
    inside = (y - 0.5 * height) ** 2 + (x - 0.4 * width) ** 2 < (0.3 * height) ** 2
    colours[inside] = (200, 120, 40)
    noisy = colours + random.normal(0, 6, colours.shape)
    return torch.from_numpy(noisy.clip(0, 255).astype(np.uint8))


def energies(classes: int, height: int = 64, width: int = 96, seed: int = 0) -> Tensor:
    """Smooth random energies of each class, with noise: `(C, H, W)` float32."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, height // 12 + 1, width // 12 + 1, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return smooth + 0.3 * torch.randn(classes, height, width, generator=generator)


def found(image: Tensor, unary: Tensor, settings: CrfSettings, **how: object) -> Tensor:
    return exact_crf(image[None], unary[None], settings, Exact(**how))[0]


def error(ours: Tensor, true: Tensor) -> float:
    return float((ours - true).abs().max())


SMALL = scene(24, 36), 24, 36


def test_as_the_mean_field_over_all_pairs() -> None:
    image, unary = scene(), energies(2)
    true = as_written(image, unary, WIDE)
    assert error(found(image, unary, WIDE), true) < 1e-5
    assert error((-unary).softmax(0), true) > 0.2   # the CRF did something


@pytest.mark.parametrize("classes", [2, 5, 21])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_normalisation(normalisation: str, classes: int) -> None:
    image, height, width = SMALL
    unary = energies(classes, height, width)
    weight = WEIGHT[normalisation]
    settings = replace(SETTINGS, bilateral=1.5 * weight, spatial=weight)
    true = as_written(image, unary, settings, normalisation)
    assert error(found(image, unary, settings, normalisation=normalisation), true) < 1e-5
    if normalisation != "symmetric":
        assert error(as_written(image, unary, settings), true) > 1e-3   # they are not the same


COSTS = {
    "number": torch.tensor(0.8),
    "vector": torch.tensor([-1.0, -0.4, 0.3]),
    "matrix": torch.tensor([[0.1, 1.0, 0.5], [0.6, 0.0, 0.9], [0.5, 1.3, 0.2]]),
}
# What each means as a matrix of costs.
AS_MATRIX = {
    "number": -0.8 * torch.eye(3),
    "vector": torch.diag(COSTS["vector"]),
    "matrix": (COSTS["matrix"] + COSTS["matrix"].T) / 2,
}


@pytest.mark.parametrize("normalisation", ["after", "symmetric"])
@pytest.mark.parametrize("kind", COSTS)
def test_every_kind_of_compatibility(kind: str, normalisation: str) -> None:
    image, height, width = SMALL
    unary = energies(3, height, width)
    costs = COSTS[kind]
    ours = found(image, unary, SETTINGS, normalisation=normalisation, bilateral=costs, spatial=costs)
    assert error(ours, as_written(image, unary, SETTINGS, normalisation, AS_MATRIX[kind])) < 1e-5


@pytest.mark.parametrize("number, normalisation", [(1, "before"), (2, "after"), (3, "symmetric")])
@pytest.mark.parametrize("kind", COSTS)
def test_as_pydensecrf_within_the_error_of_its_lattice(kind: str, number: int, normalisation: str) -> None:
    """`number` is its own of the normalisation; without any, its weights are not 1 at distance 0."""
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    image, unary = scene(8, 9), energies(3, 8, 9)
    settings = replace(SETTINGS, theta_alpha=5, theta_beta=20, theta_gamma=2)
    costs = COSTS[kind]
    theirs = costs.numpy() if costs.ndim else float(costs)
    crf = densecrf.DenseCRF2D(9, 8, 3)
    crf.addPairwiseGaussian(sxy=2, compat=theirs, normalization=number)
    crf.addPairwiseBilateral(sxy=5, srgb=20, rgbim=image.numpy(), compat=theirs, normalization=number)
    crf.setUnaryEnergy(unary.flatten(1).numpy())
    lattice = torch.tensor(np.array(crf.inference(5))).view(3, 8, 9)
    ours = found(image, unary, settings, normalisation=normalisation, bilateral=costs, spatial=costs)
    assert error(ours, lattice) < 0.02
    assert error(ours, (-unary).softmax(0)) > 0.05


@pytest.mark.parametrize("form", ["tiles", "attention"])
def test_a_batch_is_its_images_one_by_one(form: str) -> None:
    images = torch.stack([scene(24, 36, seed) for seed in range(3)])
    unary = torch.stack([energies(3, 24, 36, seed) for seed in range(3)])
    together = exact_crf(images, unary, SETTINGS, Exact(form=form))
    for image, own, ours in zip(images, unary, together, strict=True):
        assert torch.equal(ours, found(image, own, SETTINGS, form=form))
    assert torch.equal(exact_crf(images.permute(0, 3, 1, 2), unary, SETTINGS, Exact(form=form)), together)


def test_one_field_for_several_energies_keeps_nothing_of_them() -> None:
    image, height, width = SMALL
    crf = ExactCrf(image[None], SETTINGS)
    first, second = energies(2, height, width, 1)[None], energies(4, height, width, 2)[None]
    for unary in (first, second, first):
        assert torch.equal(crf(unary), exact_crf(image[None], unary, SETTINGS))


@pytest.mark.parametrize("tolerance", [1e-6, 1e-4, 1e-2, 0.5])
def test_sums_lack_no_more_than_the_tolerance(tolerance: float) -> None:
    """Of values up to 1, at every pixel, whatever they are; the more is tolerated, the less is computed."""
    tiled = tiled_gaussian(tolerance)
    true = kernels(scene(40, 60), WIDE)[0]
    ones = torch.ones(1, len(true), dtype=torch.float64)
    signs = torch.sign(torch.randn(3, len(true), generator=torch.Generator().manual_seed(0))).double()
    lacking = ones @ true - tiled.sums(ones)
    assert lacking.min() > -1e-9 and lacking.max() <= tolerance
    assert error(tiled.sums(signs), signs @ true) <= tolerance
    assert tiled.share < 0.6 < tiled_gaussian(0).share == 1
    assert tiled.share <= tiled_gaussian(tolerance / 10).share


def tiled_gaussian(tolerance: float) -> object:
    """Of the scene, in float64, where rounding is nothing beside the tolerance."""
    return gaussian(scene(40, 60).permute(2, 0, 1).double(), WIDE, Exact(tolerance, form="tiles"))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_marginals_differ_from_those_without_skipping_by_less_than_the_tolerance(normalisation: str) -> None:
    image, unary = scene(40, 60), energies(2, 40, 60)
    settings = replace(WIDE, bilateral=2 * WEIGHT[normalisation])
    whole = found(image, unary, settings, normalisation=normalisation, tolerance=0)
    for tolerance in (1e-4, 1e-2):
        skipping = found(image, unary, settings, normalisation=normalisation, tolerance=tolerance)
        assert error(skipping, whole) < tolerance


def test_weights_that_are_not_kept_are_the_same() -> None:
    image, unary = scene(40, 60), energies(2, 40, 60)
    usual = found(image, unary, WIDE)
    for memory in (0, 10 ** 6):   # none of it, and a part
        assert error(found(image, unary, WIDE, memory=memory), usual) < 1e-6


def test_attention_is_the_same_as_tiles() -> None:
    image = scene(37, 41).permute(2, 0, 1).float()   # does not fill the groups
    values = torch.rand(3, 37 * 41, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tiles = gaussian(image, WIDE, Exact(0, form="tiles"))
    attention = gaussian(image, WIDE, Exact(form="attention"))
    heard = tiles.sums(torch.ones(1, 37 * 41))
    assert error(attention.total / heard, torch.ones(1)) < 1e-5
    assert error(attention.sums(values) / heard, tiles.sums(values) / heard) < 1e-5


@pytest.mark.parametrize("form", ["tiles", "attention"])
def test_derivatives(form: str) -> None:
    """By the energies and by every compatibility, against finite differences in float64."""
    image = scene(3, 4)[None]
    unary = energies(3, 3, 4).double()[None].requires_grad_()
    costs = [COSTS[kind].double().requires_grad_() for kind in ("number", "vector", "matrix")]

    def marginals(unary: Tensor, bilateral: Tensor, spatial: Tensor) -> Tensor:
        settings = replace(SETTINGS, iterations=2)
        how = Exact(0, bilateral=bilateral, spatial=spatial, form=form)
        return exact_crf(image, unary, settings, how)

    for bilateral, spatial in zip(costs, costs[1:] + costs[:1], strict=True):
        assert torch.autograd.gradcheck(marginals, (unary, bilateral, spatial), fast_mode=True)


def test_derivatives_with_skipping_are_those_of_what_is_computed() -> None:
    unary = energies(2, 40, 60).double()[None].requires_grad_()
    exact_crf(scene(40, 60)[None], unary, WIDE, Exact(1e-2))[0, 0, 10, 10].backward()
    skipping = unary.grad
    unary.grad = None
    exact_crf(scene(40, 60)[None], unary, WIDE, Exact(0))[0, 0, 10, 10].backward()
    assert 0 < error(skipping, unary.grad) < 1e-3 < float(unary.grad.abs().max())


@pytest.mark.parametrize("height, width", [(1, 40), (40, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("form", ["tiles", "attention"])
def test_images_of_one_row_or_pixel(height: int, width: int, form: str) -> None:
    image, unary = scene(height, width), energies(3, height, width)
    assert error(found(image, unary, SETTINGS, form=form), as_written(image, unary, SETTINGS)) < 1e-5


@pytest.mark.parametrize("grey", [0, 127, 255])
@pytest.mark.parametrize("form", ["tiles", "attention"])
def test_an_image_of_one_colour(grey: int, form: str) -> None:
    image, unary = torch.full((24, 36, 3), grey, dtype=torch.uint8), energies(2, 24, 36)
    assert error(found(image, unary, SETTINGS, form=form), as_written(image, unary, SETTINGS)) < 1e-5


def test_extreme_colours_and_certain_pixels() -> None:
    checks = (torch.arange(24)[:, None] + torch.arange(36)) % 2 * 255
    image = checks[..., None].expand(-1, -1, 3).to(torch.uint8)
    unary = 80 * energies(2, 24, 36)
    assert error(found(image, unary, WIDE), as_written(image, unary, WIDE)) < 1e-5


def test_without_weights_nothing_happens() -> None:
    image, height, width = SMALL
    unary = energies(3, height, width)
    assert torch.equal(found(image, unary, replace(SETTINGS, bilateral=0, spatial=0)), (-unary).softmax(0))


IMAGES = torch.zeros(2, 6, 7, 3, dtype=torch.uint8)
UNARY = torch.zeros(2, 3, 6, 7)
HOLE = UNARY.clone()
HOLE[1, 2, 3, 4] = float("inf")
FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "one class": (lambda: exact_crf(IMAGES, UNARY[:, :1], SETTINGS), "there is only one; add the background"),
    "infinite": (lambda: exact_crf(IMAGES, HOLE, SETTINGS), "not a finite number; keep probabilities away"),
    "not a number": (lambda: exact_crf(IMAGES, HOLE * 0, SETTINGS), "not a finite number"),
    "another size": (lambda: exact_crf(IMAGES, UNARY[..., 1:], SETTINGS), "do not fit"),
    "another batch": (lambda: exact_crf(IMAGES[:1], UNARY, SETTINGS), "do not fit"),
    "no batch": (lambda: exact_crf(IMAGES, UNARY[0], SETTINGS), "do not fit"),
    "another type": (lambda: ExactCrf(IMAGES, SETTINGS)(UNARY.double()), "bring both to one device and type"),
    "not colours": (lambda: exact_crf(IMAGES[..., :1], UNARY, SETTINGS), "must be RGB"),
    "not grey levels": (lambda: exact_crf(IMAGES.float(), UNARY, SETTINGS), "must be RGB"),
    "no pixels": (lambda: exact_crf(IMAGES[:, :0], UNARY[:, :, :0], SETTINGS), "have no pixels"),
    "costs": (lambda: exact_crf(IMAGES, UNARY, SETTINGS, Exact(spatial=torch.ones(2))), "not \\(2,\\)"),
    "negative tolerance": (lambda: Exact(-1e-4), "tolerance: -0.0001 is out of range"),
    "whole tolerance": (lambda: Exact(1.0), "tolerance: 1.0 is out of range"),
    "form": (lambda: Exact(form="tile"), 'form: "tile" is not a choice; did you mean "tiles"'),
    "normalisation": (lambda: Exact(normalisation="symetric"), 'did you mean "symmetric"'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_in_one_sentence(fault: str) -> None:
    act, words = FAULTS[fault]
    with pytest.raises(Problem, match=words) as caught:
        act()
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))
