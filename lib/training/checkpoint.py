"""What a training in progress needs to go on, in one file; whole or not there."""
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.base.files import whole_file
from lib.base.problem import Problem


def save_checkpoint(path: Path, fingerprint: str, module: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Weights, optimiser and where the training is."""
    with whole_file(path) as part:
        torch.save({"fingerprint": fingerprint, "weights": module.state_dict(), "optimiser": optimiser.state_dict(), "state": state}, part)


def load_checkpoint(path: Path, fingerprint: str, module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(state, the optimiser's) with the weights put into the module; None where there is none of the same settings, data and code."""
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:   # bytes that are no checkpoint can fail anywhere in the unpickling
        raise Problem(f"{path}: a checkpoint that cannot be read; delete it, and the training starts anew.") from None
    if saved["fingerprint"] != fingerprint:
        return None
    module.load_state_dict(saved["weights"])
    return saved["state"], saved["optimiser"]


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
