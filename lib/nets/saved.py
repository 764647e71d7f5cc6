"""Weights of a trained network as one safetensors file that also says what network they belong to.

Header and weights are sealed: the file holds a digest of both, so that a single bit that has changed is
noticed wherever the file is read.
"""
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib.base.files import whole_file
from lib.base.problem import Problem
from lib.base.strict import build
from lib.nets.weights import check_values, not_finite

SEAL = "sha256"   # what the header calls the digest


def save_described(net: nn.Module, path: Path, kind: str, header: Mapping[str, Any]) -> None:
    """Write weights and header, whole or not at all; `kind` names what reads them."""
    from safetensors.torch import save_file

    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    odd = not_finite(weights)
    if odd:
        raise Problem(f'{path}: the training ended with "{odd}" no longer finite, so nothing is kept; '
                      "lower the learning rate.")
    with whole_file(path) as part:
        save_file(weights, part, sealed(weights, kind, header))


def sealed(weights: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]) -> dict[str, str]:
    """What a file says beside its weights: the header under its kind, with the digest of both in it."""
    seal = _seal(header, weights, weights.__getitem__)
    return {kind: json.dumps({**header, SEAL: seal})}


def read_described(path: Path | str, kind: str, header: type, what: str, stage: str) -> dict[str, Any]:
    """The header that `save_described` wrote, after the whole file met its seal.

    `header` is the dataclass of its fields. Where it is not there, the file is no `what`; `stage` is the one
    that trains it.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise Problem(f"{path}: there are no such weights; train the network first (dvc repro {stage}).")
    try:
        with safe_open(path, "pt") as file:
            given = dict(json.loads((file.metadata() or {})[kind]))
            seal = given.pop(SEAL)
            described = build(header, given, "")
            if seal != _seal(given, file.keys(), file.get_tensor):
                raise Problem("its content is not what was written")
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError, Problem) as error:
        cause = str(error).rstrip(".")
        raise Problem(f"{path}: damaged, or not the weights of {what} ({cause}); train it again.") from None
    return dataclasses.asdict(described)


def fill_described(net: nn.Module, path: Path | str, network: str, classes: int) -> None:
    """Put the weights into a network that the header describes."""
    from safetensors.torch import load_file

    weights = load_file(path)
    if _shapes(weights) != _shapes(net.state_dict()):
        raise Problem(f"{path}: the weights are of another architecture than {network} with {classes} "
                      "classes; train it again.")
    check_values(net.state_dict(), weights, Path(path))
    net.load_state_dict(weights)


@contextmanager
def built_from(path: Path | str) -> Iterator[None]:
    """Name the file from whose header no network can be built inside."""
    try:
        yield
    except Problem as problem:
        raise Problem(f"{path}: its header describes no network ({str(problem).rstrip('.')}); "
                      "train it again.") from None


def _seal(header: Mapping[str, Any], names: Iterable[str], weight: Callable[[str], Tensor]) -> str:
    """Digest of the header and of every weight: its name, kind of number, shape and bytes."""
    seal = hashlib.sha256(json.dumps(header).encode())
    for name in sorted(names):
        value = weight(name)
        seal.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        seal.update(content.numpy())
    return seal.hexdigest()


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}
