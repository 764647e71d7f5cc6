"""What torch has saved: state dicts of one's own, the mirror's weights, checkpoints of a training."""
import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib.faults.case import Case, Outcome, judged
from lib.nets.weights import fill, load_safetensors, load_state_dict
from lib.training.checkpoint import load_checkpoint, save_checkpoint

RAN = "ran"   # a file that is there if code in a file of weights was run


def cases(draw: random.Random) -> list[Case]:
    """All of them, as drawn."""
    return [*_state_dicts(draw), *_mirrors(), *_checkpoints(draw)]


# State dicts of one's own

@dataclass(frozen=True)
class _Evil:
    """What would write a file when it is unpickled."""
    file: Path

    def __reduce__(self) -> tuple[Callable, tuple[Path, str]]:
        return open, (self.file, "w")


def _toy() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def _state_dicts(draw: random.Random) -> list[Case]:
    state = _toy().state_dict()
    more = {"more": torch.zeros(2)}
    values: dict[str, tuple[Any, bool]] = {
        "nothing wrong": (state, True), "half precision": ({k: _halved(v) for k, v in state.items()}, True),
        "a key less": (dict(list(state.items())[1:]), False), "a key more": (state | more, False),
        "another shape": (state | {"0.bias": torch.zeros(5)}, False), "a list": (list(state.values()), False),
        "a number": (7, False), "nested": ({"model": state}, False), "a whole module": (_toy(), False),
        "numbers for tensors": (state | {"0.bias": [0.0] * 4}, False), "nothing in it": ({}, False),
        "NaN": (state | {"0.bias": torch.full((4,), torch.nan)}, False), "code": (_Evil, False),
        "inf": (state | {"1.running_var": torch.full((4,), torch.inf)}, False),
        "whole numbers": (state | {"0.bias": torch.zeros(4, dtype=torch.int8)}, False),
        "complex numbers": (state | {"0.bias": torch.zeros(4, dtype=torch.complex64)}, False),
        "more than 32 bits hold": (state | {"0.bias": torch.full((4,), 1e300, dtype=torch.float64)}, False),
    }
    found = []
    for what, (value, is_right) in values.items():
        found.append(Case("weights", f"a state dict: {what}", partial(_state_dict, value, is_right, None)))
    for number in range(8):
        found.append(Case("weights", f"a state dict that ends early, {number}",
                          partial(_state_dict, state, False, draw.random())))
    return found


def _halved(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def _state_dict(value: Any, is_right: bool, share: float | None, folder: Path) -> Outcome:
    path = folder / "w.pth"
    torch.save({"0.bias": _Evil(folder / RAN)} if value is _Evil else value, path)
    if share is not None:
        content = path.read_bytes()
        path.write_bytes(content[:int(share * len(content))])
    outcome = judged(lambda: fill(_toy(), load_state_dict(path), path), lambda _: is_right, names=path.name)
    return Outcome.NOT_CLEAR if (folder / RAN).exists() else outcome


def _mirrors() -> list[Case]:
    """Weights of the mirror, whose manifest has their hash."""
    manifests: dict[str, bytes | None] = {
        "no manifest": None, "a manifest that is empty": b"", "one that is a list": b"[]",
        "one that does not list it": b"{}", "one with another hash": b'{"weights/w": {"sha256": "0"}}',
        "one without a hash": b'{"weights/w": {}}', "one that is no text": b"\xff\xfe\0",
    }
    return [Case("weights", f"weights of the mirror, {what}", partial(_mirror, content))
            for what, content in manifests.items()]


def _mirror(manifest: bytes | None, folder: Path) -> Outcome:
    path = folder / "weights" / "w"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    if manifest is not None:
        (folder / "manifest.json").write_bytes(manifest)
    return judged(lambda: load_safetensors(path, "abc"), lambda _: False, names=str(folder))


# Checkpoints of a training in progress

def _checkpoints(draw: random.Random) -> list[Case]:
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "nothing wrong": lambda saved: None, "no fingerprint": lambda saved: saved.pop("fingerprint"),
        "no weights": lambda saved: saved.pop("weights"), "no state": lambda saved: saved.pop("state"),
        "no optimiser": lambda saved: saved.pop("optimiser"), "a weight less": _without_a_weight,
        "a weight of another shape": lambda saved: saved["weights"].update({"0.bias": torch.zeros(9)}),
        "a weight that is NaN": lambda saved: saved["weights"]["0.bias"].fill_(torch.nan),
        "weights that are a list": lambda saved: saved.update(weights=[]),
    }
    found = []
    for what, change in changes.items():
        is_right = what == "nothing wrong"
        found.append(Case("weights", f"a checkpoint: {what}", partial(_checkpoint, change, is_right, None)))
    for number in range(6):
        found.append(Case("weights", f"a checkpoint that ends early, {number}",
                          partial(_checkpoint, changes["nothing wrong"], False, draw.random())))
    found.append(Case("weights", "a checkpoint with a flipped bit", _flipped_checkpoint))
    return found


def _flipped_checkpoint(folder: Path) -> Outcome:
    path = folder / "checkpoint.pt"
    net = _toy()
    save_checkpoint(path, "abc", net, torch.optim.SGD(net.parameters(), 0.1), {"epoch": 1})
    content = bytearray(path.read_bytes())
    weight = net.state_dict()["0.bias"].numpy().tobytes()
    content[content.index(weight)] ^= 1
    path.write_bytes(content)
    return judged(lambda: load_checkpoint(path, "abc", _toy()), lambda _: False, names=path.name)


def _without_a_weight(saved: dict[str, Any]) -> None:
    del saved["weights"]["0.bias"]


def _checkpoint(change: Callable[[dict[str, Any]], object], is_right: bool, share: float | None,
                folder: Path) -> Outcome:
    path = folder / "checkpoint.pt"
    net = _toy()
    save_checkpoint(path, "abc", net, torch.optim.SGD(net.parameters(), 0.1), {"epoch": 1})
    saved: Mapping[str, Any] = copy.deepcopy(torch.load(path, weights_only=True))
    change(saved)
    torch.save(saved, path)
    if share is not None:
        content = path.read_bytes()
        path.write_bytes(content[:int(share * len(content))])
    return judged(lambda: load_checkpoint(path, "abc", _toy()), lambda _: is_right, names=path.name)
