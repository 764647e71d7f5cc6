"""Files of weights and checkpoints that are damaged, of something else, or full of what are no numbers."""
import json
import os
import pickle
import random
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from lib.faults.case import Case, Outcome, judged
from lib.faults.states import cases as state_cases
from lib.nets import load_network
from lib.nets.fcn import fully_convolutional, load_fcn, save_fcn
from lib.nets.saved import sealed
from lib.nets.weights import load_state_dict
from lib.papers import PAPERS
from lib.papers.found import WeightFile

NETWORK = "efficientnet_lite0"
CLASSES = ["cat", "dog"]
State = dict[str, Tensor]


def _write_small(path: Path) -> None:
    save_fcn(fully_convolutional(load_network(NETWORK, pretrained=False), CLASSES), path)


FCN = WeightFile("fcn", _write_small, load_fcn)


def _kinds() -> list[WeightFile]:
    """The kind that several papers share, and those of single papers."""
    kinds = [FCN]
    for paper in PAPERS:
        if find_spec(f"lib.papers.{paper}.untrained"):
            own = getattr(import_module(f"lib.papers.{paper}.untrained"), "FILE", None)
            kinds += [own] if own else []
    return kinds


def cases(draw: random.Random) -> list[Case]:
    """All of them, as drawn."""
    found = []
    for kind in _kinds():
        found += [*_damaged(kind, draw), *_headers(kind), *_no_numbers(kind)]
    return [*found, *_foreign(), *_no_files(), *state_cases(draw)]


