"""Fully connected CRF (Krähenbühl & Koltun): by pydensecrf's permutohedral lattice, or exact.

The lattice approximates; notebook crf_exactness says what that costs.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import numpy as np

from lib.base.problem import Problem, nearest
from lib.base.spent import spends
from lib.refine.settings import CrfSettings

LEAST = 1e-5   # probabilities are kept away from 0 and 1

Backend = Literal["pydensecrf", "exact", "auto"]
Solver = Callable[[np.ndarray], np.ndarray]   # probabilities (C, H, W) -> marginals (C, H, W)

# Of callers that name no backend. What is committed was measured with the lattice.
_USUAL: ContextVar[Backend] = ContextVar("usual", default="pydensecrf")
_KEPT: ContextVar[list[np.ndarray] | None] = ContextVar("kept", default=None)


def dense_crf(image: np.ndarray, probability: np.ndarray, settings: CrfSettings,
              backend: Backend | None = None) -> np.ndarray:
    """Mean-field marginals `(C, H, W)` float32.

    From an RGB image `(H, W, 3)` uint8 and probabilities `(C, H, W)`; `backend` as of `crf_of`.
    """
    return crf_of(image, len(probability), settings, backend)(probability)


@spends("crf")
def crf_of(image: np.ndarray, classes: int, settings: CrfSettings, backend: Backend | None = None) -> Solver:
    """A function from probabilities `(C, H, W)` to mean-field marginals, for many of them on one image.

    What depends on the image alone is made once.

    backend   pydensecrf: the lattice, on the CPU; exact: without its error, on the GPU where this process has
              one; auto: exact on a GPU, and elsewhere the lattice, which is quicker there at every size that
              `python -m lib.refine.crf_speed` measures. None: what `using` says, else pydensecrf.
    """
    chosen = resolved(backend or _USUAL.get())
    solver = _exact(image, classes, settings) if chosen == "exact" else _lattice(image, classes, settings)
    kept = _KEPT.get()
    return solver if kept is None else _keeping(solver, kept)


def refine_foreground(image: np.ndarray, foreground: np.ndarray, settings: CrfSettings,
                      backend: Backend | None = None) -> np.ndarray:
    """The foreground's marginal `(H, W)` given its probability `(H, W)`; rCAM, section 3.4."""
    return dense_crf(image, np.stack([1 - foreground, foreground]), settings, backend)[1]


@contextmanager
def using(backend: Backend) -> Iterator[list[np.ndarray]]:
    """Have every CRF that names no backend use this one; gives the marginals, in the order of their making.

    >>> image = np.zeros((2, 3, 3), dtype=np.uint8)
    >>> settings = CrfSettings(60, 5, 3, bilateral=1, spatial=1, iterations=5)
    >>> with using("exact") as marginals:
    ...     foreground = refine_foreground(image, np.full((2, 3), 0.75, dtype=np.float32), settings)
    >>> [each.shape for each in marginals], bool((foreground > 0.75).all())
    ([(2, 2, 3)], True)
    """
    resolved(backend)
    kept: list[np.ndarray] = []
    usual = _USUAL.set(backend)
    keeping = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _USUAL.reset(usual)
        _KEPT.reset(keeping)


def resolved(backend: Backend) -> Literal["pydensecrf", "exact"]:
    """The backend that `auto` stands for here; one that is unknown or not installed is named."""
    if backend not in get_args(Backend):
        raise Problem(f'CRF: there is no backend "{backend}"{nearest(backend, get_args(Backend))}')
    if backend == "auto":
        return "exact" if _has_gpu() else "pydensecrf"
    return backend


def _lattice(image: np.ndarray, classes: int, settings: CrfSettings) -> Solver:
    try:
        from pydensecrf import densecrf
    except ImportError:
        raise Problem('CRF: pydensecrf cannot be imported; install pydensecrf2, or use the backend "exact".'
                      ) from None

    height, width = image.shape[:2]
    crf = densecrf.DenseCRF2D(width, height, classes)
    if settings.spatial > 0:
        crf.addPairwiseGaussian(sxy=settings.theta_gamma, compat=settings.spatial)
    if settings.bilateral > 0:
        pixels = np.array(image, dtype=np.uint8, order="C")
        crf.addPairwiseBilateral(
            sxy=settings.theta_alpha, srgb=settings.theta_beta, rgbim=pixels, compat=settings.bilateral)

    @spends("crf")
    def marginals(probability: np.ndarray) -> np.ndarray:
        unary = -np.log(np.clip(probability, LEAST, 1.0)).reshape(classes, -1)
        crf.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
        inferred = np.asarray(crf.inference(settings.iterations), dtype=np.float32)
        return inferred.reshape(classes, height, width)

    return marginals


def _exact(image: np.ndarray, classes: int, settings: CrfSettings) -> Solver:
    import torch

    from lib.base.parallel import device
    from lib.refine.exact_crf import ExactCrf

    pixels = torch.from_numpy(np.array(image, dtype=np.uint8, order="C"))[None].to(device())
    crf = ExactCrf(pixels, settings)

    @spends("crf")
    def marginals(probability: np.ndarray) -> np.ndarray:
        unary = -np.log(np.clip(probability, LEAST, 1.0)).reshape(1, classes, *image.shape[:2])
        energies = torch.from_numpy(np.array(unary, dtype=np.float32, order="C")).to(pixels.device)
        return crf(energies)[0].cpu().numpy()

    return marginals


def _keeping(solver: Solver, kept: list[np.ndarray]) -> Solver:
    """The same solver, whose answers are also added to `kept`."""
    def marginals(probability: np.ndarray) -> np.ndarray:
        answer = solver(probability)
        kept.append(answer)
        return answer

    return marginals


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
