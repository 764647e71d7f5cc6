"""Where trained networks lie, and what a training in progress needs to resume: whole files or none."""
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.base.files import whole_file
from lib.base.problem import Problem
from lib.nets.weights import fill, unpickled

PARTS = frozenset({"fingerprint", "weights", "optimiser", "state"})   # of a checkpoint


@dataclass(frozen=True)
class TrainedFile:
    """Where a trained network is to lie, and the fingerprint of all that it follows from.

    That is settings, seed, data and code.
    """
    weights: Path
    curves: Path
    fingerprint: str

    @property
    def checkpoint(self) -> Path:
        """The file from which a training in progress resumes."""
        return self.weights.with_name("checkpoint.pt")

    def is_finished(self, read_header: Callable[[Path], Mapping[str, Any]]) -> bool:
        """Whether it is there.

        Weights that are missing, damaged or of another fingerprint are to be trained (again).
        """
        if not self.curves.is_file():
            return False
        try:
            return read_header(self.weights)["facts"].get("fingerprint") == self.fingerprint
        except Problem:
            return False

    def finish(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str],
               save: Callable[[], None]) -> None:
        """Write the curves, let `save` write the weights, and drop the checkpoint.

        Nobody needs it any more.
        """
        with whole_file(self.curves) as part:
            part.write_text(as_csv(rows, columns), encoding="utf-8")
        save()
        self.checkpoint.unlink(missing_ok=True)


@dataclass(frozen=True)
class TrainingFolders:
    """Where the networks of a stage go: weights in a folder for each, curves in a file for each."""
    weights: Path
    curves: Path

    def file(self, name: str, fingerprint: str) -> TrainedFile:
        """The place of one network."""
        weights = self.weights / name / "weights.safetensors"
        return TrainedFile(weights, self.curves / f"{name}.csv", fingerprint)


def save_checkpoint(path: Path, fingerprint: str, module: nn.Module, optimiser: torch.optim.Optimizer,
                    state: dict[str, Any]) -> None:
    """Write weights, optimiser and where the training is."""
    checkpoint = {
        "fingerprint": fingerprint,
        "weights": module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "state": state,
    }
    with whole_file(path) as part:
        torch.save(checkpoint, part)


def load_checkpoint(path: Path, fingerprint: str,
                    module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The training's state and the optimiser's, with the weights put into the module.

    None where there is no checkpoint of the same settings, data and code.
    """
    if not path.is_file():
        return None
    remedy = "delete it, and the training starts anew"
    saved = unpickled(path, "a checkpoint", remedy)
    if not isinstance(saved, dict) or not saved.keys() >= PARTS or not isinstance(saved["weights"], dict):
        raise Problem(f"{path}: damaged, or no checkpoint; {remedy}.")
    if saved["fingerprint"] != fingerprint:
        return None
    fill(module, saved["weights"], path)
    return saved["state"], saved["optimiser"]


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as a table that DVC draws."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