@cache
def _whole(kind: WeightFile) -> bytes:
    """An undamaged file's content."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "whole"
        kind.save(path)
        return path.read_bytes()


def _header(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8:8 + length])["__metadata__"]


def _read(name: str, kind: WeightFile, content: Callable[[], bytes], is_whole: bool = False) -> Case:
    """A file is read; unless it is whole, that must be refused."""
    def run(folder: Path) -> Outcome:
        path = folder / "weights.safetensors"
        path.write_bytes(content())
        return judged(partial(kind.load, path), lambda _: is_whole, names=path.name)
    return Case("weights", f"{kind.name}: {name}", run)


# Files that know what they are

def _damaged(kind: WeightFile, draw: random.Random) -> list[Case]:
    found = [_read("nothing wrong", kind, partial(_whole, kind), is_whole=True)]
    for number in range(9):
        share = draw.random()
        found.append(_read(f"one flipped bit, {number}", kind, partial(_flipped, kind, share)))
        found.append(_read(f"it ends early, {number}", kind, partial(_cut, kind, share)))
    found.append(_read("one flipped bit in the header", kind, partial(_flipped, kind, 200 / 10 ** 7)))
    found.append(_read("more after its end", kind, lambda: _whole(kind) + b"more"))
    found.append(_read("a hole of zeros", kind, partial(_hole, kind)))
    return found


def _flipped(kind: WeightFile, share: float) -> bytes:
    content = bytearray(_whole(kind))
    content[int(share * len(content))] ^= 4
    return bytes(content)


def _cut(kind: WeightFile, share: float) -> bytes:
    return _whole(kind)[:int(share * len(_whole(kind)))]


def _hole(kind: WeightFile) -> bytes:
    content = _whole(kind)
    middle = len(content) // 2
    return content[:middle] + bytes(64) + content[middle + 64:]


def _resealed(kind: WeightFile, change: Callable[[dict[str, Any], State], object]) -> bytes:
    """A file whose header or weights are others, with a seal that fits: nobody notices by that."""
    content = _whole(kind)
    weights = load(content)
    header = json.loads(_header(content)[kind.name])
    del header["sha256"]
    change(header, weights)
    return save(weights, sealed(weights, kind.name, header))


def _headers(kind: WeightFile) -> list[Case]:
    values: dict[str, dict[str, Any]] = {
        "a width of -1": {"width": -1}, "a width of 1e9": {"width": 10 ** 9},
        "a width in words": {"width": "64"},
        "a width of a half": {"width": 0.5}, "no width": {"width": None}, "a list of widths": {"width": [5]},
        "an unknown network": {"network": "efficientnet_light0"}, "a numeric network": {"network": 7},
        "facts that are a list": {"facts": []}, "nested facts": {"facts": {"a": {"b": 1}}},
        "a key that is not known": {"depth": 3},
    }
    if not kind.has_trunk:
        del values["an unknown network"]   # its trunk is not built here
        values |= {"an even r": {"r": 4}, "no depths": {"depths": []}, "a depth of 0": {"depths": [0, 8]}}
    else:
        values |= {"numeric classes": {"classes": [1, 2]}, "no classes": {"classes": []},
                   "a class more": {"classes": [*CLASSES, "cow"]}, "classes in one word": {"classes": "cat"},
                   "an unknown pooling": {"pooling": "mean"}, "an output stride of 0": {"output_stride": 0},
                   "an output stride that is not offered": {"output_stride": 7}}
    found = []
    for what, change in values.items():
        make = partial(_resealed, kind, lambda header, _, change=change: header.update(change))
        found.append(_read(f"a header with {what}", kind, make))
    texts = {"no JSON": "{", "null": "null", "a list": "[]", "lists 100,000 deep": "[" * 100_000,
             "a number of 5000 digits": '{"width": ' + "9" * 5000 + "}"}
    for what, text in texts.items():
        make = partial(_with_metadata, kind, {kind.name: text})
        found.append(_read(f"a header of {what}", kind, make))
    found.append(_read("no header", kind, partial(_with_metadata, kind, {})))
    return found


def _with_metadata(kind: WeightFile, metadata: dict[str, str]) -> bytes:
    return save(load(_whole(kind)), metadata)


def _no_numbers(kind: WeightFile) -> list[Case]:
    found = []
    for what, value in {"NaN": float("nan"), "inf": float("inf"), "-inf": -float("inf")}.items():
        make = partial(_resealed, kind, lambda _, weights, value=value: _last(weights).fill_(value))
        found.append(_read(f"weights that are {what}", kind, make))
    for number in (torch.int8, torch.int64, torch.bool, torch.complex64):
        make = partial(_resealed, kind, partial(_converted, number))
        found.append(_read(f"weights of {number}", kind, make))
    return found


def _last(weights: State) -> Tensor:
    return weights[sorted(weights)[0]]


def _converted(kind: torch.dtype, _header: dict[str, Any], weights: State) -> None:
    name = sorted(weights)[0]
    weights[name] = weights[name].to(kind)


def _foreign() -> list[Case]:
    """Files of something else, in place of each kind."""
    contents: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"", "text": lambda: b"weights", "zeros": lambda: bytes(500),
        "a pickle": partial(pickle.dumps, {"weight": 1}), "a length of 2^63": lambda: b"\xff" * 7 + b"\x7f{}",
    }
    kinds = _kinds()
    found = []
    for kind in kinds:
        for what, content in contents.items():
            found.append(_read(f"{what} in its place", kind, content))
        for other in kinds:
            is_own = other is kind
            found.append(_read(f"a file of the kind {other.name}", kind, partial(_whole, other), is_own))
    return found


def _no_files() -> list[Case]:
    makes: dict[str, Callable[[Path], object]] = {
        "no file": lambda path: None, "a folder": Path.mkdir, "a pipe": os.mkfifo,
        "a link to itself": lambda path: path.symlink_to(path),
    }
    loads: dict[str, Callable[[Path], object]] = {
        "a state dict": load_state_dict} | {kind.name: kind.load for kind in _kinds()}
    found = []
    for what, make in makes.items():
        for name, load_one in loads.items():
            found.append(Case("weights", f"{what} in place of {name}", partial(_no_file, make, load_one)))
    return found


def _no_file(make: Callable[[Path], object], load_one: Callable[[Path], object], folder: Path) -> Outcome:
    path = folder / "w"
    make(path)
    return judged(partial(load_one, path), lambda _: False, names=str(path))
