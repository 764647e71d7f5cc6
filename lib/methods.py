"""Every method of the suite by its name: the paper's `use.py` that answers for it, by the list of papers."""
import argparse
from collections.abc import Collection, Sequence
from dataclasses import asdict
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lib.base.files import sha256
from lib.base.problem import Problem, nearest
from lib.papers import PAPERS
from lib.papers.found import USUAL_THRESHOLD, Evaluated, Request, Segmenter
from lib.params import load_params, tier_of

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample


def request_of(args: argparse.Namespace, known: Collection[str]) -> Request:
    """The words of the command line as a request; a method or tier that does not exist is named."""
    if args.method not in known:
        raise Problem(f'{args.command}: there is no method "{args.method}"{nearest(args.method, known)}')
    tier_of(load_params(), args.tier)
    shared = {"method": args.method, "tier": args.tier, "network": args.network, "weights": args.weights,
              "batch": args.batch}
    if args.command == "evaluate":
        return Request(**shared, split=args.split, images=args.images)
    given = args.threshold
    return Request(**shared, threshold=default_threshold(args.method) if given is None else given)


def decisive(request: Request) -> dict[str, Any]:
    """Everything beside a photograph that its maps follow from, as JSON can hold it."""
    use = _use("segment", request.method, segments())
    params = load_params()
    tier_of(params, request.tier)
    files = getattr(use, "weights", None)
    paths = files(request, params) if files else []
    hashes = [sha256(path) if path.is_file() else "missing" for path in paths]   # the method names it
    blocks = asdict(params)
    return {
        "method": request.method,
        "network": request.network,
        "threshold": request.threshold,
        "weights": hashes,
        "tier": blocks.pop("tier")[request.tier],
        "params": {name: block for name, block in blocks.items() if name != "tiers"},
    }


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
