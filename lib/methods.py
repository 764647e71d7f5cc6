"""Every method of the suite by its name: the paper's `use.py` that answers for it, by the list of papers."""
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from lib.base.problem import Problem, nearest
from lib.papers import PAPERS
from lib.papers.found import USUAL_THRESHOLD, Evaluated, Request, Segmenter
from lib.params import load_params, tier_of

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample


def segmenter(request: Request) -> Segmenter:
    """Photographs -> the maps of each, by the method that is asked for."""
    use = _use("segment", request.method, segments())
    params = load_params()
    tier_of(params, request.tier)   # a misspelt one is named before anything is read
    return use.segmenter(request, params)


def evaluate(request: Request, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """The scores of a method on samples of a data set, on the notebooks' own code path."""
    use = _use("evaluate", request.method, evaluates())
    params = load_params()
    tier_of(params, request.tier)
    return use.evaluate(request, params, dataset, samples)


def default_threshold(method: str) -> float:
    """From which value of the method's heat map on a pixel is foreground."""
    use = _use("segment", method, segments())
    own = getattr(use, "threshold", None)
    return own(load_params()) if own else USUAL_THRESHOLD


def segments() -> dict[str, ModuleType]:
    """The methods that make maps of photographs, each with the module that answers for it."""
    return {method: use for use in _uses() for method in use.SEGMENTS}


def evaluates() -> dict[str, ModuleType]:
    """The methods that can be scored on a data set, each with the module that answers for it."""
    return {method: use for use in _uses() for method in use.EVALUATES}


def _uses() -> list[ModuleType]:
    return [import_module(f"lib.papers.{paper}.use") for paper in PAPERS]


def _use(command: str, method: str, known: dict[str, ModuleType]) -> ModuleType:
    if method not in known:
        raise Problem(f'{command}: there is no method "{method}"{nearest(method, known)}')
    return known[method]
