"""Weights of a trained network as one safetensors file that also says what network they belong to."""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lib.base.files import whole_file
from lib.base.problem import Problem


def save_described(net: nn.Module, path: Path, kind: str, header: Mapping[str, Any]) -> None:
    """Write weights and header, whole or not at all; `kind` names what reads them."""
    from safetensors.torch import save_file

    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    with whole_file(path) as part:
        save_file(weights, part, {kind: json.dumps(header)})


def read_described(path: Path | str, kind: str, fields: Sequence[str], what: str,
                   stage: str) -> dict[str, Any]:
    """The header that `save_described` wrote, its `fields` all there.

    Where it is not, the file is no `what`; `stage` is the one that trains it.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise Problem(f"{path}: there are no such weights; train the network first (dvc repro {stage}).")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[kind])
        return {key: header[key] for key in fields}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Problem(f"{path}: damaged, or not the weights of {what} ({error}); train it again.") from None


def fill_described(net: nn.Module, path: Path | str, network: str, classes: int) -> None:
    """Put the weights into a network that the header describes."""
    from safetensors.torch import load_file

    weights = load_file(path)
    if _shapes(weights) != _shapes(net.state_dict()):
        raise Problem(f"{path}: the weights are of another architecture than {network} with {classes} "
                      "classes; train it again.")
    net.load_state_dict(weights)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}
