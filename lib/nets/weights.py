"""Weights from files: found, checked against their hash, and loaded.

Nothing that a file may hold is run.
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, is_zipfile

from lib.base.files import sha256 as hash_of
from lib.base.problem import Problem

if TYPE_CHECKING:   # torch is imported where it is used: this module is light
    from torch import Tensor, nn


def load_safetensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """A weight file of the mirror as float32, after its hash met both the mirror's manifest and `sha256`."""
    from safetensors.torch import load_file
    path = Path(path)
    listed = _manifest_hash(path)
    if not path.is_file():
        raise Problem(f"{path}: missing; copy the mirror's weights again.")
    actual = hash_of(path)
    if listed is not None and actual != listed:
        raise Problem(f"{path}: damaged, its content differs from the mirror's manifest; "
                      "copy the file again.")
    if actual != sha256:
        raise Problem(f"{path}: not the weights that this suite was written for "
                      f"(SHA-256 {actual[:12]}, expected {sha256[:12]}); use the mirror's own file.")
    return {name: value.float() for name, value in load_file(path).items()}


def load_state_dict(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """A state dict saved by torch, read with `weights_only=True`; its hash is checked where one is given."""
    import torch
    path = Path(path)
    if not path.is_file():
        raise Problem(f"{path}: there is no such weight file.")
    if sha256 and hash_of(path) != sha256:
        raise Problem(f"{path}: damaged, or not the weights that this suite was written for; "
                      "install or copy the file again.")
    remedy = "save it with torch.save(model.state_dict(), ...)"
    state = unpickled(path, "a state dict of weights", remedy)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise Problem(f"{path}: holds something other than a state dict of tensors; {remedy}.")
    return state


def unpickled(path: Path, what: str, remedy: str) -> Any:
    """Read what torch has saved, with `weights_only=True`, after its parts met their checksums.

    Torch itself does not compare them. `what` and `remedy` are for the sentence about a file that is damaged.
    """
    import torch
    try:
        if is_zipfile(path):   # else it is of a torch before 1.6
            with ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise ValueError(f"{damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:   # bytes that are something else can fail anywhere in the unpickling
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Problem(f"{path}: cannot be read as {what} ({reason}); {remedy}.") from None


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The name of the first weight that holds NaN or infinity, if there is one."""
    import torch

    for name, value in weights.items():
        if not torch.isfinite(value).all():
            return name
    return None


def check_values(own: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are not of the kind of number that the network has, or that are no numbers.

    `own` is what the network holds now, of the same names and shapes.
    """
    for name, value in own.items():
        if given[name].is_complex() or given[name].is_floating_point() != value.is_floating_point():
            kind = str(given[name].dtype).removeprefix("torch.")
            needed = str(value.dtype).removeprefix("torch.")
            raise Problem(f'{path}: "{name}" holds numbers of the kind {kind}, this network needs {needed}; '
                          "give weights that were saved as they were trained.")
    odd = not_finite({name: given[name].to(value.dtype) for name, value in own.items()})
    if odd:
        raise Problem(f'{path}: damaged, "{odd}" holds NaN or infinity where weights belong; '
                      "train or copy it again.")


def fill(body: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Copy a state dict into `body`, names and shapes strictly equal."""
    own = body.state_dict()
    odd = sorted(own.keys() ^ state.keys())
    if odd:
        where = "lacks" if odd[0] in own else "also holds"
        raise Problem(f'{path}: weights of another architecture (the file {where} "{odd[0]}"); '
                      "give the file of this network.")
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise Problem(f'{path}: weights of another architecture ("{name}" is {tuple(state[name].shape)}, '
                          f"this network needs {tuple(value.shape)}); give the file of this network.")
    check_values(own, state, path)
    body.load_state_dict(state)


def fill_in_order(body: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Copy a state dict whose names differ but whose order is that of `body`.

    Every shape and type must agree.
    """
    own = body.state_dict()
    if len(own) != len(state):
        raise Problem(f"{path}: weights of another architecture "
                      f"({len(state)} tensors, this network has {len(own)}); give the file of this network.")
    for (name, value), (theirs, tensor) in zip(own.items(), state.items(), strict=True):
        if value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise Problem(f'{path}: weights of another architecture ("{theirs}" is {tuple(tensor.shape)}, '
                          f'"{name}" needs {tuple(value.shape)}); give the file of this network.')
    renamed = dict(zip(own, state.values(), strict=True))
    check_values(own, renamed, path)
    body.load_state_dict(renamed)


def package_file(package: str, ending: str) -> Path:
    """The one file with this ending that an installed package brought along.

    The package itself is not imported.
    """
    try:
        files = [file for file in distribution(package).files or () if file.name.endswith(ending)]
    except PackageNotFoundError:
        files = []
    if not files:
        raise Problem(f'The weights come with the Python package "{package}", which is not installed; '
                      "install the requirements.")
    return Path(distribution(package).locate_file(files[0]))


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 ImageNet class names in the order of the logits, from timm's tables; () without timm.

    timm itself is not imported.
    """
    spec = find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return ()
    folder = Path(spec.submodule_search_locations[0]) / "data" / "_info"
    try:
        lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
        synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    except OSError:
        return ()
    lemmas = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return tuple(lemmas.get(synset, synset).split(",")[0] for synset in synsets)


def _manifest_hash(path: Path) -> str | None:
    """The hash that the mirror's manifest has for `path` (WEIGHTS/file beside manifest.json).

    None if there is no manifest.
    """
    manifest = path.parent.parent / "manifest.json"
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))
        return files[f"{path.parent.name}/{path.name}"]["sha256"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise Problem(f"{manifest}: damaged, or does not list {path.parent.name}/{path.name}; "
                      "copy the mirror again.") from None
